"""Tests of //rlds:show as a person uses it, with good and with bad input."""

import io
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from base.testing import command
from rlds import example_codec, sealing, spool_key, tfrecord
from rlds.spec import EpisodeSpec
from rlds.testing import episodes

MODULE = "rlds.show.show"
SPEC = EpisodeSpec(state_size=3, action_size=2)


def write(path: Path, number: int = 0, spec: EpisodeSpec = SPEC) -> Path:
    episode = episodes.episode(spec, number=number)
    path.write_bytes(episodes.frame_episode(episode))
    return path


def test_one_episode_becomes_one_page_that_others_cannot_read(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        source, output = write(tmp_path / "a.tfrecord"), tmp_path / "a.html"
        done = command.run(MODULE, str(source), f"--output={output}")
    finally:
        os.umask(old)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"{output}: a.tfrecord, 5 steps",
        "a.tfrecord: no sidecar beside it: a raw episode of a robot, or one whose"
        " recording was cut off",
    ]
    assert output.read_text().startswith("<!doctype html>")
    assert stat.S_IMODE(output.stat().st_mode) == 0o600


def test_raw_episode_of_a_device_with_a_key_is_shown_with_it(tmp_path: Path) -> None:
    key, source = tmp_path / "spool.key", write(tmp_path / "a.tfrecord")
    sealing.use(spool_key.load_or_create(key))
    source.write_bytes(sealing.seal(source.read_bytes()))
    sealing.use(None)
    output = f"--output={tmp_path / 'a.html'}"
    done = command.run(MODULE, str(source), output)
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "expected the device's key" in done.err
    assert "--spool_key" in done.err
    done = command.run(MODULE, str(source), output, f"--spool_key={key}.none")
    assert done.code == 1
    assert "No such file" in done.err
    done = command.run(MODULE, str(source), output, f"--spool_key={key}")
    assert (done.code, done.err) == (0, "")
    assert "a.tfrecord, 5 steps" in done.out


def test_same_episode_gives_the_same_page(tmp_path: Path) -> None:
    source = write(tmp_path / "a.tfrecord")
    for name in ("1.html", "2.html"):
        command.run(MODULE, f"--output={tmp_path / name}", str(source))
    first, second = (tmp_path / name for name in ("1.html", "2.html"))
    assert first.read_bytes() == second.read_bytes()


def test_recording_without_the_library_of_rerun_says_how_to_get_it(
    tmp_path: Path,
) -> None:
    source, output = write(tmp_path / "a.tfrecord"), tmp_path / "a.rrd"
    done = command.run(MODULE, str(source), f"--output={output}")
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "start with `./bazelw run --config=rerun //rlds:show`" in done.err
    assert not output.exists()


def test_folder_becomes_a_page_for_each_and_a_list(tmp_path: Path) -> None:
    # A raw and a shared copy of one episode have the same id.
    for folder, number in (("private", 0), ("shared", 0), ("shared", 1)):
        (tmp_path / "home" / folder).mkdir(parents=True, exist_ok=True)
        write(tmp_path / "home" / folder / f"{number}.tfrecord", number)
    output = tmp_path / "pages"
    done = command.run(MODULE, str(tmp_path / "home"), f"--output={output}")
    assert (done.code, done.err) == (0, "")
    pages = sorted(path.name for path in output.iterdir())
    assert len(pages) == 4
    listed = (output / "index.html").read_text()
    assert all(f'href="{name}"' in listed for name in pages if name != "index.html")
    assert done.out.endswith(f"{output / 'index.html'}: 3 episodes\n")


def test_what_is_torn_is_named_and_the_others_are_shown(tmp_path: Path) -> None:
    source, output = tmp_path / "episodes", tmp_path / "pages"
    source.mkdir()
    whole = write(source / "b.tfrecord")
    (source / "a.tfrecord").write_bytes(whole.read_bytes()[:-1])
    done = command.run(MODULE, str(source), f"--output={output}")
    assert done.code == 1
    assert "a.tfrecord at byte 0: expected a record of" in done.err
    assert len(done.err.splitlines()) == 1
    assert len(list(output.iterdir())) == 2
    assert "a.tfrecord at byte 0" in (output / "index.html").read_text()


