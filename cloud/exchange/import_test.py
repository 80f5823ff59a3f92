"""Imports RLDS and LeRobot datasets that other libraries wrote, good and bad ones."""

import dataclasses
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rich.console
import tensorflow_datasets as tfds
from PIL import Image

from cloud.dataset import split
from cloud.errors import DatasetExistsError, SourceError
from cloud.exchange import importing
from cloud.exchange.importing import Report, Request
from cloud.exchange.recorded import Choice
from cloud.testing import other_data
from cloud.testing.other_data import CAMERAS, FPS, TASK, Frames
from rlds.episode import Episode
from rlds.manifest import Manifest
from rlds.spec import picture_field

DEFAULT = Choice()
RLDS = Choice(control_hz=5.0)
WRIST = "observation/image_wrist"


@dataclasses.dataclass(frozen=True)
class Imported:
    """A new version, what was said of it, and its episodes by id."""

    manifest: Manifest
    report: Report
    printed: list[str]
    episodes: dict[str, Episode]
    folder: Path

    @property
    def lines(self) -> list[str]:
        """What was printed of single episodes."""
        return [line for line in self.printed if line.startswith(("left out", "note"))]


def run(source: Path, choice: Choice = DEFAULT, **more: Any) -> Imported:
    """Imports a folder, and opens the version as training does."""
    folder = source.parent / "data" / "arms" / "v1.0.0"
    printed = io.StringIO()
    console = rich.console.Console(file=printed, width=1000)
    request = Request(source, folder.as_uri(), choice, code_commit="c0ffee", **more)
    manifest, report = importing.import_dataset(request, console)
    episodes = {
        episode.metadata.episode_id: episode
        for name in manifest.splits
        for episode in split.open_split(folder, name, source.parent / "work").episodes
    }
    lines = printed.getvalue().splitlines()
    return Imported(manifest, report, lines, episodes, folder)


def test_open_x_embodiment_folder_is_carried_over_and_the_rest_listed(
    tmp_path: Path,
) -> None:
    train = [other_data.oxe_steps(count, count) for count in (4, 5, 6)]
    source = other_data.write_rlds(
        tmp_path / "arms", {"train": train, "val": [other_data.oxe_steps(3, 1)]}
    )
    done = run(source, RLDS)
    assert {name: e.num_steps for name, e in done.episodes.items()} == {
        "arms-train-000000": 4,
        "arms-train-000001": 5,
        "arms-train-000002": 6,
        "arms-val-000000": 3,
    }
    held_out = [e.episode_id for e in done.manifest.episodes if e.split == "val"]
    assert held_out == ["arms-val-000000"]  # as the source holds them out
    episode, steps = done.episodes["arms-train-000001"], train[1]
    np.testing.assert_array_equal(
        episode.steps["observation/state"],
        np.array([s["observation"]["state"] for s in steps]).astype(np.float32),
    )
    action = [[*s["action"]["arm"], s["action"]["gripper"]] for s in steps]
    np.testing.assert_array_equal(episode.steps["action"], np.array(action, np.float32))
    np.testing.assert_array_equal(
        episode.steps["t_monotonic_ns"], np.arange(5) * 200_000_000
    )
    np.testing.assert_array_equal(episode.steps["reward"], [0, 0, 0, 0, 1])
    assert episode.steps["is_terminal"].tolist() == [False] * 4 + [True]
    assert episode.spec.picture_fields == ("observation/image", WRIST)
    for ours, theirs in (("observation/image", "image"), (WRIST, "wrist_image")):
        for step, raw in zip(steps, episode.steps[ours], strict=True):
            wanted = step["observation"][theirs].astype(float)
            assert np.abs(other_data.decode(raw) - wanted).mean() < 4
    assert episode.steps["image_age_ns_wrist"].tolist() == [0] * 5
    metadata = episode.metadata
    assert (metadata.task, metadata.success, metadata.tags) == (TASK, None, ())
    assert (metadata.robot_model, metadata.operator) == ("arms", "")
    assert set(done.report.facts.left_behind) == {
        "observation/gripper",
        "observation/depth",
        "language_embedding",
        "episode_metadata/file_path",
    }
    stated = json.loads((done.folder / "import.json").read_bytes())
    assert stated["not_carried_over"] == done.report.facts.left_behind
    assert stated["cameras_renamed"] == {"observation/wrist_image": "wrist"}
    said = list(importing.describe(done.manifest, done.report))
    assert f"{WRIST} from observation/wrist_image" in said
    assert (
        "note: the camera observation/wrist_image is called wrist here, in words of a "
        "closed list"
    ) in said
    assert done.lines == []


