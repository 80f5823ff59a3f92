"""Takes senses away in a part of some windows, as cables and drivers do.

A camera that falls out, or holds its last picture, happens on a robot and hardly in its
demonstrations. A model that never saw that relies on a picture that may be a minute
old. So in a share of the windows each camera, and the sound, is silent for a while, or
stands still: zeros, or what it last gave. Which, and when, follows from the seed and
the window's number alone, so that a resumed run and one of more processes take the same
away.
"""

import numpy as np

from cloud.dataset.step_stream import StepStream

_FROZEN = 0.5  # of what is taken away: it stands still instead of being silent


def drop(
    windows: StepStream, share: float, cameras: int, seed: int, numbers: np.ndarray
) -> StepStream:
    """Returns windows [b t ...] in which senses are silent or stand still for a while.

    Args:
        windows: a batch of its own; its places and sound are changed.
        share: probability that one sense of a window is taken away for a while.
        cameras: q, cameras whose frames stand beside each other.
        seed: decides what is taken away.
        numbers: i64 [b], the number of each window, counted over the whole training.
    """
    places, sound = windows.places, windows.audio_mel
    if not share or (places is None and sound is None):
        return windows
    length = windows.starts.shape[1]
    for row, number in enumerate(numbers.tolist()):
        random = np.random.default_rng((seed, number))
        for camera in range(cameras):
            span = _choose(random, share, length)
            if places is not None and span is not None:
                width = places.shape[-1] // cameras
                columns = slice(camera * width, (camera + 1) * width)
                _silence(places[row, :, columns], *span)
        span = _choose(random, share, length)
        if sound is not None and span is not None:
            _silence(sound[row], *span)
    return windows


def _choose(
    random: np.random.Generator, share: float, length: int
) -> tuple[int, int, bool] | None:
    """Begin and end of a span, and whether the sense stands still there; or None."""
    drawn, begin, steps, kind = random.random(4)
    if drawn >= share:
        return None
    first = int(begin * length)
    return first, first + 1 + int(steps * length), kind < _FROZEN


def _silence(values: np.ndarray, begin: int, end: int, stands: bool) -> None:
    values[begin:end] = values[begin].copy() if stands else 0
