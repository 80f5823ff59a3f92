"""Notices a microphone that is gone, silent or frozen, while the robot drives on.

- its newest sound is older than a second: then a step has none;
- what it gives is no sound, such as numbers that are not finite: none either;
- of a robot that exists: new values come, and each is the one before. A microphone has
  noise of its own, so that never happens to one that hears. One that is switched off
  gives the floor of silence.

The robot drives on. Whoever runs it reads one line, and the episode says it in a tag.
"""

from typing import Final

import numpy as np

from edge.control import hearing
from edge.control.hearing import GONE_NS
from edge.robots.clock import NS_PER_S
from edge.robots.log_mel import FLOOR
from edge.robots.robot import Microphone, Observation, Sound, Vector

FROZEN_NS: Final = 3 * NS_PER_S
"""How long new values are the same."""


class MicrophoneWatch:
    """What one episode has shown of the microphone of a robot.

    Attributes:
        stands: what is wrong with it now; "" if it hears.
        has_stood: whether something was wrong with it in this episode.
    """

    def __init__(self, microphone: Microphone, *, has_noise: bool) -> None:
        """Begins an episode.

        Args:
            microphone: that of the robot.
            has_noise: whether each value is another one, as of microphones that exist.
        """
        self._bands = microphone.bands
        self._has_noise = has_noise
        self._first_ns: int | None = None
        self._powers: Vector | None = None
        self._changed_ns = 0
        self.stands = ""
        self.has_stood = False

    def notice(self, seen: Observation) -> str | None:
        """Takes an observation; returns a line if the microphone has changed."""
        now_ns = seen.t_monotonic_ns
        if self._first_ns is None:
            self._first_ns = now_ns
        fault = self._find_fault(seen.sound, now_ns, now_ns - self._first_ns)
        if bool(fault) is bool(self.stands):
            return None
        self.stands = fault
        if not fault:
            return "the microphone hears again"
        self.has_stood = True
        return (
            f"{fault}: the robot drives on, and may be deaf; look at its cable and its"
            " switch"
        )

    def _find_fault(self, sound: Sound | None, now_ns: int, since_ns: int) -> str:
        """What is wrong with the microphone, as things are; "" for nothing."""
        if sound is None:
            gone = since_ns >= GONE_NS
            return "the microphone has given no sound" if gone else ""
        if not hearing.is_sound(sound.powers, self._bands):
            return "the microphone gives numbers that are no sound"
        if self._powers is None or not np.array_equal(sound.powers, self._powers):
            self._powers, self._changed_ns = sound.powers, sound.t_monotonic_ns
        if now_ns - sound.t_monotonic_ns > GONE_NS:
            return "the microphone gives no more sound"
        if self._has_noise and sound.t_monotonic_ns - self._changed_ns > FROZEN_NS:
            silent = bool((sound.powers <= FLOOR).all())
            return f"the microphone gives {'silence' if silent else 'the same sound'}"
        return ""
