"""Writes a version in forms of others, and reads it with their public libraries."""

import base64
import dataclasses
import io
import json
from pathlib import Path

import av
import mcap.reader
import numpy as np
import pyarrow.parquet as pq
import pytest
import rich.console
import tensorflow_datasets as tfds
from PIL import Image

from cloud.dataset import split
from cloud.errors import DatasetError, DatasetExistsError
from cloud.exchange import exporting, importing
from cloud.exchange.importing import Request
from cloud.exchange.recorded import Choice
from cloud.testing import dataset_version, other_data
from rlds import blank_picture
from rlds.episode import Episode
from rlds.spec import NO_PICTURE_AGE, EpisodeSpec, age_field
from rlds.testing import episodes as made_episodes

_SIZE = (32, 24)
LEROBOT_NAMES = {
    "observation/image": "image",
    "observation/image_front": "front",
    "observation/image_left_wrist": "left_wrist",
    "observation/image_wrist": "wrist",
}
MCAP_NAMES = {**LEROBOT_NAMES, "observation/image": "camera"}
_CONSOLE = rich.console.Console(file=io.StringIO())
# Numbers of a version's steps as they come back, by the form.
_NUMBERS = ("observation/state", "action", "proposed_action", "reward")


def jpeg(number: int) -> bytes:
    """Returns an encoded picture that no other number has."""
    buffer = io.BytesIO()
    pixels = other_data.picture(number, _SIZE)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@dataclasses.dataclass(frozen=True)
class Eyes:
    """The cameras of a robot: one without a name, and those with one."""

    image: bool = False
    cameras: tuple[str, ...] = ()


def make_episode(number: int, success: bool | None, eyes: Eyes) -> Episode:
    """Returns an episode of a robot at 80 Hz; each camera shows something else."""
    spec = EpisodeSpec(3, 2, image=eyes.image, cameras=eyes.cameras)
    found = made_episodes.episode(spec, 4 + number, number, success=success)
    steps = dict(found.steps)
    for at, field in enumerate(spec.picture_fields):
        steps[field] = [jpeg(10 * number + k + 3 * at) for k in range(found.num_steps)]
    for camera in spec.cameras:
        steps[age_field(camera)] = np.arange(found.num_steps) * 1000
    return Episode(spec, found.metadata, steps)


@pytest.fixture(
    params=[
        Eyes(image=True),
        Eyes(),
        Eyes(cameras=("front", "left_wrist")),
        Eyes(image=True, cameras=("wrist",)),
    ],
    ids=["one", "blind", "two", "unnamed-and-named"],
)
def version(
    request: pytest.FixtureRequest, tmp_path: Path
) -> tuple[Path, list[Episode]]:
    """A version of four episodes in two splits, and the episodes in that order."""
    outcomes = [True, False, None, True]
    found = [
        make_episode(number, success, request.param)
        for number, success in enumerate(outcomes)
    ]
    folder = tmp_path / "small" / "v1.0.0"
    dataset_version.write(
        folder, {"train": [found[:2], found[2:3]], "val": [found[3:]]}
    )
    return folder, found


def export(version: Path, form: str, name: str = "") -> Path:
    output = version.parents[1] / (name or form)
    exporting.export(version.as_uri(), form, output, _CONSOLE)
    return output


def import_back(folder: Path) -> dict[str, Episode]:
    """Imports an exported dataset; episodes by what they are called there."""
    target = folder.parent / "back" / folder.name / "v1.0.0"
    request = Request(folder, target.as_uri(), Choice(), code_commit="c0ffee")
    manifest, _ = importing.import_dataset(request, _CONSOLE)
    return {
        episode.metadata.episode_id: episode
        for name in manifest.splits
        for episode in split.open_split(target, name, folder.parent / "work").episodes
    }


def assert_same_numbers(got: Episode, wanted: Episode) -> None:
    for name in _NUMBERS:
        np.testing.assert_array_equal(got.steps[name], wanted.steps[name], name)
    np.testing.assert_array_equal(
        got.steps["t_monotonic_ns"], wanted.steps["t_monotonic_ns"]
    )
    for name in ("robot_model", "task", "success"):
        assert getattr(got.metadata, name) == getattr(wanted.metadata, name)


