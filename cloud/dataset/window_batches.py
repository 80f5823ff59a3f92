"""Batches of windows from a stream of steps, a pure function of the update's number.

No iterator keeps a position: `batch(update)` always returns the same batch, so a
resumed run continues at any update in constant time, and several processes take
disjoint rows of one batch without communicating. For a mapped stream the steps of the
next batch are requested too, so that the disk reads them while the model trains.

Windows cross the borders of episodes, where `starts` resets the recurrence; no step is
padding.
"""

import dataclasses
import functools

import numpy as np

from cloud.dataset import mapped_rows, place_noise, sense_dropout
from cloud.dataset.step_stream import StepStream
from cloud.dataset.window_shuffle import WindowOrder
from cloud.errors import DatasetError


@dataclasses.dataclass(frozen=True)
class Windows:
    """The batches that training sees.

    Each epoch covers every step of the stream once as one of a window's first t steps,
    except the remainder of dividing the number of steps by t. A batch may hold the end
    of one epoch and the start of the next or, if there is little data, several epochs,
    each cut at other steps.

    Attributes:
        stream: all steps, in memory or mapped from a file.
        batch_size: windows of one update, over all processes.
        sequence_length: t, steps that a window trains on.
        seed: decides the order of the windows.
        process_index: index of this process, from 0; decides its rows of each batch.
        process_count: number of processes that share each batch.
        sense_dropout: share of windows in which a sense is taken away for a while.
        cameras: cameras whose frames stand beside each other.
        place_noise: f32 [p], deviation of the noise on places in frames; None for none.

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
    sense_dropout: float = 0.0
    cameras: int = 1
    place_noise: np.ndarray | None = None

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
        """Windows of an epoch, over all processes."""
        return self._order.windows_per_epoch

    @property
    def rows(self) -> int:
        """b, windows of one update in this process."""
        return self.batch_size // self.process_count

    def batch(self, update: int) -> StepStream:
        """Returns the windows [b t+1 ...] of one update, the first being update 0.

        The last step of each window is only a next state.

        Raises:
            ValueError: `update` is negative.
        """
        if update < 0:
            raise ValueError(f"update: expected at least 0, got {update}")
        length = self.sequence_length + 1
        # Those of the next update too, so that the disk reads them during this one.
        rows = np.arange(self.rows) + self.process_index * self.rows
        positions = np.stack([rows, rows + self.batch_size]) + update * self.batch_size
        needed = self._order.first_steps(positions)
        mapped_rows.will_need(self.stream, needed.ravel(), length)
        first = needed[0]
        index = (first[:, None] + np.arange(length)) % len(self.stream.starts)
        windows = StepStream._make(
            None if column is None else column[index] for column in self.stream
        )
        windows = place_noise.add(windows, self.place_noise, self.seed, positions[0])
        return sense_dropout.drop(
            windows, self.sense_dropout, self.cameras, self.seed, positions[0]
        )

    @functools.cached_property
    def _order(self) -> WindowOrder:
        steps = len(self.stream.starts)
        return WindowOrder(steps, self.sequence_length, self.seed)