def test_imported_version_opens_with_tfds(tmp_path: Path) -> None:
    steps = other_data.oxe_steps(4)
    source = other_data.write_rlds(tmp_path / "arms", {"train": [steps, steps]})
    done = run(source, RLDS)
    builder = tfds.builder_from_directory(str(done.folder))
    (read,) = tfds.as_numpy(builder.as_dataset(split="val"))
    states = [step["observation"]["state"] for step in read["steps"]]
    wanted = np.array([s["observation"]["state"] for s in steps], np.float32)
    np.testing.assert_array_equal(states, wanted)


def test_named_features_make_state_action_and_picture(tmp_path: Path) -> None:
    steps = other_data.oxe_steps(4)
    source = other_data.write_rlds(tmp_path / "arms", {"train": [steps, steps]})
    choice = Choice(
        state=("observation/gripper", "observation/state"),
        action=("action/arm",),
        cameras=("wrist_image",),
        control_hz=5.0,
        image_size=16,
    )
    more = {"task": "fetch", "robot_model": "franka", "simulated": True}
    done = run(source, choice, actor="human", held_out=1, **more)
    episode = done.episodes["arms-train-000000"]
    assert episode.steps["observation/state"].shape == (4, 4)
    np.testing.assert_array_equal(episode.steps["observation/state"][:, 0], range(4))
    assert episode.steps["action"].shape == (4, 2)
    assert episode.spec.picture_fields == (WRIST,)
    shown = other_data.decode(episode.steps[WRIST][2])
    assert shown.shape == (12, 16, 3)
    metadata = episode.metadata
    assert (metadata.task, metadata.robot_model) == ("fetch", "franka")
    assert (metadata.tags, metadata.operator) == (("simulated",), "human")
    assert "observation/image" in done.report.facts.left_behind


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice(), "--control_hz: expected the control steps per second of arms"),
        (Choice(control_hz=5.0, state=("observation/knee",)), "--state: expected some"),
        (Choice(control_hz=5.0, action=("is_last_",)), "--action: expected some"),
        (Choice(control_hz=5.0, cameras=("rear",)), "--camera: expected none, or"),
    ],
)
def test_wrong_choice_is_an_error_about_its_flag(
    tmp_path: Path, choice: Choice, expected: str
) -> None:
    source = other_data.write_rlds(
        tmp_path / "arms", {"train": [other_data.oxe_steps(3)] * 2}
    )
    with pytest.raises(SourceError) as caught:
        run(source, choice)
    assert str(caught.value).startswith(expected)
    assert not (tmp_path / "data" / "arms").exists()


def test_steps_that_are_a_sequence_are_read_like_a_dataset(tmp_path: Path) -> None:
    whole = other_data.oxe_features()
    features = tfds.features.FeaturesDict(
        {"steps": tfds.features.Sequence(whole["steps"].feature)}
    )
    steps = other_data.oxe_steps(4)
    source = other_data.write_rlds(
        tmp_path / "arms", {"train": [steps, steps]}, features
    )
    episode = run(source, RLDS).episodes["arms-train-000001"]
    wanted = np.array([s["observation"]["state"] for s in steps], np.float32)
    np.testing.assert_array_equal(episode.steps["observation/state"], wanted)


def test_many_tasks_are_said_to_be_many(tmp_path: Path) -> None:
    episodes = [other_data.oxe_steps(2, pictures=False) for _ in range(60)]
    for number, steps in enumerate(episodes):
        for step in steps:
            step["language_instruction"] = f"task {number}"
    features = other_data.oxe_features(pictures=False)
    source = other_data.write_rlds(tmp_path / "arms", {"train": episodes}, features)
    done = run(source, RLDS)
    said = list(importing.describe(done.manifest, done.report))
    assert any(line.startswith("note: 59 tasks, and a model has") for line in said)


