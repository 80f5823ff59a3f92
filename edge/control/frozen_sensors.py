"""Notices sensors that stand still while the commands to the robot do not.

A driver that repeats its last reading, or a bus that answers with old ones, looks like
a robot that is well: nothing is late, nothing fails, and the policy drives on blind.
What gives it away is a state in which no number changes, though the robot was told to
move in different ways.

One sensor of many gives itself away where it showed something new in nearly every step,
and then nothing any more while others of that kind go on. A joint that moves first and
rests then looks the same, so it has to rest for longer. Sensors that were still from
the start are left to the night, which knows how they were before (`model/gaps.py`).

A driver that says each reading several times (`repeated_readings.py`) is told as well.

A robot that stands at its goal changes neither, so nothing is noticed there. Nor is it
if a policy without a memory gives the same command again and again: that is no sign.
"""

from typing import Final

import numpy as np

from edge.control.repeated_readings import RepeatedReadings
from edge.robots.robot import Vector

FROZEN_S: Final = 2.0
"""How long nothing changes. A camera or a slow bus repeats a reading for a tenth of
this; a person who reads that the robot is blind wants to know soon."""
MOVES: Final = 0.02
"""How far apart commands are that must show in a sensor, in lengths of their range. A
policy that settles at its goal changes them by less, the play of a servo takes less."""


PART_S: Final = 4.0
"""How long some sensors show nothing new, when others do."""
_TOLD_SENSORS: Final = 6
_LIVELY: Final = 0.95
"""Share of the steps before in which such a sensor showed something new. An object that
is pushed, and an encoder whose steps are coarse, show less."""


class FrozenSensors:
    """What one episode has shown so far.

    Attributes:
        steps: commanded steps since the state changed last, or since the sensors of
            `which` did.
        which: channels of the state that stand still alone; empty for all of them.
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
        self._enough_of_part = max(2, round(PART_S * control_hz))
        self._state = np.zeros(0, np.uint32)
        self._news = self._last_news = np.zeros(0, np.int64)
        self._number = 0
        self._low = self._high = minimum
        self._is_told = self._is_part_told = self._is_repeat_told = False
        self._repeats = RepeatedReadings(self._enough_of_part)
        self._tells_repeats = False
        self.steps = 0
        self.which: tuple[int, ...] = ()

    def notice(self, action: Vector, state: Vector) -> bool:
        """Takes a step; returns True at the first one at which they seem frozen.

        Args:
            action: [A] f32, the executed action.
            state: [N] f32, sensed after it. A driver may write the next one into it.
        """
        # As bits, so that a NaN that stays is one that stands still.
        now = state.astype(np.float32).view(np.uint32)
        if not self._state.size:
            self._news = np.zeros(now.size, np.int64)
            self._last_news = np.zeros(now.size, np.int64)
            self._state = ~now
        self._number += 1
        is_new = now != self._state
        repeats = self._repeats.notice(action, is_new)
        if self._notice_still(action, now, is_new):
            self._tells_repeats = False
            return True
        if not repeats or self._is_repeat_told:
            return False
        self._is_repeat_told = self._tells_repeats = True
        return True

    def _notice_still(
        self, action: Vector, now: np.ndarray, is_new: np.ndarray
    ) -> bool:
        if is_new.any():
            self._state, self.steps = now, 0
            self._news += is_new
            self._last_news[is_new] = self._number
            return not self._is_part_told and self._find_part()
        return not self._is_told and self._count(action)

    def tell(self) -> str:
        """What was noticed last, in words."""
        if self._tells_repeats:
            old, all_ = self._repeats.repeated, self._repeats.steps
            return f"sensors repeated their last reading in {old} of {all_} steps"
        if not self.which:
            return f"sensors stood still for {self.steps:,} commanded steps"
        some = self.which[:_TOLD_SENSORS]
        more = len(self.which) - len(some)
        names = ", ".join(map(str, some)) + (f" and {more} more" if more else "")
        sensors = "sensors" if len(self.which) > 1 else "sensor"
        return f"{sensors} {names} stood still for {self.steps:,} steps, unlike others"

    def _find_part(self) -> bool:
        """Looks, twice in `PART_S`, which sensors have stopped while others go on."""
        if self._number % (self._enough_of_part // 2):
            return False
        lively = self._news >= _LIVELY * self._last_news
        moved = lively & (self._last_news >= self._enough)
        silent = self._number - self._last_news
        stopped = moved & (silent >= self._enough_of_part)
        if not stopped.any() or not (moved & (silent == 0)).any():
            return False
        self._is_part_told = True
        self.which = tuple(int(one) for one in np.flatnonzero(stopped))
        self.steps = int(silent[stopped].min())
        return True

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
        self.which = ()
        self._is_told = bool(np.any(apart >= self._least))
        return self._is_told