def encode(**changes: object) -> bytes:
    """Encodes an episode of which some steps are not what they should be."""
    episode = episodes.episode(SPEC)
    steps = {**episode.steps, **changes}
    raw = example_codec.encode_parts(SPEC, episode.metadata, steps)
    return tfrecord.frame(raw)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "expected an episode, got an empty file"),
        (b"torn", "expected a header of 12 bytes, got 4"),
        (tfrecord.frame(b""), "is_first: expected the feature, got none"),
        (
            encode(reward=np.array([0, 1, np.nan, 0, 0], np.float32)),
            "reward: expected finite numbers",
        ),
        (
            encode(reward=np.zeros(10, np.float32)),  # as of 8 bytes each
            "reward: expected the shape (5,), got (10,)",
        ),
        (
            encode(is_first=np.zeros(0, np.bool_)),
            "observation/state: expected the same number of values in each of 0 steps",
        ),
        (
            encode().replace(b"steps/reward", b"steps/rebard"),
            "expected the checksum of the record, got another",
        ),
        (
            tfrecord.frame(
                example_codec.encode(episodes.episode(SPEC)).replace(
                    b"steps/reward", b"steps/rebard"
                )
            ),
            "a difference: ['steps/rebard', 'steps/reward']",
        ),
    ],
)
def test_bad_episode_is_one_line_that_names_file_and_field(
    tmp_path: Path, raw: bytes, text: str
) -> None:
    source, output = tmp_path / "a.tfrecord", tmp_path / "a.html"
    source.write_bytes(raw)
    done = command.run(MODULE, str(source), f"--output={output}")
    assert done.code == 1
    assert done.err.startswith(f"show: {source}")
    assert text in done.err
    assert len(done.err.splitlines()) == 1
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--output=a.html"], 2, "expected one episode or folder of them, got none"),
        (["a", "b", "--output=a.html"], 2, "got 2: ['a', 'b']"),
        (["a"], 2, "missing --output"),
        (["absent", "--output=a.html"], 1, "absent: expected an episode or a folder"),
        (["a", "--output=no/a.html"], 1, "no/a.html: expected to be able to write it"),
        (["a", "--output=a.html", "--names=b"], 2, "--names: expected a file of names"),
    ],
)
def test_wrong_usage_is_one_line(
    tmp_path: Path,
    arguments: list[str],
    code: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = command.run(MODULE, *arguments)
    assert (done.code, len(done.err.splitlines())) == (code, 1)
    assert text in done.err
    assert list(tmp_path.iterdir()) == []


def test_several_episodes_do_not_fit_into_one_file(tmp_path: Path) -> None:
    for number in (0, 1):
        write(tmp_path / f"{number}.tfrecord", number)
    output = tmp_path / "a.html"
    done = command.run(MODULE, str(tmp_path), f"--output={output}")
    assert done.code == 2
    assert "--output: expected a folder of pages" in done.err
    assert not output.exists()


def test_names_and_units_stand_beside_the_curves(tmp_path: Path) -> None:
    names = tmp_path / "names.json"
    channels = ", ".join(f'{{"name": "joint {k}", "unit": "deg"}}' for k in range(3))
    names.write_text(f'{{"schema_version": 1, "state": [{channels}]}}')
    source, output = write(tmp_path / "a.tfrecord"), tmp_path / "a.html"
    done = command.run(MODULE, str(source), f"--output={output}", f"--names={names}")
    assert (done.code, done.err) == (0, "")
    assert '<b>joint 2</b><span class="unit">deg</span>' in output.read_text()


def picture(shade: int) -> bytes:
    raw = io.BytesIO()
    Image.new("RGB", (32, 24), (shade, 0, 0)).save(raw, "JPEG")
    return raw.getvalue()


def write_pictures(path: Path, pictures: list[bytes]) -> Path:
    count = len(pictures)
    steps = episodes.acted(np.zeros((count, 3)), np.zeros((count, 2)))
    steps["observation/image"] = pictures
    spec = EpisodeSpec(3, 2, image=True)
    raw = example_codec.encode_parts(spec, episodes.metadata(), steps)
    path.write_bytes(tfrecord.frame(raw))
    return path


def test_pictures_become_a_gif_at_the_robots_pace(tmp_path: Path) -> None:
    source = write_pictures(
        tmp_path / "a.tfrecord", [picture(shade) for shade in range(0, 250, 10)]
    )
    output = tmp_path / "a.gif"
    done = command.run(MODULE, str(source), f"--output={output}")
    assert (done.code, done.err) == (0, "")
    with Image.open(output) as image:
        assert sum(1 for _ in ImageSequence.Iterator(image)) == 25
        image.seek(0)
        assert image.info["duration"] == 20  # 12.5 ms is more than a browser shows
        assert image.size == (256, 196)


@pytest.mark.parametrize(
    ("pictures", "text"),
    [
        (None, "expected observation/image in each step, for a GIF"),
        ([b"\xff\xd8 no picture"], "step 0 observation/image: expected a JPEG picture"),
        (
            [picture(0), b"\xff\xd8\xff\xe0"],
            "step 1 observation/image: expected a JPEG",
        ),
    ],
)
def test_gif_without_pictures_is_one_line(
    tmp_path: Path, pictures: list[bytes] | None, text: str
) -> None:
    source, output = tmp_path / "a.tfrecord", tmp_path / "a.gif"
    if pictures is None:
        write(source)
    else:
        write_pictures(source, pictures)
    done = command.run(MODULE, str(source), f"--output={output}")
    assert done.code == 1
    assert text in done.err
    assert len(done.err.splitlines()) == 1
    assert not output.exists()