def _nan(steps: list[dict[str, Any]]) -> None:
    steps[1]["observation"]["state"] = np.array([0.0, np.nan, 0.0])


def _discount(steps: list[dict[str, Any]]) -> None:
    steps[0]["discount"] = np.float32(2)


def _last_in_the_middle(steps: list[dict[str, Any]]) -> None:
    steps[1]["is_last"] = True


def _empty(steps: list[dict[str, Any]]) -> None:
    steps.clear()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_empty, "steps: expected at least one step, got none"),
        (
            _nan,
            "observation/state: expected finite numbers of 32 bits, got nan at step 1, "
            "number 1",
        ),
        (_discount, "discount: expected 0 to 1, got 2.0 at step 0"),
        (
            _last_in_the_middle,
            "is_last: expected true only at the last step, got also at step 1 of 4",
        ),
    ],
)
def test_bad_episode_of_rlds_is_one_line_and_costs_no_other(
    tmp_path: Path, change: Callable[[list[Any]], None], expected: str
) -> None:
    episodes = [other_data.oxe_steps(4, number) for number in range(4)]
    change(episodes[2])
    source = other_data.write_rlds(tmp_path / "arms", {"train": episodes})
    done = run(source, RLDS)
    assert done.lines == [f"left out: episode train 2: {expected}"]
    assert done.manifest.drops == {"arms-train-000002": f"episode train 2: {expected}"}
    assert sorted(done.episodes) == [f"arms-train-{k:06d}" for k in (0, 1, 3)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda: other_data.without("steps/action/arm"),
            "action/arm: expected a value in each of 4 steps, got 0",
        ),
        (
            lambda: other_data.with_text("steps/language_instruction", b"cup\xff"),
            "language_instruction: expected UTF-8, got another byte at 3",
        ),
        (
            lambda: other_data.with_text("steps/observation/image", b"no picture"),
            "observation/image: expected a picture, got cannot identify",
        ),
        (
            lambda: other_data.with_a_wrong_checksum,
            "record: expected the checksum of the record, got another",
        ),
        (lambda: lambda raw: raw[:50], "record: expected values as features.json says"),
    ],
)
def test_damaged_record_of_rlds_is_one_line_and_costs_no_other(
    tmp_path: Path, change: Callable[[], other_data.Change], expected: str
) -> None:
    episodes = [other_data.oxe_steps(4, number) for number in range(4)]
    source = other_data.write_rlds(
        tmp_path / "arms", {"train": episodes}, changes={("train", 1): change()}
    )
    done = run(source, RLDS)
    (line,) = done.lines
    assert line.startswith(f"left out: episode train 1: {expected}")
    assert sorted(done.episodes) == [f"arms-train-{k:06d}" for k in (0, 2, 3)]


def test_file_of_rlds_that_is_cut_short_costs_what_lay_behind(tmp_path: Path) -> None:
    episodes = [other_data.oxe_steps(4, number) for number in range(4)]
    source = other_data.write_rlds(tmp_path / "arms", {"train": episodes})
    (path,) = source.glob("*.tfrecord*")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 5 // 8])
    done = run(source, RLDS)
    assert [line.split(": ")[1] for line in done.lines] == [
        "episode train 2",
        "episode train 3",
    ]
    assert len(done.episodes) == 2


def test_flag_of_the_last_step_that_is_absent_is_set_and_said(tmp_path: Path) -> None:
    episodes = [other_data.oxe_steps(4, number) for number in range(3)]
    episodes[1][-1]["is_last"] = False
    source = other_data.write_rlds(tmp_path / "arms", {"train": episodes})
    done = run(source, RLDS)
    assert done.lines == [
        "note: episode train 1: is_last: not set at the last step, set there"
    ]
    assert done.episodes["arms-train-000001"].steps["is_last"][-1]


def test_nothing_that_can_be_carried_over_is_an_error_with_the_first_reason(
    tmp_path: Path,
) -> None:
    source = other_data.write_rlds(tmp_path / "arms", {"train": [[], []]})
    with pytest.raises(SourceError, match="episode train 0: steps: expected at least"):
        run(source, RLDS)
    assert not (tmp_path / "data" / "arms" / "v1.0.0").exists()


