"""Tests of success rates and their intervals."""

import math

import pytest

from cloud.evaluate.success_rate import SuccessRate, pooled


def test_interval_of_49_out_of_50_is_wilsons() -> None:
    low, high = SuccessRate(49, 50).interval()
    assert low == pytest.approx(0.8950, abs=1e-4)
    assert high == pytest.approx(0.9965, abs=1e-4)


def test_no_episodes_say_nothing() -> None:
    assert SuccessRate(0, 0).interval() == (0.0, 1.0)
    assert math.isnan(SuccessRate(0, 0).rate)
    assert SuccessRate(0, 0).minus(SuccessRate(5, 5)) == (-1.0, 1.0)


def test_interval_narrows_with_episodes_and_holds_the_rate() -> None:
    widths = []
    for episodes in (2, 10, 50, 250):
        low, high = SuccessRate(episodes, episodes).interval()
        assert high == pytest.approx(1.0)
        assert high <= 1.0
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)


def test_difference_of_equal_rates_holds_zero() -> None:
    low, high = SuccessRate(245, 250).minus(SuccessRate(245, 250))
    assert low < 0 < high
    assert low == pytest.approx(-high)
    assert low > -0.05


def test_difference_of_newcombes_example() -> None:
    # Newcombe 1998, table II, row (a): 56/70 - 48/80, method 10.
    low, high = SuccessRate(56, 70).minus(SuccessRate(48, 80))
    assert low == pytest.approx(0.0524, abs=1e-4)
    assert high == pytest.approx(0.3339, abs=1e-4)


def test_pooled_adds_up() -> None:
    assert pooled([SuccessRate(1, 2), SuccessRate(3, 3)]) == SuccessRate(4, 5)


@pytest.mark.parametrize(("successes", "episodes"), [(3, 2), (-1, 2), (0, -1)])
def test_impossible_counts_are_refused(successes: int, episodes: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        SuccessRate(successes, episodes)
