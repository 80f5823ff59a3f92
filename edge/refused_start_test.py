"""A start that is refused says why in its last line, and leaves nothing behind."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from base import file_lock
from base.testing import command
from edge.testing import processes, tiny_package
from edge.testing.tiny_package import Publisher
from release.testing.tiny_release import PrivateKey
from rlds import example_codec, tfds_directory, tfrecord
from rlds.spec import EpisodeSpec
from rlds.testing import episodes
from rlds.tfds_directory import TfdsDirectory

OTHER = EpisodeSpec(3, 2)

# Each run is a fork, and the arm's program runs this one.
command.import_what_it_imports("edge.record")

Program = Callable[..., CompletedProcess[str]]
"""Runs a command that records into `out` of a folder: the folder, more flags."""


def record(folder: Path, *more: str) -> CompletedProcess[str]:
    """Records a real arm, which wants a key of its own."""
    return processes.run_forked(
        "edge.testing.real_arm",
        "edge.record",
        "--robot=real-arm:desk",
        "--max_steps=3",
        f"--output={folder / 'out'}",
        f"--enrol={folder / 'enrol.json'}",
        *more,
    )


def drive(folder: Path, *more: str) -> CompletedProcess[str]:
    """Drives a replayed robot with a candidate."""
    return processes.run_forked(
        "edge.run",
        f"--candidate={folder / 'package'}",
        f"--robot=replay:{folder / 'episode.tfrecord'}",
        "--pace=simulated",
        "--max_steps=3",
        f"--record_dir={folder / 'out'}",
        f"--progress_json={folder / 'progress.jsonl'}",
        *more,
    )


PROGRAMS = {"record": record, "run": drive}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the programs need: a package, and an episode to replay."""
    tiny_package.write_package(tmp_path / "package")
    recorded = tiny_package.episode(seed=5, steps=4, noise=0.1)
    framed = tfrecord.frame(example_codec.encode(recorded))
    (tmp_path / "episode.tfrecord").write_bytes(framed)
    return tmp_path


def add_episodes_of_another_robot(folder: Path) -> None:
    (folder / "out").mkdir()
    framed = episodes.frame_episode(episodes.episode(OTHER))
    TfdsDirectory(folder / "out", "episodes", OTHER).add(framed, b"{}")


def add_another_dataset(folder: Path) -> None:
    (folder / "out").mkdir()
    spec = EpisodeSpec(39, 4)
    tfds_directory.write_info(folder / "out", "reach", spec, {"train": ()})


def open_private_folder(folder: Path) -> None:
    (folder / "out.private").mkdir()
    (folder / "out.private").chmod(0o755)


def add_key_that_others_can_read(folder: Path) -> None:
    (folder / "key.json").write_bytes(b"{}")
    (folder / "key.json").chmod(0o644)


def add_key_of_another_sort(folder: Path) -> None:
    (folder / "key.json").write_bytes(b"{}")
    (folder / "key.json").chmod(0o600)


CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "episodes of another robot": (
        add_episodes_of_another_robot,
        "features.json: expected the fields of EpisodeSpec(state_size=39, "
        "action_size=4, image=False, audio_size=0, interventions=False, cameras=()), "
        "got "
        "EpisodeSpec(state_size=3,",
    ),
    "another dataset": (add_another_dataset, "expected dataset episodes, split train"),
    "a private folder that others can enter": (open_private_folder, "mode 0700"),
    "a file as output": (lambda f: (f / "out").write_bytes(b"x"), "/out"),
    "a file as private folder": (
        lambda f: (f / "out.private").write_bytes(b"x"),
        "/out.private",
    ),
    "a key that others can read": (add_key_that_others_can_read, "expected mode 0600"),
    "another file as key": (add_key_of_another_sort, "a robot key file"),
}


def read_all(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its bytes, and every folder."""
    return {
        path.relative_to(folder).as_posix(): None
        if path.is_dir()
        else path.read_bytes()
        for path in folder.rglob("*")
    }


def check_refused(done: CompletedProcess[str], reason: str) -> None:
    assert done.returncode in (1, 2), done.stderr
    assert "Traceback" not in done.stderr
    assert reason in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("kind", CASES)
def test_refused_start_leaves_nothing_behind(
    folder: Path, program: str, kind: str
) -> None:
    prepare, reason = CASES[kind]
    prepare(folder)
    before = read_all(folder)
    done = PROGRAMS[program](folder, f"--key_file={folder / 'key.json'}")
    check_refused(done, reason)
    assert read_all(folder) == before


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("held", ["out", "out.private"])
def test_start_beside_another_recording_leaves_nothing_behind(
    folder: Path, program: str, held: str
) -> None:
    (folder / held).mkdir(mode=0o700)
    before = read_all(folder)
    descriptor = file_lock.open_folder(folder / held)
    try:
        assert file_lock.try_take(descriptor)
        done = PROGRAMS[program](folder, f"--key_file={folder / 'key.json'}")
    finally:
        os.close(descriptor)
    check_refused(done, "another process that is writing")
    assert read_all(folder) == before


@pytest.mark.parametrize(
    ("program", "flag", "reason"),
    [
        ("record", "--enrol={folder}/none/enrol.json", "none/enrol.json"),
        ("record", "--summary_json={folder}/none/x.json", "none/x.json"),
        ("record", "--robot=real-arm:desk", "expected --key_file=PATH"),
        ("run", "--summary_json={folder}/none/x.json", "none/x.json"),
        ("run", "--candidate={folder}/none", "expected the folder of a package"),
        ("run", "--robot=replay:{folder}/none", "No such file"),
        (
            "run",
            "--sim_start=1970-01-01T00:00:00Z",
            "the robot's clock: expected a day",
        ),
        (
            "run",
            "--sim_start=2099-01-01T00:00:00Z",
            "the robot's clock: expected a day",
        ),
    ],
)
def test_refused_flag_leaves_nothing_behind(
    folder: Path, program: str, flag: str, reason: str
) -> None:
    before = read_all(folder)
    check_refused(PROGRAMS[program](folder, flag.format(folder=folder)), reason)
    assert read_all(folder) == before


def test_package_that_does_not_fit_leaves_neither_folders_nor_a_key(
    folder: Path,
) -> None:
    other = episodes.frame_episode(episodes.episode(OTHER))
    (folder / "episode.tfrecord").write_bytes(other)
    before = read_all(folder)
    done = drive(folder, f"--key_file={folder / 'key.json'}")
    check_refused(done, "choose another robot or another package")
    assert read_all(folder) == before


def test_channel_that_is_refused_leaves_no_package_and_records_nothing(
    folder: Path,
) -> None:
    publisher = Publisher(folder, PrivateKey.generate(development=True))
    before = read_all(folder)
    done = processes.run_forked(
        "edge.run",
        f"--channel={publisher.channel_uri}",
        f"--keyring={publisher.keyring()}",
        f"--state_dir={folder / 'state'}",
        f"--robot=replay:{folder / 'episode.tfrecord'}",
        f"--record_dir={folder / 'out'}",
        f"--key_file={folder / 'key.json'}",
    )
    assert done.returncode == 1
    with contextlib.suppress(FileNotFoundError):
        (folder / "state" / ".lock").unlink()
    left = read_all(folder).keys() - before.keys()
    assert left <= {"state", "state/packages", "keyring.json"}
    assert list((folder / "state" / "packages").iterdir()) == []