def test_one_episode_leaves_none_to_hold_out(tmp_path: Path) -> None:
    steps = other_data.oxe_steps(3)
    source = other_data.write_rlds(tmp_path / "arms", {"train": [steps]})
    with pytest.raises(SourceError, match="two episodes, of which one is held out"):
        run(source, RLDS)


def test_folder_of_no_known_form_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "arms").mkdir()
    with pytest.raises(SourceError, match="name a folder of TFDS or of LeRobot"):
        run(tmp_path / "arms", RLDS)


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_lerobot_dataset_is_carried_over_with_the_pictures_of_each_frame(
    tmp_path: Path, version: str
) -> None:
    lengths = [5, 3, 4]
    source = other_data.write_lerobot(tmp_path / "so101", lengths, version=version)
    done = run(source)
    assert sorted(done.episodes) == [f"arms-train-{k:06d}" for k in range(3)]
    for index, count in enumerate(lengths):
        episode = done.episodes[f"arms-train-{index:06d}"]
        random = np.random.default_rng(index)
        state = random.standard_normal((count, 3)).astype(np.float32)
        action = random.standard_normal((count, 2)).astype(np.float32)
        np.testing.assert_array_equal(episode.steps["observation/state"], state)
        np.testing.assert_array_equal(episode.steps["action"], action)
        np.testing.assert_array_equal(episode.steps["proposed_action"], action)
        np.testing.assert_array_equal(episode.steps["reward"], np.arange(count))
        times_ns = np.arange(count) * (10**9 // FPS)
        np.testing.assert_array_equal(episode.steps["t_monotonic_ns"], times_ns)
        assert episode.spec.cameras == ("top", "wrist")
        for camera in CAMERAS:
            ours = picture_field(camera.removeprefix("observation.images."))
            for step, raw in enumerate(episode.steps[ours]):
                number = other_data.video_number(index, step, camera)
                wanted = other_data.picture(number).astype(float)
                assert np.abs(other_data.decode(raw) - wanted).mean() < 6, (index, step)
        metadata = episode.metadata
        assert (metadata.task, metadata.robot_model) == (TASK, "so101_follower")
        assert (metadata.success, metadata.tags) == (None, ())
    assert (done.report.facts.left_behind, done.report.facts.renamed) == ({}, {})
    assert done.lines == []


def test_training_on_degrees_is_suggested_with_their_range(tmp_path: Path) -> None:
    def in_degrees(index: int, columns: Frames) -> None:
        columns["action"][:, 0] = np.linspace(-90, 110, len(columns["action"]))
        columns["action"][:, 1] = 5

    source = other_data.write_lerobot(tmp_path / "so101", [3, 3], change=in_degrees)
    done = run(source)
    uri = done.folder.as_uri()
    said = importing.suggest_training(done.manifest, done.report, uri)
    assert said == (
        f"./bazelw run //cloud:train -- --dataset={done.folder} --environment=none "
        "--nosenses --action_minimum=-92,4.95 --action_maximum=112,5.05"
    )


@pytest.mark.parametrize("name", ["wrist", CAMERAS[1]])
def test_one_of_several_cameras_can_be_named(tmp_path: Path, name: str) -> None:
    source = other_data.write_lerobot(tmp_path / "so101", [3, 3])
    done = run(source, Choice(cameras=(name,)))
    episode = done.episodes["arms-train-000001"]
    assert episode.spec.picture_fields == (WRIST,)
    assert done.report.facts.left_behind == {
        CAMERAS[0]: "its pictures are left out, as --camera says"
    }
    raw = episode.steps[WRIST][2]
    wanted = other_data.picture(other_data.video_number(1, 2, CAMERAS[1]))
    assert np.abs(other_data.decode(raw) - wanted.astype(float)).mean() < 6


def test_name_that_is_no_unicode_text_is_listed_without_what_it_hides(
    tmp_path: Path,
) -> None:
    source = other_data.write_lerobot(tmp_path / "so101", [3, 3], videos=False)
    info = source / "meta" / "info.json"
    value = json.loads(info.read_text())
    value["features"]["force\ud800"] = {"dtype": "float32", "shape": [1]}
    info.write_text(json.dumps(value))
    done = run(source)
    stated = json.loads((done.folder / "import.json").read_bytes())
    assert list(stated["not_carried_over"]) == ["force?"]


def test_tasks_whose_column_pandas_named_are_read(tmp_path: Path) -> None:
    source = other_data.write_lerobot(
        tmp_path / "so101", [3, 3], videos=False, task_column="__index_level_0__"
    )
    assert run(source).episodes["arms-train-000000"].metadata.task == TASK


def test_pictures_that_a_lerobot_table_holds_itself_are_read(tmp_path: Path) -> None:
    source = other_data.write_lerobot(
        tmp_path / "so101", [3, 3], per_file=1, videos=False
    )
    for index in range(2):
        buffers = [io.BytesIO() for _ in range(3)]
        for step, buffer in enumerate(buffers):
            pixels = other_data.picture(other_data.video_number(index, step))
            Image.fromarray(pixels).save(buffer, "PNG")
        path = source / "data" / "chunk-000" / f"file-{index:03d}.parquet"
        cells = [{"bytes": buffer.getvalue(), "path": None} for buffer in buffers]
        table = pq.read_table(path).append_column("observation.image", pa.array(cells))
        pq.write_table(table, path)
    info = source / "meta" / "info.json"
    value = json.loads(info.read_text())
    value["features"]["observation.image"] = {"dtype": "image", "shape": [24, 32, 3]}
    info.write_text(json.dumps(value))
    done = run(source)
    for index in range(2):
        episode = done.episodes[f"arms-train-{index:06d}"]
        for step, raw in enumerate(episode.steps["observation/image"]):
            wanted = other_data.picture(other_data.video_number(index, step))
            assert np.abs(other_data.decode(raw) - wanted.astype(float)).mean() < 4


def _nan_frame(columns: Frames) -> None:
    columns["action"][1, 0] = np.inf


def _huge_frame(columns: Frames) -> None:
    columns["observation.state"] = columns["observation.state"].astype(np.float64)
    columns["observation.state"][2, 1] = 1e300


def _absent_task(columns: Frames) -> None:
    columns["task_index"][:] = 4


def _wrong_order(columns: Frames) -> None:
    columns["frame_index"] = columns["frame_index"][::-1].copy()


def _shorter(columns: Frames) -> None:
    for name in columns:
        columns[name] = columns[name][:-1]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            _nan_frame,
            "action: expected finite numbers of 32 bits, got inf at step 1, number 0",
        ),
        (
            _huge_frame,
            "observation/state: expected finite numbers of 32 bits, got 1e+300 at step "
            "2, number 1",
        ),
        (_absent_task, "task_index: expected a task of the list of tasks, got 4"),
        (_wrong_order, "frame_index: expected 0 to 3 in order, got others"),
        (_shorter, "length: expected 4 frames as the list says, got 3"),
    ],
)
def test_bad_episode_of_lerobot_is_one_line_and_costs_no_other(
    tmp_path: Path, change: Callable[[Frames], None], expected: str
) -> None:
    source = other_data.write_lerobot(
        tmp_path / "so101",
        [4, 4, 4, 4],
        per_file=1,  # columns may have other types
        change=lambda index, columns: change(columns) if index == 1 else None,
    )
    done = run(source)
    assert done.lines == [f"left out: episode 1: {expected}"]
    assert sorted(done.episodes) == [f"arms-train-{k:06d}" for k in (0, 2, 3)]


