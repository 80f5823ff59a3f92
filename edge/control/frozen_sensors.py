"""Notices sensors that stand still while the commands to the robot do not.

A driver that repeats its last reading, or a bus that answers with old ones, looks like
a robot that is well: nothing is late, nothing fails, and the policy drives on blind.
What gives it away is a state in which no number changes, though the robot was told to
move in different ways.

A robot that stands at its goal changes neither, so nothing is noticed there. Nor is it
if a policy without a memory gives the same command again and again: that is no sign.
"""

from typing import Final

import numpy as np

from edge.robots.robot import Vector

FROZEN_S: Final = 2.0
"""How long nothing changes. A camera or a slow bus repeats a reading for a tenth of
this; a person who reads that the robot is blind wants to know soon."""
MOVES: Final = 0.02
"""How far apart commands are that must show in a sensor, in lengths of their range. A
policy that settles at its goal changes them by less, the play of a servo takes less."""


class FrozenSensors:
    """What one episode has shown so far.

    Attributes:
        steps: commanded steps since the state changed last.
    """

    def __init__(self, minimum: Vector, maximum: Vector, control_hz: float) -> None:
        """Begins an episode.

        Args:
            minimum: [A] f32, the lowest executed value of each component.
            maximum: [A] f32, the highest.
            control_hz: control steps per second.
        """
        # A robot without known limits has those of its numbers, and a range beyond.
        self._least = MOVES * np.subtract(maximum, minimum, dtype=np.float64)
        self._enough = max(2, round(FROZEN_S * control_hz))
        self._state = b""
        self._low = self._high = minimum
        self._is_told = False
        self.steps = 0

    def notice(self, action: Vector, state: Vector) -> bool:
        """Takes a step; returns True at the first one at which they seem frozen.

        Args:
            action: [A] f32, the executed action.
            state: [N] f32, sensed after it. A driver may write the next one into it.
        """
        now = state.tobytes()
        if now != self._state:
            self._state, self.steps = now, 0
            return False
        return not self._is_told and self._count(action)

    def _count(self, action: Vector) -> bool:
        if not action.any():
            return False
        if self.steps:
            self._low = np.minimum(self._low, action)
            self._high = np.maximum(self._high, action)
        else:
            self._low = self._high = action.copy()
        self.steps += 1
        if self.steps % self._enough:
            return False
        apart = np.subtract(self._high, self._low, dtype=np.float64)
        self._is_told = bool(np.any(apart >= self._least))
        return self._is_told
