"""Mean, deviation and range per channel, the same to the last bit in any order.

Every episode is reduced to its own moments; the moments are then merged in one
place in the order of episode ids. How many workers reduced the episodes therefore
never shows in the result. All arithmetic is float64.

Source of the merge: Chan, Golub and LeVeque 1979, "Updating Formulae and a
Pairwise Algorithm for Computing Sample Variances".
"""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from rlds.manifest import FeatureStatistics

FEATURES = ("observation/state", "proposed_action")

_FloatArray = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclasses.dataclass(frozen=True)
class Moments:
    """Count, mean, sum of squared deviations and range, each per channel."""

    count: int
    mean: _FloatArray
    deviation: _FloatArray
    minimum: _FloatArray
    maximum: _FloatArray

    def to_json(self) -> dict[str, object]:
        """Returns a JSON object that keeps every bit."""
        return {
            "count": self.count,
            "mean": self.mean.tolist(),
            "deviation": self.deviation.tolist(),
            "minimum": self.minimum.tolist(),
            "maximum": self.maximum.tolist(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> "Moments":
        """Turns what `to_json` returned back into moments."""
        names = ("mean", "deviation", "minimum", "maximum")
        arrays = {name: np.asarray(value[name], np.float64) for name in names}
        return cls(count=int(str(value["count"])), **arrays)


def of(values: np.ndarray) -> Moments:
    """Reduces values of shape [T, C], T at least 1, to the moments per channel."""
    wide = values.astype(np.float64)
    mean = wide.mean(axis=0)
    return Moments(
        count=len(wide),
        mean=mean,
        deviation=np.square(wide - mean).sum(axis=0),
        minimum=wide.min(axis=0),
        maximum=wide.max(axis=0),
    )


def merge(parts: Iterable[Moments]) -> Moments:
    """Merges moments one after another, in the order given.

    Raises:
        ValueError: there are no parts.
    """
    ordered = list(parts)
    if not ordered:
        raise ValueError("expected at least one episode's moments, got none")
    total = ordered[0]
    for part in ordered[1:]:
        total = _merge_two(total, part)
    return total


def describe(moments: Moments) -> FeatureStatistics:
    """Returns the manifest's entry; `std` is that of the population."""
    return FeatureStatistics(
        count=moments.count,
        mean=tuple(moments.mean.tolist()),
        std=tuple(np.sqrt(moments.deviation / moments.count).tolist()),
        min=tuple(moments.minimum.tolist()),
        max=tuple(moments.maximum.tolist()),
    )


def _merge_two(a: Moments, b: Moments) -> Moments:
    count = a.count + b.count
    step = b.mean - a.mean
    return Moments(
        count=count,
        mean=a.mean + step * (b.count / count),
        deviation=a.deviation
        + b.deviation
        + np.square(step) * (a.count * b.count / count),
        minimum=np.minimum(a.minimum, b.minimum),
        maximum=np.maximum(a.maximum, b.maximum),
    )
