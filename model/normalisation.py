"""Zero mean and unit variance per channel, measured once on the training data."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from model import errors

SMALLEST_DEVIATION = 1e-3
"""Channels that vary less count as constant; they are divided by one, so that a
sensor that wakes up after training does not reach the model enlarged."""

LARGEST_INPUT = 8.0
"""Normalised inputs are cut here, in standard deviations."""


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Scales that make observations and their changes dimensionless.

    Attributes:
        mean: f32 [n], mean of the observation state, in the robot's units.
        deviation: f32 [n], standard deviation, 1 for constant channels.
        change: f32 [n], root mean square change over one step, with the same rule.
        audio_mean: f32 [u], mean of the log-mel channels, None where not measured.
        audio_deviation: f32 [u], standard deviation of the same, by the same rule.

    Raises:
        ShapeMismatchError: arrays that belong together are not vectors of one length.
        NonFiniteError: a value is not finite, or a scale is not positive.
    """

    mean: np.ndarray
    deviation: np.ndarray
    change: np.ndarray
    audio_mean: np.ndarray | None = None
    audio_deviation: np.ndarray | None = None

    def __post_init__(self) -> None:
        self._check(("mean", "deviation", "change"))
        if self.audio_mean is not None or self.audio_deviation is not None:
            self._check(("audio_mean", "audio_deviation"))

    def _check(self, names: tuple[str, ...]) -> None:
        """Vectors of one length, the first a mean and the others scales."""
        first = getattr(self, names[0])
        for name in names:
            value = getattr(self, name)
            shapes = [np.shape(x) for x in (first, value)]
            if first is None or value is None or shapes[1] != (first.size,):
                raise errors.ShapeMismatchError(
                    f"statistics {name}",
                    *shapes,
                    f"measure {', '.join(names)} on the same data",
                )
            if not np.isfinite(value).all():
                raise errors.NonFiniteError(
                    f"statistics {name}: expected finite numbers, got {value};"
                    " look for NaN in the episodes"
                )
            if name != names[0] and value.min() <= 0:
                raise errors.NonFiniteError(
                    f"statistics {name}: expected positive scales, got one of zero or"
                    " below; use normalisation.measure"
                )


def measure(
    episodes: Sequence[np.ndarray], sounds: Sequence[np.ndarray] = ()
) -> Statistics:
    """Statistics over whole episodes, every step counted once.

    Shapes: episodes, states [t n] of each; sounds, log-mel channels [t u] of each,
    of which steps without sound (all zero) do not count.

    Raises:
        ShapeMismatchError: no episode, or episodes of different widths.
        NonFiniteError: a state or a sound holds NaN or infinity.
    """
    if not episodes or len({x.shape[1:] for x in episodes}) != 1:
        raise errors.ShapeMismatchError(
            "episodes",
            "[t n] with one n",
            sorted({x.shape for x in episodes}),
            "give at least one episode, all of the same robot",
        )
    states = np.concatenate(episodes).astype(np.float64)
    changes = np.concatenate([np.diff(x.astype(np.float64), axis=0) for x in episodes])
    audio_mean, audio_deviation = _measure_sound(sounds)
    return Statistics(
        mean=states.mean(0).astype(np.float32),
        deviation=_scale(states.std(0), SMALLEST_DEVIATION),
        change=_scale(np.sqrt((changes**2).mean(0)), SMALLEST_DEVIATION / 10),
        audio_mean=audio_mean,
        audio_deviation=audio_deviation,
    )


def _measure_sound(
    sounds: Sequence[np.ndarray],
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Mean and deviation of the steps that have sound; None where none has."""
    heard = [x[np.any(x != 0, axis=-1)].astype(np.float64) for x in sounds]
    if not sum(map(len, heard)):
        return None, None
    joined = np.concatenate(heard)
    return joined.mean(0).astype(np.float32), _scale(joined.std(0), SMALLEST_DEVIATION)


def _scale(deviation: np.ndarray, smallest: float) -> np.ndarray:
    return np.where(deviation < smallest, 1.0, deviation).astype(np.float32)
