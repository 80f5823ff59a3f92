"""Intervals of means over episodes, without assuming how the values are spread.

Errors of episodes are skewed: a few are far worse than the rest. The studentised
bootstrap follows that. Resampling uses fixed seeds, so the same values give the same
interval on every machine and in every report.

Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 12.5.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

FEWEST = 8
"""Episodes below which no interval is given: of fewer, one odd episode decides alone.
With 8 to 20 episodes of log-normal errors (sigma 0.6) the 95 % interval held the mean
in 94 % of 1,000 cases; `bootstrap_test.py` does it again with fewer."""

_RESAMPLES = 4000
_CHUNK = 2_000_000  # values that are drawn at once
_SEED = 0
_TAIL = 0.025


@dataclasses.dataclass(frozen=True)
class Mean:
    """A mean over episodes with its 95 % interval.

    Attributes:
        value: the mean; NaN without episodes.
        low: lower end of the interval; minus infinity with fewer than `FEWEST`.
        high: upper end of the interval; infinity with fewer than `FEWEST`.
        episodes: number of episodes.
    """

    value: float
    low: float
    high: float
    episodes: int

    def text(self, scale: float = 1.0, digits: int = 4) -> str:
        """Formats the mean with its interval, such as `0.0123 (0.0101 to 0.0150)`."""
        if not self.episodes:
            return "-"
        shown = f"{scale * self.value:.{digits}f}"
        if self.episodes < FEWEST:
            return f"{shown} (too few episodes for an interval)"
        low, high = scale * self.low, scale * self.high
        return f"{shown} ({low:.{digits}f} to {high:.{digits}f})"


def mean(values: Sequence[float]) -> Mean:
    """Returns the mean of values of independent episodes, with its interval.

    Args:
        values: one finite number for each episode.
    """
    count = len(values)
    if not count:
        return Mean(math.nan, -math.inf, math.inf, 0)
    found = np.asarray(values, np.float64)
    centre = float(found.mean())
    if count < FEWEST:
        return Mean(centre, -math.inf, math.inf, count)
    error = float(found.std(ddof=1)) / math.sqrt(count)
    if error == 0.0:
        return Mean(centre, centre, centre, count)
    tails = [_TAIL, 1.0 - _TAIL]
    # One of the distances themselves: between two infinite ones there is no number.
    low, high = np.quantile(_studentised(found, centre), tails, method="inverted_cdf")
    return Mean(
        centre, centre - float(high) * error, centre - float(low) * error, count
    )


def _studentised(values: np.ndarray, centre: float) -> np.ndarray:
    """Distances of resampled means from the mean, in their own standard errors.

    Shapes: values [n] to [_RESAMPLES]; a resample of one value alone has no standard
    error, so that its mean may be any distance away.
    """
    count = len(values)
    random = np.random.Generator(np.random.PCG64(_SEED))
    parts = []
    for begin in range(0, _RESAMPLES, rows := max(1, _CHUNK // count)):
        size = min(rows, _RESAMPLES - begin)
        # Of `random`, whose stream numpy keeps the same in all its versions.
        index = (random.random((size, count)) * count).astype(np.intp)
        drawn = values[index]
        errors = drawn.std(axis=1, ddof=1) / math.sqrt(count)
        distances = drawn.mean(axis=1) - centre
        away = np.where(distances == 0.0, 0.0, np.copysign(np.inf, distances))
        shares = np.divide(distances, errors, out=away, where=errors > 0.0)
        parts.append(shares)
    return np.concatenate(parts)
