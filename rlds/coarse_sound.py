"""Sound so coarse that no word is left: the one form in which it leaves a robot.

Powers of at most `SOUND_BANDS` bands, each second the rounded mean of the second before
it. A step is told nothing that it has not heard yet, so that a robot can
compute the same while it drives: what a package was trained on is what it hears.

A step of zeros has no sound: its microphone was not there. No mean counts such steps.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from rlds.spec import SOUND_BANDS, SOUND_HOLD_NS, SOUND_STEP

MAX_POWER = 64.0
"""Natural logarithm: more than any number of 24 bits has."""
Powers = npt.NDArray[np.float32]


def coarsen(powers: Powers, times_ns: npt.NDArray[Any]) -> Powers:
    """Returns the coarse form of the sound of an episode.

    Shapes: powers [t m], times_ns [t] i64 to [t m].
    The first second holds its first step. What is coarse already stays as it is.
    """
    if find_fault(powers, times_ns) is None:
        return powers.copy()
    hearing = CoarseSound()
    heard = zip(powers, times_ns.tolist(), strict=True)
    return np.stack([hearing.add(one, now_ns) for one, now_ns in heard])


def find_fault(
    powers: npt.NDArray[Any], times_ns: npt.NDArray[Any]
) -> tuple[int, str] | None:
    """Returns the first step that is not coarse, and what was expected; else None.

    Shapes: powers [t m], times_ns [t] i64.
    """
    if powers.shape[1] > SOUND_BANDS:
        return 0, f"at most {SOUND_BANDS} bands of sound"
    wrong = (powers % SOUND_STEP != 0) | (np.abs(powers) > MAX_POWER)
    if wrong.any():
        step = int(wrong.any(axis=1).argmax())
        return step, f"powers in steps of {SOUND_STEP} up to {MAX_POWER}"
    changes = np.flatnonzero((powers[1:] != powers[:-1]).any(axis=1)) + 1
    starts = np.concatenate(([0], changes))
    short = np.diff(times_ns[starts]) < SOUND_HOLD_NS
    if short.any():
        return int(changes[short.argmax()]), f"powers that hold for {SOUND_HOLD_NS} ns"
    return None


class CoarseSound:
    """The coarse form of the sound of one episode, step by step."""

    def __init__(self) -> None:
        """Begins without sound."""
        self._since_ns = 0
        self._heard: list[Powers] = []
        self._held: Powers | None = None

    def add(self, powers: Powers, now_ns: int) -> Powers:
        """Takes the sound of a step [m] and returns its coarse form [m].

        Args:
            powers: not coarse yet; zeros where there is no sound.
            now_ns: when it was heard; it grows from call to call.
        """
        if self._held is None:
            self._since_ns, self._held = now_ns, _round(powers)
        elif now_ns - self._since_ns >= SOUND_HOLD_NS:
            self._since_ns, self._held = now_ns, _round(_average(self._heard))
            self._heard.clear()
        self._heard.append(powers.copy())
        return self._held.copy()


def _average(heard: list[Powers]) -> npt.NDArray[np.float64]:
    there = [powers for powers in heard if powers.any()]
    mean: npt.NDArray[np.float64] = np.mean(there or heard[:1], 0, dtype=np.float64)
    return mean


def _round(powers: npt.NDArray[Any]) -> Powers:
    steps = np.round(np.clip(powers, -MAX_POWER, MAX_POWER) / SOUND_STEP)
    rounded: Powers = (steps * SOUND_STEP).astype(np.float32)
    return rounded
