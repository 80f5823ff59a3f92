"""The newest sound of a robot's microphone as what a step records and a package reads.

Sound that is older than a second is none: zeros, which no sound is. So is what is no
sound, such as NaN: a robot does not stop for it.

A package is trained on sound in the form in which it leaves robots, so it hears that:
what was heard a moment ago is coarse to it too (`rlds/coarse_sound.py`).
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from edge.robots.clock import NS_PER_S
from edge.robots.robot import Observation, Vector
from release.package import TensorSpec
from rlds.coarse_sound import MAX_POWER, CoarseSound

GONE_NS: Final = NS_PER_S
"""The age from which the newest sound is none: at least two are due by then."""
_SOUND: Final = "audio_mel"


def take(seen: Observation, bands: int) -> Vector:
    """Returns what is heard at a step, [bands] f32; zeros if nothing is."""
    sound = seen.sound
    if (
        sound is None
        or seen.t_monotonic_ns - sound.t_monotonic_ns > GONE_NS
        or not is_sound(sound.powers, bands)
    ):
        return np.zeros(bands, np.float32)
    return sound.powers


def is_sound(powers: Vector, bands: int) -> bool:
    """Whether these can be the powers of so many bands; NaN is below no limit."""
    return powers.shape == (bands,) and bool((np.abs(powers) <= MAX_POWER).all())


def count_bands(observed: Mapping[str, TensorSpec]) -> int:
    """Returns how many bands of sound a package states it reads; 0 if it hears none.

    Args:
        observed: its `robot.observation`.
    """
    sound = observed.get(_SOUND)
    return 0 if sound is None else sum(sound.shape)


class Hearing:
    """What the package of one robot hears, step by step."""

    def __init__(self, bands: int) -> None:
        """Begins without sound; `bands` are those that the package reads."""
        self._bands = bands
        self._coarse = CoarseSound()

    def reset(self) -> None:
        """Forgets what was heard; an episode begins."""
        self._coarse = CoarseSound()

    def listen(self, seen: Observation) -> Vector:
        """Returns what the step reads, [bands] f32."""
        powers = take(seen, self._bands)
        if seen.sound is not None and seen.sound.is_coarse:
            return powers
        return self._coarse.add(powers, seen.t_monotonic_ns)
