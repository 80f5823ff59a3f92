"""The times of a control loop's steps, counted in a fixed amount of memory.

A robot that drives for a day takes millions of steps, and what it remembers of their
times must not grow. A histogram with buckets that are 0.8 % wide takes 35 KiB whatever
it holds, and two of them add up to one; the longest time is kept exactly.
"""

from array import array
from dataclasses import dataclass, field
from typing import Final

import numpy as np

_PARTS_LOG2: Final = 7
_PARTS: Final = 1 << _PARTS_LOG2  # buckets in each doubling of the time
_DOUBLINGS: Final = 34  # up to 2**41 ns, which is 36 minutes
_LAST: Final = (_DOUBLINGS + 1) * _PARTS - 1
_NS_PER_US: Final = 1000.0


class TimeHistogram:
    """Counts times; below 256 ns exactly, above within 0.4 %."""

    def __init__(self) -> None:
        """Begins empty."""
        self._counts = array("Q", bytes(8 * (_LAST + 1)))
        self._longest_ns = 0

    def add(self, time_ns: int) -> None:
        """Counts one time; a negative one counts as 0."""
        if time_ns > self._longest_ns:
            self._longest_ns = time_ns
        # Takes 0.3 us.
        doubling = time_ns.bit_length() - _PARTS_LOG2 - 1
        if doubling > 0:
            index = (doubling << _PARTS_LOG2) + (time_ns >> doubling)
            self._counts[index if index < _LAST else _LAST] += 1
        else:
            self._counts[time_ns if time_ns > 0 else 0] += 1

    def merge(self, other: "TimeHistogram") -> None:
        """Adds all that `other` has counted."""
        np.frombuffer(self._counts, np.uint64)[:] += other._array()
        self._longest_ns = max(self._longest_ns, other._longest_ns)

    @property
    def count(self) -> int:
        """How many times were counted."""
        return int(self._array().sum())

    @property
    def longest_us(self) -> float:
        """The longest time, in microseconds; 0.0 when there is none."""
        return self._longest_ns / _NS_PER_US

    def percentile_us(self, percent: float) -> float:
        """The time that `percent` of the times do not exceed, in microseconds.

        It is the middle of its bucket, and never above the longest time; 0.0 when there
        is none.

        Raises:
            ValueError: `percent` is not above 0 and at most 100.
        """
        if not 0.0 < percent <= 100.0:
            raise ValueError(f"expected a percentage above 0 to 100, got {percent}")
        upto = np.cumsum(self._array())
        rank = max(1, int(np.ceil(upto[-1] * percent / 100.0)))
        index = int(np.searchsorted(upto, rank))
        return min(_middle_ns(index), self._longest_ns) / _NS_PER_US

    def _array(self) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
        return np.frombuffer(self._counts, np.uint64)


def _middle_ns(index: int) -> float:
    if index < 2 * _PARTS:
        return float(index)
    doubling = (index >> _PARTS_LOG2) - 1
    lowest = (index - (doubling << _PARTS_LOG2)) << doubling
    return lowest + (1 << doubling) / 2 - 0.5


@dataclass(frozen=True)
class StepTimes:
    """How long the steps of an episode, or of many, took.

    Attributes:
        latency: of the policy alone, from an observation to its proposed action.
        work: of the whole step: policy, limits, robot and recorder, without the wait.
        jitter: how long after its time a step began; empty in simulated pace.
    """

    latency: TimeHistogram = field(default_factory=TimeHistogram)
    work: TimeHistogram = field(default_factory=TimeHistogram)
    jitter: TimeHistogram = field(default_factory=TimeHistogram)

    def merge(self, other: "StepTimes") -> None:
        """Adds the times of other steps."""
        self.latency.merge(other.latency)
        self.work.merge(other.work)
        self.jitter.merge(other.jitter)
