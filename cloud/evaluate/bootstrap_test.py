"""Tests of intervals of means: what they cover, and that they never change."""

import math

import numpy as np
import pytest

from cloud.evaluate import bootstrap


@pytest.mark.parametrize(("episodes", "least"), [(8, 0.9), (20, 0.9), (60, 0.91)])
def test_interval_of_skewed_errors_holds_their_mean(
    episodes: int, least: float
) -> None:
    random = np.random.default_rng(1)
    truth, tries = math.exp(0.5 * 0.6**2), 400
    held = 0
    for _ in range(tries):
        found = bootstrap.mean(random.lognormal(0.0, 0.6, episodes).tolist())
        held += found.low <= truth <= found.high
    assert held / tries >= least


def test_paired_differences_give_a_narrower_interval_than_their_parts() -> None:
    random = np.random.default_rng(2)
    hard = random.lognormal(0.0, 1.0, 40)
    ours, theirs = hard + random.normal(0, 0.05, 40), hard + 0.1
    paired = bootstrap.mean((ours - theirs).tolist())
    alone = bootstrap.mean(ours.tolist())
    assert paired.high < 0.0
    assert paired.high - paired.low < 0.2 * (alone.high - alone.low)


def test_too_few_episodes_have_no_interval() -> None:
    found = bootstrap.mean([0.1] * (bootstrap.FEWEST - 1))
    assert found.value == pytest.approx(0.1)
    assert found.episodes == bootstrap.FEWEST - 1
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert found.text() == "0.1000 (too few episodes for an interval)"
    assert math.isnan(bootstrap.mean([]).value)
    assert bootstrap.mean([]).text() == "-"


def test_equal_values_have_no_spread_and_one_odd_one_leaves_the_mean_open() -> None:
    assert bootstrap.mean([0.5] * 8) == bootstrap.Mean(0.5, 0.5, 0.5, 8)
    found = bootstrap.mean([0.0] * 19 + [1.0])
    assert found.low < 0.05
    assert found.high == math.inf, "a third of the resamples does not hold it"


def test_same_values_give_the_same_interval_and_these_numbers() -> None:
    values = [k / 10 for k in range(12)]
    found = bootstrap.mean(values)
    assert found == bootstrap.mean(values)
    assert found.text() == "0.5500 (0.3238 to 0.7770)"
