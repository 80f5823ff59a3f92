"""Notices a driver that says each reading several times, while the robot moves.

A bus that is slower than control, or a driver that answers from its buffer, gives old
readings between new ones. Nothing is late and nothing stands still for long, but every
other step is driven on what was so a while ago, and rates are seen wrongly.

What gives it away: again and again no number of the state changes although the robot
is commanded, and then most of them change at once. Coarse encoders of an arm that
moves slowly change one at a time, and a robot that has arrived changes nothing, so
neither is taken for it.
"""

from typing import Final

import numpy as np

from edge.robots.robot import Vector

SHARE: Final = 1 / 8
"""Least share of steps in which old readings follow new ones: every eighth."""
_AT_ONCE: Final = 0.5
"""Share of the numbers that ever change which a new reading changes, in the mean."""
_FEWEST: Final = 2
"""Numbers that change, without which "at once" means nothing."""


class RepeatedReadings:
    """What one stretch of an episode has shown so far; stretches follow each other.

    Attributes:
        repeated, steps: of the last whole stretch, the commanded steps in which the
            state was the one before, and all of them.
    """

    def __init__(self, stretch: int) -> None:
        """Begins the first stretch.

        Args:
            stretch: commanded steps that are looked at together.
        """
        self._stretch = stretch
        self.repeated = self.steps = 0
        self._changing: np.ndarray = np.zeros((), np.bool_)
        self._was_new = False
        self._begin()

    def notice(self, action: Vector, is_new: np.ndarray) -> bool:
        """Takes a step; returns True at the end of a stretch with repeated readings.

        Args:
            action: [A] f32, the executed action.
            is_new: [N] bool, which numbers of the state have changed in this step.
        """
        if not action.any():
            return False
        count = int(np.count_nonzero(is_new))
        self._count += 1
        self._changing = self._changing | is_new
        if count:
            self._news += 1
            self._changed += count
        elif self._was_new:
            self._turns += 1
        self._was_new = count > 0
        if self._count < self._stretch:
            return False
        changing = int(np.count_nonzero(self._changing))
        found = (
            changing >= _FEWEST
            and self._turns >= SHARE * self._count
            and self._changed >= _AT_ONCE * changing * self._news
        )
        self.repeated, self.steps = self._count - self._news, self._count
        self._begin()
        return found

    def _begin(self) -> None:
        self._count = self._news = self._changed = self._turns = 0
        self._changing = np.zeros((), np.bool_)
        self._was_new = False
