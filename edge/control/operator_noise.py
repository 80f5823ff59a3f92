"""Noise on an operator's hand: demonstrations that also show how to recover.

The noise changes what is executed; what is recorded as proposed stays clean, so that
an imitator sees off-course states with the right answer to them.
"""

from typing import Any

import numpy as np
import numpy.typing as npt


class GaussianNoise:
    """Adds independent normal noise to each action component; see `Disturbance`."""

    def __init__(self, sigma: float) -> None:
        """Fixes the noise's standard deviation, in units of the action.

        Raises:
            ValueError: `sigma` is negative.
        """
        if sigma < 0:
            raise ValueError(f"noise needs a standard deviation >= 0, got {sigma}")
        self._sigma = sigma
        self._generator = np.random.default_rng(0)

    def reset(self, seed: int) -> None:
        """See `Disturbance.reset`."""
        self._generator = np.random.default_rng(seed)

    def disturb(self, action: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """See `Disturbance.disturb`."""
        noise = self._generator.normal(0.0, self._sigma, size=action.shape)
        disturbed: npt.NDArray[Any] = action + noise
        return disturbed
