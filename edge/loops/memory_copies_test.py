"""Memories that their operator labels, trims or leaves out."""

import os
from pathlib import Path
from typing import Any

import pytest

from base.digest import sha256_bytes
from edge.loops import memories as local
from edge.loops import memory_copies
from edge.loops.memories import LocalMemories
from edge.loops.memory_choice import LIVED, SEEN
from release.package import ActionSpec, RobotFit, TensorSpec
from rlds import reader
from rlds.episode import Episode
from rlds.testing import episodes

FIT = RobotFit(
    robot_model="sawyer",
    observation={"state": TensorSpec("state", (3,), "float32")},
    action=ActionSpec((2,), "float32", (-1.0,) * 2, (1.0,) * 2),
    control_hz=80.0,
    tasks=("reach-v3",),
)


def make(number: int, **changes: Any) -> Episode:
    return episodes.episode(number=number, robot_hash="arm-1", **changes)


def hand_over(root: Path, episode: Episode) -> Path:
    folder = root / local.NEW
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{episode.metadata.episode_id}.tfrecord"
    path.write_bytes(episodes.frame_episode(episode))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two memories that were taken in, and one that is handed over."""
    made = tmp_path / "memories"
    for number in (0, 1):
        hand_over(made, make(number, operator="human", success=False))
        assert len(LocalMemories(made, "arm-1").take(FIT)) == 1
    hand_over(made, make(2))
    return made


def fail(text: str) -> None:
    raise AssertionError(text)


def test_memory_keeps_its_number_and_use_and_has_the_name_of_its_new_bytes(
    root: Path,
) -> None:
    before = LocalMemories(root, "arm-1").read()
    assert {one.kind for one in before} == {SEEN}
    (path, episode) = next(memory_copies.list_copies(root, fail))
    labelled = make(0, operator="human", success=True)
    assert labelled.metadata.episode_id == episode.metadata.episode_id
    memory_copies.rewrite(path, labelled)
    told: list[str] = []
    first, second = LocalMemories(root, "arm-1", tell=told.append).read()
    assert told == []
    assert (first.number, first.use, first.kind) == (0, before[0].use, LIVED)
    assert first.digest == sha256_bytes(episodes.frame_episode(labelled))
    assert second == before[1]
    memory_copies.rewrite(
        LocalMemories(root, "arm-1").path(first), labelled
    )  # once more
    assert LocalMemories(root, "arm-1").read() == (first, second)


def test_memory_that_nobody_took_in_yet_is_rewritten_in_its_place(root: Path) -> None:
    *_, (path, _) = memory_copies.list_copies(root, fail)
    path.chmod(0o640)
    memory_copies.rewrite(path, make(2, success=None))
    assert reader.read_episode(path).metadata.success is None
    assert path.stat().st_mode & 0o777 == 0o640
    assert len(LocalMemories(root, "arm-1").take(FIT)) == 1


def test_forgotten_memory_is_gone_and_the_others_stay(root: Path) -> None:
    (path, _) = next(memory_copies.list_copies(root, fail))
    memory_copies.forget(path)
    assert [one.number for one in LocalMemories(root, "arm-1").read()] == [1]


def test_episode_that_was_left_out_is_not_taken_in(root: Path) -> None:
    path = hand_over(root, make(3, tags=("left_out_by_operator",)))
    taken = LocalMemories(root, "arm-1").take(FIT)
    assert [one.number for one in taken] == [2]
    assert not path.exists()


def test_bad_file_is_told_of_and_stays(root: Path) -> None:
    bad = root / local.NEW / "bad.tfrecord"
    bad.write_bytes(b"none")
    os.mkfifo(root / "pipe.tfrecord")
    told: list[str] = []
    assert len(list(memory_copies.list_copies(root, told.append))) == 3
    assert len(told) == 2
    assert bad.exists()


def test_robot_without_memories_has_no_copies(tmp_path: Path) -> None:
    assert list(memory_copies.list_copies(tmp_path / "memories", fail)) == []
