"""Keeps the control period: when a step is due, and how late it is.

A step is due one period after the step before was. When that time has passed already,
the loop begins at once and counts on from there: it never catches up, because two
actions in quick succession are not what a policy was trained for.

A step is *late* when its action is ready more than one period after it was due. What
the step before held up after its own action (a slow robot, a slow disk) is counted
against the step that it delays; what was counted once is not counted again.
"""

from typing import Final

from edge.robots.clock import Clock

LOWEST_HZ: Final = 10.0
"""Slowest rate of a robot that exists: below it, an arm moves for a tenth of a second
on one look."""
HIGHEST_HZ: Final = 200.0
"""Highest rate: above it a period has no room for a step on a Raspberry Pi 5 and the
jitter of its kernel (`tests/benchmarks/control.py`)."""


class Ticker:
    """The time of each step, on a clock; in simulated pace no time passes."""

    def __init__(self, period_ns: int, clock: Clock | None) -> None:
        """Begins no period yet.

        Args:
            period_ns: length of a control period, in nanoseconds.
            clock: paces the loop; None for simulated pace, which never waits.
        """
        self._period_ns = period_ns
        self._clock = clock
        self._due_ns = 0
        self._ready_ns = 0
        self._held_up_ns = 0

    @property
    def is_paced(self) -> bool:
        """Whether the loop keeps real time."""
        return self._clock is not None

    def start(self) -> None:
        """The first step is due now."""
        if self._clock is not None:
            self._due_ns = self._clock.now_ns()

    def is_late(self) -> bool:
        """Whether the action that is ready now comes later than one period."""
        if self._clock is None:
            return False
        self._ready_ns = self._clock.now_ns()
        return self._ready_ns - self._due_ns + self._held_up_ns > self._period_ns

    def left_ns(self) -> int | None:
        """Time until the next step is due; None in simulated pace, where none passes.

        It is negative after that time.
        """
        if self._clock is None:
            return None
        return self._due_ns + self._period_ns - self._clock.now_ns()

    def wait(self) -> int:
        """Waits until the next step is due.

        Returns:
            How long after that time it begins, in nanoseconds; 0 in simulated pace.
        """
        if self._clock is None:
            return 0
        due_ns = self._due_ns + self._period_ns
        now_ns = self._clock.now_ns()
        if now_ns < due_ns:
            self._clock.sleep_until_ns(due_ns)
            self._due_ns, self._held_up_ns = due_ns, 0
            return self._clock.now_ns() - due_ns
        # What made the action late is the last step's; the rest is the next one's.
        self._due_ns, self._held_up_ns = now_ns, now_ns - max(due_ns, self._ready_ns)
        return now_ns - due_ns
