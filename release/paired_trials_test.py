"""Exact statistics of pairs, held against tables and against every possible outcome."""

import itertools
import math

import pytest

from release import paired_trials
from release.paired_trials import Pairs


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # Clopper and Pearson's intervals of 95 %, from a table of the beta quantiles
        (0, 10, 0.0, 0.30850),
        (5, 10, 0.18709, 0.81291),
        (9, 10, 0.55498, 0.99747),
        (10, 10, 0.69150, 1.0),
        (47, 50, 0.83452, 0.98746),
    ],
)
def test_interval_of_a_share_is_that_of_clopper_and_pearson(
    successes: int, trials: int, low: float, high: float
) -> None:
    found = paired_trials.proportion_interval(successes, trials)
    assert found == pytest.approx((low, high), abs=2e-5)


@pytest.mark.parametrize(
    ("candidate", "baseline", "p"),
    [(0, 0, 1.0), (5, 0, 0.0625), (6, 0, 0.03125), (1, 9, 0.021484375), (3, 3, 1.0)],
)
def test_p_value_is_that_of_the_binomial_test(
    candidate: int, baseline: int, p: float
) -> None:
    assert Pairs(10, candidate, baseline, 2).p_value() == pytest.approx(p)


@pytest.mark.parametrize(
    ("won", "lost"), [(0.0, 0.1), (0.1, 0.2), (0.3, 0.05), (0.02, 0.0)]
)
def test_interval_of_the_difference_holds_it_in_95_of_100_cases_at_least(
    won: float, lost: float
) -> None:
    count, held = 12, 0.0
    for wins, losses in itertools.product(range(count + 1), repeat=2):
        same = count - wins - losses
        if same < 0:
            continue
        ways = math.comb(count, wins) * math.comb(count - wins, losses)
        chance = ways * won**wins * lost**losses * (1.0 - won - lost) ** same
        low, high = Pairs(same, wins, losses, 0).interval()
        held += chance * (low <= won - lost <= high)
    assert held >= 0.95


def test_no_trial_shows_nothing() -> None:
    none = Pairs(0, 0, 0, 0)
    assert none.interval() == (-1.0, 1.0)
    assert math.isnan(none.difference)
    assert none.p_value() == 1.0


def test_needed_pairs_are_the_fewest_that_show_it() -> None:
    never = Pairs(0, 0, 0, 0)
    needed = paired_trials.pairs_needed(never, 0.15)
    assert needed == 27
    assert Pairs(27, 0, 0, 0).interval()[0] >= -0.15
    assert Pairs(26, 0, 0, 0).interval()[0] < -0.15


def test_needed_pairs_follow_from_how_often_packages_differ() -> None:
    seldom = paired_trials.pairs_needed(Pairs(19, 0, 1, 0), 0.15)
    often = paired_trials.pairs_needed(Pairs(16, 1, 3, 0), 0.15)
    assert seldom is not None and often is not None
    assert 27 < seldom < often


def test_worse_package_needs_no_number_of_pairs() -> None:
    assert paired_trials.pairs_needed(Pairs(10, 0, 5, 5), 0.15) is None