def _remove_video(source: Path) -> None:
    (source / "videos" / CAMERAS[0] / "chunk-000" / "file-001.mp4").unlink()


def _cut_video(source: Path) -> None:
    path = source / "videos" / CAMERAS[0] / "chunk-000" / "file-001.mp4"
    path.write_bytes(path.read_bytes()[:200])


def _swap_video(source: Path) -> None:
    folder = source / "videos" / CAMERAS[0] / "chunk-000"
    shutil.copy(folder / "file-002.mp4", folder / "file-001.mp4")  # of fewer frames


def _remove_data(source: Path) -> None:
    (source / "data" / "chunk-000" / "file-001.parquet").unlink()


def _cut_data(source: Path) -> None:
    path = source / "data" / "chunk-000" / "file-001.parquet"
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("damage", "field"),
    [
        (_remove_video, CAMERAS[0]),
        (_cut_video, CAMERAS[0]),
        (_swap_video, CAMERAS[0]),
        (_remove_data, "data/chunk-000/file-001.parquet"),
        (_cut_data, "data/chunk-000/file-001.parquet"),
    ],
)
def test_damaged_file_of_lerobot_costs_only_the_episodes_in_it(
    tmp_path: Path, damage: Callable[[Path], None], field: str
) -> None:
    source = other_data.write_lerobot(tmp_path / "so101", [4, 4, 4, 4, 2])
    damage(source)
    done = run(source)
    lost = [2, 3]
    assert [line.split(": ")[1:3] for line in done.lines] == [
        [f"episode {index}", field] for index in lost
    ]
    kept = [f"arms-train-{k:06d}" for k in range(5) if k not in lost]
    assert sorted(done.episodes) == kept


