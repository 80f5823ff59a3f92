"""A batch depends only on data, seed and update, not on how many processes share it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloud.dataset import mapped_rows, step_stream
from cloud.dataset.step_stream import StepStream
from cloud.dataset.window_batches import Windows
from cloud.errors import DatasetError
from cloud.testing import training_episodes


@pytest.fixture(scope="module")
def stream() -> StepStream:
    """Twelve episodes, 117 steps."""
    return step_stream.join(
        training_episodes.episodes(12), training_episodes.TASKS, 4, 2
    )


def windows(stream: StepStream, **changes: int) -> Windows:
    arguments: dict[str, Any] = {
        "batch_size": 4,
        "sequence_length": 6,
        "seed": 1,
        **changes,
    }
    return Windows(stream, **arguments)


def assert_equal(one: StepStream, other: StepStream) -> None:
    for name, mine, its in zip(one._fields, one, other, strict=True):
        assert (mine is None) == (its is None), name
        if mine is not None:
            np.testing.assert_array_equal(mine, its, err_msg=name)


def test_rows_are_neighbouring_steps_of_the_stream(stream: StepStream) -> None:
    batch = windows(stream).batch(0)
    assert batch.states.shape == (4, 7, 4)
    assert batch.starts.shape == batch.action_weight.shape == (4, 7)
    for row in range(4):
        first = np.flatnonzero((stream.states == batch.states[row, 0]).all(1))[0]
        index = (first + np.arange(7)) % len(stream.starts)
        for name, column in zip(stream._fields, stream, strict=True):
            if column is not None:
                cut = getattr(batch, name)[row]
                np.testing.assert_array_equal(cut, column[index], err_msg=name)


def test_an_epoch_trains_on_every_step_once_except_the_remainder(
    stream: StepStream,
) -> None:
    """The same with any remainder, across batches that straddle two epochs."""
    for length in (5, 6, 7):
        cut = windows(stream, batch_size=3, sequence_length=length)
        needed = cut.windows_per_epoch
        rows = [row for k in range(needed) for row in cut.batch(k).states[:, :-1]]
        for epoch in range(3):
            seen = np.concatenate(rows[epoch * needed : (epoch + 1) * needed])
            distinct = {step.tobytes() for step in seen}
            assert len(distinct) == len(seen) == 117 - 117 % length


def test_the_first_state_of_an_episode_is_not_a_next_state(stream: StepStream) -> None:
    batch = windows(stream, batch_size=16).batch(0)
    np.testing.assert_array_equal(batch.next_weight[:, :-1] == 0, batch.starts[:, 1:])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_processes_together_get_the_batches_of_one_process(
    stream: StepStream, count: int
) -> None:
    for update in (0, 1, 17):
        whole = windows(stream).batch(update)
        parts = [
            windows(stream, process_index=k, process_count=count).batch(update)
            for k in range(count)
        ]
        joined = step_stream.StepStream._make(
            None if column[0] is None else np.concatenate(column)
            for column in zip(*parts, strict=True)
        )
        assert_equal(joined, whole)


def test_the_batch_of_any_update_is_that_of_a_run_from_the_start(
    stream: StepStream,
) -> None:
    run = windows(stream)
    seen = [run.batch(update) for update in range(20)]
    for update in (19, 3, 11):
        assert_equal(windows(stream).batch(update), seen[update])
    far = windows(stream).batch(10**12)
    assert far.states.shape == (4, 7, 4)


def test_another_seed_gives_another_order(stream: StepStream) -> None:
    one, other = windows(stream).batch(0), windows(stream, seed=2).batch(0)
    assert not np.array_equal(one.states, other.states)


def test_mapped_rows_give_the_same_batches_as_memory(
    stream: StepStream, tmp_path: Path
) -> None:
    """Also where a window crosses the end of the file."""
    rows = mapped_rows.to_rows(stream)
    (tmp_path / "rows").write_bytes(rows.tobytes())
    mapped = mapped_rows.open_rows(tmp_path / "rows", rows.dtype)
    assert_equal(mapped, stream)
    for update in range(20):
        batch = windows(mapped).batch(update)
        assert_equal(batch, windows(stream).batch(update))
        assert batch.states.flags.c_contiguous
        assert not np.shares_memory(batch.states, mapped.states)


def test_columns_that_the_data_lack_stay_absent(stream: StepStream) -> None:
    assert stream.places is None
    assert windows(stream).batch(0).places is None


def test_a_batch_of_little_data_holds_several_epochs_cut_at_other_steps(
    stream: StepStream,
) -> None:
    cut = windows(stream, batch_size=8, sequence_length=50)
    assert cut.windows_per_epoch == 2
    firsts = {row[0].tobytes() for row in cut.batch(0).states}
    assert len(firsts) > cut.windows_per_epoch


def test_fewer_steps_than_a_window_are_refused_with_a_remedy(
    stream: StepStream,
) -> None:
    assert windows(stream, sequence_length=117).batch(0).states.shape[1] == 118
    with pytest.raises(DatasetError, match=r"at least 118 steps.*got 117"):
        windows(stream, sequence_length=118)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"process_count": 3}, "batch_size: expected a multiple of 3"),
        ({"batch_size": 0}, "batch_size"),
        ({"process_count": 2, "process_index": 2}, "process_index: expected below 2"),
        ({"process_count": 2, "process_index": -1}, "process_index"),
        ({"process_count": 0}, "process_count"),
        ({"sequence_length": 0}, "sequence_length"),
    ],
)
def test_numbers_out_of_range_are_refused(
    stream: StepStream, changes: dict[str, int], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        windows(stream, **changes)


def test_an_update_before_the_first_is_refused(stream: StepStream) -> None:
    with pytest.raises(ValueError, match="got -1"):
        windows(stream).batch(-1)
