"""Which word was said alone, guessed from coarse sound by whoever knows voice and list.

The guesser has each word, said by the same voice, at each moment at which a mean may
begin, and takes the one that is nearest. Others are said faster, slower or higher.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tests.benchmarks import speaking, voice_again
from tests.benchmarks.speaking import RATE

HZ: Final = 20
"""Values per second before they become coarse."""
VOICES: Final = ((165, 55), (140, 45), (150, 80))
"""Words per minute and pitch of what is guessed; the guesser's are 150 and 50."""
_BEFORE_S, _BEHIND_S = 1.0, 2.5  # of a quiet room around a word
_ROOM: Final = 1e-3  # loudness of its noise
_MOST_SHIFT: Final = 1

Array = npt.NDArray[Any]


def count_guessed(words: Sequence[str], bands: int, hold_s: float, step: float) -> int:
    """Returns how many words are guessed, of `len(VOICES)` times each.

    Args:
        words: the list.
        bands: of the sound.
        hold_s: how long each mean lasts, in seconds.
        step: to which it is rounded, in natural logarithms of power.
    """
    count = round(hold_s * HZ)
    known = [
        (word, _coarsen(powers[phase:], count, step))
        for word in words
        for powers in [_say(word, 150, 50, bands)]
        for phase in range(count)
    ]
    right = 0
    for speed, pitch in VOICES:
        for number, word in enumerate(words):
            powers = _say(word, speed, pitch, bands)[7 * number % count :]
            found = _coarsen(powers, count, step)
            right += min(known, key=lambda one: _differ(found, one[1]))[0] == word
    return right


def _say(word: str, speed: int, pitch: int, bands: int) -> Array:
    said = speaking.say(word, speed, pitch)
    room = np.random.default_rng(len(said))
    around = np.pad(said, (round(RATE * _BEFORE_S), round(RATE * _BEHIND_S)))
    noisy = around + room.normal(0.0, _ROOM, len(around))
    return voice_again.measure(noisy.astype(np.float32), RATE, HZ, bands)


def _coarsen(powers: Array, count: int, step: float) -> Array:
    """Rounded means of each `count` values, as `rlds.coarse_sound` computes them."""
    whole = len(powers) // count * count
    means = powers[:whole].reshape(-1, count, powers.shape[1]).mean(axis=1)
    return np.round(means / step) * step


def _differ(one: Array, other: Array) -> float:
    """Mean square of what differs, where they fit each other best."""
    found = []
    for shift in range(-_MOST_SHIFT, _MOST_SHIFT + 1):
        a, b = one[max(0, shift) :], other[max(0, -shift) :]
        both = min(len(a), len(b))
        if both:
            found.append(float(np.square(a[:both] - b[:both]).mean()))
    return min(found)