def test_uneven_times_are_kept_and_said(tmp_path: Path) -> None:
    def slow_down(index: int, columns: Frames) -> None:
        if index == 1:
            columns["timestamp"][3:] += np.float32(0.25)

    source = other_data.write_lerobot(
        tmp_path / "so101", [6, 6, 6], videos=False, change=slow_down
    )
    done = run(source)
    assert done.lines == [
        "note: episode 1: t_monotonic_ns: 1 of 5 steps come 100 to 350 ms after the "
        "one before, and not 100"
    ]
    times_s = done.episodes["arms-train-000001"].steps["t_monotonic_ns"] / 1e9
    np.testing.assert_allclose(times_s, [0, 0.1, 0.2, 0.55, 0.65, 0.75], atol=1e-6)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("codebase_version", "v1.6", "codebase_version v2.x or v3.x"),
        ("fps", 0, "fps: frames per second"),
        ("features", [], "features, each with a shape"),
        ("data_path", "../{chunk_index:03d}", "data_path: a path in this folder"),
        ("data_path", "/etc/passwd", "data_path: a path in this folder"),
        ("video_path", "{robot_index}.mp4", "video_path of"),
    ],
)
def test_wrong_description_of_lerobot_is_an_error_about_its_file(
    tmp_path: Path, key: str, value: object, expected: str
) -> None:
    source = other_data.write_lerobot(tmp_path / "so101", [3, 3])
    path = source / "meta" / "info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(SourceError) as caught:
        run(source)
    assert f"{path}: expected {expected}" in str(caught.value)


def test_same_source_again_is_found_identical_and_another_refused(
    tmp_path: Path,
) -> None:
    source = other_data.write_lerobot(tmp_path / "so101", [3, 3], videos=False)
    first = run(source)
    before = {p: p.read_bytes() for p in first.folder.rglob("*") if p.is_file()}
    again = run(source)
    assert "this version is already there, identical" in again.printed
    with pytest.raises(DatasetExistsError, match="a version never changes"):
        run(source, task="another")
    assert before == {p: p.read_bytes() for p in first.folder.rglob("*") if p.is_file()}


def test_copy_of_a_source_elsewhere_gives_the_same_bytes(tmp_path: Path) -> None:
    source = other_data.write_lerobot(tmp_path / "a" / "so101", [4, 3, 2])
    shutil.copytree(source, tmp_path / "b" / "so101")
    versions = [run(tmp_path / name / "so101").folder for name in ("a", "b")]
    first, second = (
        {p.relative_to(v): p.read_bytes() for p in v.rglob("*") if p.is_file()}
        for v in versions
    )
    assert first == second


@pytest.mark.parametrize("output", ["arms", "arms/1.0.0", "Arms/v1.0.0", "a/v1.0"])
def test_output_without_name_and_version_is_an_error_about_the_flag(
    output: str,
) -> None:
    with pytest.raises(SourceError, match="--output: expected a folder"):
        importing.parse_output(f"file:///data/{output}")
