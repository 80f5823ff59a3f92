"""Mean, deviation and range per channel, bit-identical for any order of work.

Every episode is reduced to its own moments; one process then merges the moments in the
order of episode ids. The number of workers that reduced the episodes therefore does not
affect the result. All arithmetic is float64.

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
    """Moments of T values per channel; the arrays are float64 [C].

    Attributes:
        count: T.
        mean: mean of each channel.
        deviation: sum of squared deviations from the mean.
        minimum: smallest value.
        maximum: largest value.
    """

    count: int
    mean: _FloatArray
    deviation: _FloatArray
    minimum: _FloatArray
    maximum: _FloatArray

    def to_json(self) -> dict[str, object]:
        """Returns a JSON object from which `from_json` restores every bit."""
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


def measure(values: np.ndarray) -> Moments:
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
    """Returns the manifest's entry; `std` is the population standard deviation."""
    return FeatureStatistics(
        count=moments.count,
        mean=tuple(moments.mean.tolist()),
        std=tuple(np.sqrt(moments.deviation / moments.count).tolist()),
        min=tuple(moments.minimum.tolist()),
        max=tuple(moments.maximum.tolist()),
    )


def _merge_two(a: Moments, b: Moments) -> Moments:
    count = a.count + b.count
    difference = b.mean - a.mean
    return Moments(
        count=count,
        mean=a.mean + difference * (b.count / count),
        deviation=a.deviation
        + b.deviation
        + np.square(difference) * (a.count * b.count / count),
        minimum=np.minimum(a.minimum, b.minimum),
        maximum=np.maximum(a.maximum, b.maximum),
    )
