"""What an operator says on the page reaches the memories of the episode."""

from pathlib import Path

import pytest

from edge.episodes import labels
from edge.loops import memory_copies, memory_labels
from rlds.testing import episodes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two raw episodes that were handed over."""
    folder = tmp_path / "memories" / "new"
    folder.mkdir(parents=True)
    for number in (0, 1):
        episode = episodes.episode(number=number, robot_hash="arm-1", success=True)
        path = folder / f"{episode.metadata.episode_id}.tfrecord"
        path.write_bytes(episodes.frame_episode(episode))
    return tmp_path / "memories"


def fail(text: str) -> None:
    raise AssertionError(text)


def outcomes(root: Path) -> dict[str, bool | None]:
    return {
        episode.metadata.episode_id: episode.metadata.success
        for _, episode in memory_copies.list_copies(root, fail)
    }


def test_label_is_noted_once_and_then_gone(root: Path) -> None:
    first, second = outcomes(root)
    folder = root / labels.FOLDER
    labels.write(folder, first, "failure")
    assert memory_labels.apply_all(root, fail) == 1
    assert outcomes(root) == {first: False, second: True}
    assert labels.list_names(folder) == []
    assert memory_labels.apply_all(root, fail) == 0


def test_memory_that_is_left_out_is_forgotten(root: Path) -> None:
    first, second = outcomes(root)
    labels.write(root / labels.FOLDER, first, "leave_out")
    assert memory_labels.apply_all(root, fail) == 1
    assert list(outcomes(root)) == [second]


def test_label_of_no_memory_and_a_damaged_one_are_dropped(root: Path) -> None:
    folder = root / labels.FOLDER
    labels.write(folder, "019b7892-1c00-7d15-8162-71f76a1f35ef", "success")
    (folder / "x.label").write_text("{")
    told: list[str] = []
    assert memory_labels.apply_all(root, told.append) == 0
    assert len(told) == 1
    assert labels.list_names(folder) == []


@pytest.mark.parametrize("says", ["perfect", "", "granted"])
def test_word_that_is_none_is_refused(root: Path, says: str) -> None:
    labels.write(root / labels.FOLDER, "a", says)
    told: list[str] = []
    memory_labels.apply_all(root, told.append)
    assert "how an episode went" in told[0]
