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

    Raises:
        ShapeMismatchError: the three arrays are not vectors of one length.
        NonFiniteError: a value is not finite, or a scale is not positive.
    """

    mean: np.ndarray
    deviation: np.ndarray
    change: np.ndarray

    def __post_init__(self) -> None:
        for name in ("mean", "deviation", "change"):
            value = getattr(self, name)
            if value.ndim != 1 or value.shape != self.mean.shape:
                raise errors.ShapeMismatchError(
                    f"statistics {name}",
                    self.mean.shape,
                    value.shape,
                    "measure all three on the same data",
                )
            if not np.isfinite(value).all():
                raise errors.NonFiniteError(
                    f"statistics {name}: expected finite numbers, got {value};"
                    " look for NaN in the episodes"
                )
        if min(self.deviation.min(), self.change.min()) <= 0:
            raise errors.NonFiniteError(
                "statistics: expected positive scales, got one of zero or below;"
                " use normalisation.measure"
            )


def measure(episodes: Sequence[np.ndarray]) -> Statistics:
    """Statistics over states [t n] of whole episodes, every step counted once.

    Raises:
        ShapeMismatchError: no episode, or episodes of different widths.
        NonFiniteError: a state holds NaN or infinity.
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
    return Statistics(
        mean=states.mean(0).astype(np.float32),
        deviation=_scale(states.std(0), SMALLEST_DEVIATION),
        change=_scale(np.sqrt((changes**2).mean(0)), SMALLEST_DEVIATION / 10),
    )


def _scale(deviation: np.ndarray, smallest: float) -> np.ndarray:
    return np.where(deviation < smallest, 1.0, deviation).astype(np.float32)
