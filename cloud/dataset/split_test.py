"""A split read on demand has the episodes of its shards, and trains the same."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from base.digest import sha256_bytes
from base.store.store import LocalStore
from cloud.dataset import split, step_stream
from cloud.dataset.split import DatasetSplit
from cloud.dataset.step_stream import StepStream
from cloud.dataset.window_batches import Windows
from cloud.errors import DatasetError
from cloud.testing import dataset_version, training_episodes
from rlds.episode import Episode
from rlds.errors import ShardMismatchError

TASKS = training_episodes.TASKS

Version = tuple[Path, list[Episode]]
"""The folder and its episodes."""


@pytest.fixture
def version(tmp_path: Path) -> Version:
    """Twelve train episodes in three shards, three held-out ones in one."""
    made = training_episodes.episodes(15)
    folder = tmp_path / "version"
    dataset_version.write(
        folder, {"train": [made[:5], made[5:6], made[6:12]], "val": [made[12:]]}
    )
    return folder, made


@pytest.fixture
def opened(version: Version, tmp_path: Path) -> DatasetSplit:
    return split.open_split(version[0], "train", tmp_path / "work")


def assert_equal(one: StepStream, other: StepStream) -> None:
    for name, mine, its in zip(one._fields, one, other, strict=True):
        assert (mine is None) == (its is None), name
        if mine is not None and its is not None:
            np.testing.assert_array_equal(mine, its, err_msg=name)
            assert mine.dtype == its.dtype, name


def test_episodes_are_those_that_were_written(
    version: Version, opened: DatasetSplit
) -> None:
    assert list(opened.episodes) == version[1][:12]
    assert [opened.episodes[k] for k in (11, 0, -1)] == [
        version[1][k] for k in (11, 0, 11)
    ]
    assert list(opened.episodes[4:7]) == version[1][4:7]
    manifest = (version[0] / "manifest.json").read_bytes()
    assert opened.manifest_digest == sha256_bytes(manifest)
    assert opened.episodes.num_steps == sum(e.num_steps for e in version[1][:12])


def test_stream_is_mapped_and_equals_the_joined_episodes(
    version: Version, opened: DatasetSplit
) -> None:
    stream = opened.steps(TASKS).steps
    assert_equal(stream, step_stream.join(version[1][:12], TASKS, 4, 2))
    assert isinstance(stream.states, np.memmap)
    for step in (0, 5, 1000):
        assert_equal(
            Windows(stream, 4, 6, seed=1).batch(step),
            Windows(step_stream.join(version[1][:12], TASKS, 4, 2), 4, 6, seed=1).batch(
                step
            ),
        )


def test_stream_of_one_task_holds_only_its_episodes(
    version: Version, opened: DatasetSplit
) -> None:
    both, left = (opened.steps(tasks).steps for tasks in (TASKS, ("left",)))
    expected = [e for e in version[1][:12] if e.metadata.task == "left"]
    assert_equal(left, step_stream.join(expected, ("left",), 4, 2))
    assert len(left.starts) < len(both.starts)


def test_opening_a_split_again_reads_no_shard(
    version: Version,
    opened: DatasetSplit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = opened.steps(TASKS)

    def refuse(store: LocalStore, path: str, *_: int) -> None:
        pytest.fail(f"{path} was read")

    monkeypatch.setattr(LocalStore, "get_range", refuse)
    again = split.open_split(version[0], "train", tmp_path / "work")
    assert_equal(again.steps(TASKS).steps, first.steps)


def changed(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-60] ^= 1
    path.write_bytes(raw)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("damage", [changed, cut, Path.unlink])
def test_a_shard_that_changed_after_its_steps_were_cached_is_refused_every_time(
    version: Version,
    opened: DatasetSplit,
    tmp_path: Path,
    damage: Callable[[Path], None],
) -> None:
    opened.steps(TASKS)
    damage(version[0] / "train/shard-00002.tfrecord")
    for _ in range(2):
        with pytest.raises(ShardMismatchError, match="train/shard-00002"):
            split.open_split(version[0], "train", tmp_path / "work")


def test_a_shard_that_was_rewritten_with_the_same_bytes_is_verified_once(
    version: Version,
    opened: DatasetSplit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = version[0] / "train/shard-00001.tfrecord"
    path.write_bytes(path.read_bytes())
    read = []
    real = LocalStore.get_range

    def counted(store: LocalStore, name: str, *where: int) -> bytes:
        raw = real(store, name, *where)
        read.append((name, len(raw)))
        return raw

    monkeypatch.setattr(LocalStore, "get_range", counted)
    for _ in range(2):
        split.open_split(version[0], "train", tmp_path / "work")
    assert [r for r in read if r[1]] == [
        (opened.manifest.splits["train"][1].path, path.stat().st_size)
    ]


def test_a_shard_that_changed_before_its_steps_were_cached_leaves_no_cache(
    version: Version, opened: DatasetSplit, tmp_path: Path
) -> None:
    path = version[0] / "train/shard-00002.tfrecord"
    raw = bytearray(path.read_bytes())
    raw[-60] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ShardMismatchError, match="train/shard-00002"):
        opened.steps(TASKS)
    left = [p for p in (tmp_path / "work/steps").iterdir() if p.suffix != ".lock"]
    assert left == []


def test_one_of_each_task_is_the_first_of_each(
    version: Version, opened: DatasetSplit
) -> None:
    one_of_each = opened.episodes.one_of_each_task()
    assert list(one_of_each) == version[1][:2]
    assert list(opened.episodes[1:].one_of_each_task()) == version[1][1:3]


def test_absent_tasks_are_refused_and_existing_ones_named(
    opened: DatasetSplit,
) -> None:
    with pytest.raises(DatasetError, match="of up in train, got episodes of left, rig"):
        opened.steps(("up",))


def test_absent_split_is_refused_by_name(version: Version, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="'test', got"):
        split.open_split(version[0], "test", tmp_path / "work")
