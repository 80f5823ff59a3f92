"""Success rates with confidence intervals: successes out of episodes.

Intervals are score intervals. They stay inside 0..1 and are valid for few episodes and
for rates near 1, where the interval of the normal approximation has no width.
"""

from __future__ import annotations

import dataclasses
import math

Z_95 = 1.959963984540054
"""Standard normal quantile of a two-sided 95 % interval."""


@dataclasses.dataclass(frozen=True)
class SuccessRate:
    """Successes out of a number of independent episodes."""

    successes: int
    episodes: int

    def __post_init__(self) -> None:
        if self.episodes < 0 or not 0 <= self.successes <= self.episodes:
            raise ValueError(
                f"expected 0 <= successes <= episodes, got {self.successes} of "
                f"{self.episodes}"
            )

    @property
    def rate(self) -> float:
        """Share of episodes that succeeded; NaN without episodes."""
        return self.successes / self.episodes if self.episodes else math.nan

    def interval(self, z: float = Z_95) -> tuple[float, float]:
        """Returns the Wilson score interval of the rate; (0, 1) without episodes.

        Source: Wilson 1927, "Probable inference", JASA 22(158).
        """
        n = self.episodes
        if n == 0:
            return 0.0, 1.0
        p = self.successes / n
        scale = 1.0 / (1.0 + z * z / n)
        centre = scale * (p + z * z / (2 * n))
        half = scale * z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, centre - half), min(1.0, centre + half)

    def subtract(self, other: SuccessRate, z: float = Z_95) -> tuple[float, float]:
        """Returns the interval of this rate minus another, sampled independently.

        Source: Newcombe 1998, Statistics in Medicine 17(8), method 10.
        """
        if self.episodes == 0 or other.episodes == 0:
            return -1.0, 1.0
        low, high = self.interval(z)
        other_low, other_high = other.interval(z)
        difference = self.rate - other.rate
        down = math.hypot(self.rate - low, other_high - other.rate)
        up = math.hypot(high - self.rate, other.rate - other_low)
        return max(-1.0, difference - down), min(1.0, difference + up)

    def __add__(self, other: SuccessRate) -> SuccessRate:
        return SuccessRate(
            self.successes + other.successes, self.episodes + other.episodes
        )


def pool(rates: list[SuccessRate]) -> SuccessRate:
    """Adds up the episodes of all rates."""
    return sum(rates, start=SuccessRate(0, 0))


def percent_text(success: SuccessRate | None) -> str:
    """Formats a rate without its counts, such as `98.0 %`."""
    if success is None or not success.episodes:
        return "-"
    return f"{100 * success.rate:.1f} %"


def interval_text(success: SuccessRate) -> str:
    """Formats the 95 % interval of a rate, such as `89.5 to 99.6 %`."""
    low, high = success.interval()
    return f"{100 * low:.1f} to {100 * high:.1f} %"