def test_tfds_opens_an_exported_version_and_it_comes_back_the_same(
    version: tuple[Path, list[Episode]],
) -> None:
    folder, wanted = version
    output = export(folder, "tfds")
    read = tfds.as_numpy(
        tfds.builder_from_directory(str(output)).as_dataset(split="train")
    )
    ids = [one["episode_id"].decode() for one in read]
    assert ids == [one.metadata.episode_id for one in wanted[:3]]
    back = import_back(output)
    names = [f"tfds-train-{k:06d}" for k in range(3)] + ["tfds-val-000000"]
    assert sorted(back) == names
    for name, one in zip(names, wanted, strict=True):
        assert_same_numbers(back[name], one)
        for field in ("is_terminal", "discount", "deadline_missed", "safety_violation"):
            np.testing.assert_array_equal(back[name].steps[field], one.steps[field])
        metadata = back[name].metadata
        assert metadata.tags == ("simulated",)  # and no free text
        assert metadata.operator == "expert"
        assert back[name].spec == one.spec
        for field in one.spec.picture_fields:
            assert back[name].steps[field] == one.steps[field]
        for camera in one.spec.cameras:
            field = age_field(camera)
            np.testing.assert_array_equal(back[name].steps[field], one.steps[field])


def test_lerobot_export_has_the_published_form(
    version: tuple[Path, list[Episode]],
) -> None:
    folder, wanted = version
    output = export(folder, "lerobot")
    info = json.loads((output / "meta/info.json").read_bytes())
    total = sum(one.num_steps for one in wanted)
    assert (info["codebase_version"], info["fps"]) == ("v3.0", 80)
    assert (info["total_episodes"], info["total_frames"]) == (4, total)
    assert info["splits"] == {"train": "0:3", "val": "3:4"}
    table = pq.read_table(output / "data/chunk-000/file-000.parquet")
    columns = {n for n, one in info["features"].items() if one["dtype"] != "video"}
    assert set(table.column_names) == columns
    assert table.column("index").to_pylist() == list(range(total))
    state = np.array(table.column("observation.state").to_pylist(), np.float32)
    np.testing.assert_array_equal(
        state, np.concatenate([one.steps["observation/state"] for one in wanted])
    )
    listed = pq.read_table(output / "meta/episodes/chunk-000/file-000.parquet")
    begins = listed.column("dataset_from_index").to_pylist()
    assert begins == [0, 4, 9, 15]
    assert listed.column("success").to_pylist() == [1, 0, -1, 1]
    # Not in each frame, since of one episode nobody knows.
    assert "next.success" not in info["features"]
    tasks = pq.read_table(output / "meta/tasks.parquet")
    assert tasks.column("task").to_pylist() == ["reach-v3"]
    fields = wanted[0].spec.picture_fields
    keys = [f"observation.images.{LEROBOT_NAMES[field]}" for field in fields]
    shown = [n for n, one in info["features"].items() if one["dtype"] == "video"]
    assert shown == keys
    for field, key in zip(fields, keys, strict=True):
        assert_video_shows(output / "videos" / key, wanted, field)


def assert_video_shows(folder: Path, wanted: list[Episode], field: str) -> None:
    """Decodes a video with PyAV, and compares each frame with its picture."""
    (path,) = folder.glob("chunk-000/file-000.mp4")
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    pictures = [raw for one in wanted for raw in one.steps[field]]
    for index, (frame, raw) in enumerate(zip(frames, pictures, strict=True)):
        assert frame.time == pytest.approx(index / 80)
        shown = frame.to_ndarray(format="rgb24").astype(float)
        assert np.abs(shown - other_data.decode(raw)).mean() < 8


def test_lerobot_export_comes_back_with_the_same_numbers(
    version: tuple[Path, list[Episode]],
) -> None:
    folder, wanted = version
    back = import_back(export(folder, "lerobot"))
    names = [f"lerobot-train-{k:06d}" for k in range(3)] + ["lerobot-val-000003"]
    assert sorted(back) == names
    for name, one in zip(names, wanted, strict=True):
        assert_same_numbers(back[name], one)
        assert back[name].spec == one.spec
        for field in one.spec.picture_fields:
            pairs = zip(back[name].steps[field], one.steps[field], strict=True)
            for got, raw in pairs:
                wanted_pixels = other_data.decode(raw).astype(float)
                assert np.abs(other_data.decode(got) - wanted_pixels).mean() < 8


def test_success_that_is_known_of_all_episodes_is_in_each_frame(tmp_path: Path) -> None:
    found = [make_episode(k, k == 1, Eyes()) for k in range(3)]
    folder = tmp_path / "small" / "v1.0.0"
    dataset_version.write(folder, {"train": [found[:2]], "val": [found[2:]]})
    output = export(folder, "lerobot")
    table = pq.read_table(output / "data/chunk-000/file-000.parquet")
    done = np.array(table.column("next.success").to_pylist())
    assert np.flatnonzero(done).tolist() == [8]  # the last frame of the second one


