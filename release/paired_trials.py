"""Exact statistics of paired trials: two packages, each pair from the same start.

Nothing here is an approximation for many trials: on a desk there are few. The interval
of a difference holds with at least the stated confidence, usually with more.

Sources: Clopper and Pearson 1934, Biometrika 26; McNemar 1947, Psychometrika 12.
"""

import math
from dataclasses import dataclass
from typing import Final

TAIL: Final = 0.025
"""Probability that one end of a 95 % interval is wrong."""
MOST_PAIRS: Final = 2000
"""Pairs beyond which nobody is told that so many are needed."""
_HALVINGS: Final = 60


@dataclass(frozen=True)
class Pairs:
    """Pairs of trials, by how they went.

    Attributes:
        both: both packages succeeded.
        candidate: only the candidate did.
        baseline: only the baseline did.
        neither: none did.
    """

    both: int
    candidate: int
    baseline: int
    neither: int

    @property
    def count(self) -> int:
        """Number of pairs."""
        return self.both + self.candidate + self.baseline + self.neither

    @property
    def difference(self) -> float:
        """Success of the candidate minus that of the baseline; NaN without pairs."""
        if not self.count:
            return math.nan
        return (self.candidate - self.baseline) / self.count

    def interval(self, tail: float = TAIL) -> tuple[float, float]:
        """Returns the interval of the difference; (-1, 1) without pairs.

        Each end is made of one end of two exact intervals, of the share of pairs in
        which only one package succeeded. Each of these has half of the tail, so that
        both hold together with the whole confidence, however they depend on each other.
        """
        won = proportion_interval(self.candidate, self.count, tail / 2)
        lost = proportion_interval(self.baseline, self.count, tail / 2)
        return max(-1.0, won[0] - lost[1]), min(1.0, won[1] - lost[0])

    def p_value(self) -> float:
        """Returns the two-sided p value of the exact McNemar test: both are as good."""
        odd = self.candidate + self.baseline
        fewer = min(self.candidate, self.baseline)
        ways = sum(math.comb(odd, k) for k in range(fewer + 1))
        return min(1.0, 2 * ways / (1 << odd))


def proportion_interval(
    successes: int, trials: int, tail: float = TAIL
) -> tuple[float, float]:
    """Returns the Clopper-Pearson interval of a share; (0, 1) without trials."""
    if not trials:
        return 0.0, 1.0
    failures = trials - successes
    return _lower(successes, trials, tail), 1.0 - _lower(failures, trials, tail)


def pairs_needed(pairs: Pairs, margin: float, tail: float = TAIL) -> int | None:
    """Returns how many pairs would show that the candidate is no worse.

    It is the number with which the lower end of the interval would be above minus the
    margin, if the packages went on to differ as often as in these pairs.

    Args:
        pairs: those so far; without any, packages that never differ are assumed.
        margin: largest loss of success that is allowed, a share of 0 to 1.
        tail: as `Pairs.interval`.

    Returns:
        The number; None if it is more than `MOST_PAIRS`, or if none would.
    """
    count = max(pairs.count, 1)
    won, lost = pairs.candidate / count, pairs.baseline / count

    def shows(total: int) -> bool:
        wins, losses = math.floor(won * total), math.ceil(lost * total)
        rest = max(0, total - wins - losses)
        return Pairs(rest, wins, losses, 0).interval(tail)[0] >= -margin

    if not shows(MOST_PAIRS):
        return None
    low, high = 0, MOST_PAIRS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(middle) else (middle, high)
    return high


def _lower(successes: int, trials: int, tail: float) -> float:
    """The share at which so many successes, or more, have the probability `tail`."""
    if not successes:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _at_least(successes, trials, middle) < tail:
            low = middle
        else:
            high = middle
    return low


def _at_least(successes: int, trials: int, share: float) -> float:
    """Probability of at least so many successes."""
    if share in (0.0, 1.0):
        return float(share == 1.0 or not successes)
    yes, no = math.log(share), math.log1p(-share)
    return math.fsum(
        math.exp(_log_ways(trials, k) + k * yes + (trials - k) * no)
        for k in range(successes, trials + 1)
    )


def _log_ways(total: int, chosen: int) -> float:
    return (
        math.lgamma(total + 1)
        - math.lgamma(chosen + 1)
        - math.lgamma(total - chosen + 1)
    )
