"""Batches of windows from a stream of steps, a pure function of the step's number.

No iterator keeps a place: `batch(step)` is the same whenever and wherever it is asked
for, so a resumed run goes on at any step in constant time, and several processes cut
disjoint rows of one batch without a word between them. Of a mapped stream the steps of
the next batch are asked for as well, so that a disk works while the model trains.

Windows run over the borders of episodes, where `starts` resets the recurrence; no
step is padding.
"""

import dataclasses
import functools

import numpy as np

from cloud.dataset import mapped_rows
from cloud.dataset.step_stream import StepStream
from cloud.dataset.window_shuffle import WindowOrder
from cloud.errors import DatasetError


@dataclasses.dataclass(frozen=True)
class Windows:
    """The batches that training sees.

    Each epoch covers every step of the stream once as one of a window's first t
    steps, but for the remainder of steps over t. A batch may hold the end of one
    epoch and the begin of the next, and of little data several epochs, each cut at
    other places.

    Attributes:
        stream: all steps, in memory or mapped from a file.
        batch_size: windows of one step, over all processes.
        sequence_length: t, steps that a window trains on.
        seed: another seed is another order.
        process_index: which rows of each batch are this process's.
        process_count: processes that share each batch.

    Raises:
        ValueError: the processes do not divide the batch, or a number is out of range.
        DatasetError: the stream has fewer steps than one window.
    """

    stream: StepStream
    batch_size: int
    sequence_length: int
    seed: int
    process_index: int = 0
    process_count: int = 1

    def __post_init__(self) -> None:
        if self.process_count < 1:
            raise ValueError(
                f"process_count: expected at least 1, got {self.process_count}"
            )
        if self.batch_size < 1 or self.batch_size % self.process_count:
            raise ValueError(
                f"batch_size: expected a multiple of {self.process_count} processes,"
                f" got {self.batch_size}"
            )
        if not 0 <= self.process_index < self.process_count:
            raise ValueError(
                f"process_index: expected below {self.process_count}, got"
                f" {self.process_index}"
            )
        if self.sequence_length < 1:
            raise ValueError(
                f"sequence_length: expected at least 1, got {self.sequence_length}"
            )
        steps = len(self.stream.starts)
        if steps < self.sequence_length:
            raise DatasetError(
                "training data",
                f"at least {self.sequence_length} steps for a window",
                steps,
                "record more, or lower sequence_length",
            )

    @property
    def windows_per_epoch(self) -> int:
        """Windows of all processes that an epoch has."""
        return self._order.windows_per_epoch

    @property
    def rows(self) -> int:
        """b, windows of one step in this process."""
        return self.batch_size // self.process_count

    def batch(self, step: int) -> StepStream:
        """Windows [b t+1 ...] of one step; the last step of each is only a next state.

        Raises:
            ValueError: `step` is negative.
        """
        if step < 0:
            raise ValueError(f"step: expected at least 0, got {step}")
        length = self.sequence_length + 1
        # Those of the next step as well: a disk reads them during the update.
        rows = np.arange(self.rows) + self.process_index * self.rows
        positions = np.stack([rows, rows + self.batch_size]) + step * self.batch_size
        needed = self._order.first_steps(positions)
        mapped_rows.will_need(self.stream, needed.ravel(), length)
        first = needed[0]
        index = (first[:, None] + np.arange(length)) % len(self.stream.starts)
        return StepStream(
            *(None if column is None else column[index] for column in self.stream)
        )

    @functools.cached_property
    def _order(self) -> WindowOrder:
        steps = len(self.stream.starts)
        return WindowOrder(steps, self.sequence_length, self.seed)
