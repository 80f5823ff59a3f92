"""Makes what a camera says less certain in training than it was in the demonstrations.

A few dozen demonstrations show things at a few dozen places. A model that reads where
they lie to a tenth of a pixel can tell by that which demonstration it is in, instead of
learning to reach for things. With new noise in every step it cannot
(docs/decisions/0023). What noise a window has follows from the seed and the window's
number alone, so that a resumed run and one of more processes have the same.
"""

from typing import Final

import numpy as np

from cloud.dataset.step_stream import StepStream

SHARE: Final = 0.3
"""Of the deviation that each place has in the training data."""
_STREAM: Final = 1  # of random numbers; `sense_dropout` has another


def add(
    windows: StepStream, noise: np.ndarray | None, seed: int, numbers: np.ndarray
) -> StepStream:
    """Adds noise to the places in windows [b t ...]; a silent camera stays silent.

    Args:
        windows: a batch of its own; its places are changed.
        noise: f32 [p], standard deviation of what is added; None for nothing.
        seed: decides the noise.
        numbers: i64 [b], the number of each window, counted over the whole training.
    """
    if noise is None or windows.places is None:
        return windows
    for row, number in enumerate(numbers.tolist()):
        seen = windows.places[row]
        random = np.random.default_rng((seed, number, _STREAM))
        drawn = random.standard_normal(seen.shape, np.float32) * noise
        windows.places[row] = np.where(seen != 0, seen + drawn, seen)
    return windows