def test_mcap_reader_finds_every_step_with_its_time(
    version: tuple[Path, list[Episode]],
) -> None:
    folder, wanted = version
    output = export(folder, "mcap")
    for index, one in enumerate(wanted):
        name = "val" if index == 3 else "train"
        path = output / name / f"{one.metadata.episode_id}.mcap"
        with path.open("rb") as stream:
            reader = mcap.reader.make_reader(stream)
            (record,) = reader.iter_metadata()
            seen: dict[str, list[tuple[int, dict[str, object]]]] = {}
            for _, channel, message in reader.iter_messages():
                value = json.loads(message.data)
                seen.setdefault(channel.topic, []).append((message.log_time, value))
        assert record.metadata["task"] == one.metadata.task
        wanted_outcome = {True: "true", False: "false", None: "unknown"}
        assert record.metadata["success"] == wanted_outcome[one.metadata.success]
        assert set(seen) == {f"/{field.name}" for field in one.spec.step_fields()}
        for field in _NUMBERS:
            times, values = zip(*seen[f"/{field}"], strict=True)
            assert list(times) == one.steps["t_monotonic_ns"].tolist()
            got = np.array([v["values"] for v in values], np.float32)
            np.testing.assert_array_equal(
                got.reshape(one.steps[field].shape), one.steps[field]
            )
        for field in one.spec.picture_fields:
            shown_there = [value for _, value in seen[f"/{field}"]]
            shown = [base64.b64decode(str(value["data"])) for value in shown_there]
            assert shown == list(one.steps[field])
            names = {str(value["frame_id"]) for value in shown_there}
            assert names == {MCAP_NAMES[field]}


@pytest.mark.parametrize("form", exporting.FORMATS)
def test_same_version_exports_to_the_same_bytes(
    version: tuple[Path, list[Episode]], form: str
) -> None:
    first, second = (
        {
            p.relative_to(folder): p.read_bytes()
            for p in folder.rglob("*")
            if p.is_file()
        }
        for folder in (export(version[0], form, "a"), export(version[0], form, "b"))
    )
    assert first == second
    report = json.loads(first[Path("export.json")])
    lacks = report["not_carried_over"]
    assert ("t_monotonic_ns" in lacks) == (form == "lerobot")
    spec = version[1][0].spec
    of_cameras = {*spec.picture_fields, *map(age_field, spec.cameras)}
    assert of_cameras & set(lacks) == (of_cameras if form == "lerobot" else set())


def test_folder_with_files_is_not_written_to(
    version: tuple[Path, list[Episode]],
) -> None:
    output = version[0].parents[1] / "tfds"
    output.mkdir()
    (output / "mine.txt").write_text("mine")
    with pytest.raises(DatasetExistsError, match="no folder or an empty one"):
        exporting.export(version[0].as_uri(), "tfds", output, _CONSOLE)
    assert [path.name for path in output.iterdir()] == ["mine.txt"]


def test_folder_that_is_no_version_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="name the folder that //cloud:curate wrote"):
        exporting.export(tmp_path.as_uri(), "mcap", tmp_path / "out", _CONSOLE)
    assert not (tmp_path / "out").exists()


def test_picture_that_a_camera_did_not_take_stays_known_as_such(tmp_path: Path) -> None:
    eyes = Eyes(cameras=("front",))
    found = [make_episode(k, None, eyes) for k in range(3)]
    blank = blank_picture.make(640, 480)  # larger than what is kept
    for one in found:
        steps = dict(one.steps)
        steps["observation/image_front"] = (
            blank,
            *one.steps["observation/image_front"][1:],
        )
        ages_ns = np.array(one.steps["image_age_ns_front"])
        ages_ns[0] = NO_PICTURE_AGE
        steps["image_age_ns_front"] = ages_ns
        found[found.index(one)] = Episode(one.spec, one.metadata, steps)
    folder = tmp_path / "small" / "v1.0.0"
    dataset_version.write(folder, {"train": [found[:2]], "val": [found[2:]]})
    for episode in import_back(export(folder, "tfds")).values():
        assert episode.steps["observation/image_front"][0] == blank
        assert episode.steps["image_age_ns_front"][0] == NO_PICTURE_AGE
