"""Tests of the results of an evaluation: rates with their intervals, and the report."""

import dataclasses
import math

import pytest

from cloud.errors import EvaluationReportError
from cloud.evaluate import report
from cloud.evaluate.report import TaskResult
from cloud.evaluate.success_rate import SuccessRate, pool
from cloud.testing import records

REPORT = records.evaluation_report(
    tasks={"reach-v3": TaskResult(SuccessRate(49, 50), 61.5)},
    held_out_loss=0.125,
    safety_violations=None,
)


def test_encoded_report_is_parsed_to_the_same_report() -> None:
    assert report.parse(REPORT.encode(), "report") == REPORT


def test_one_episode_changes_the_digest() -> None:
    worse = {"reach-v3": TaskResult(SuccessRate(48, 50), 61.5)}
    assert dataclasses.replace(REPORT, tasks=worse).digest != REPORT.digest


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        REPORT.encode().replace(b'"schema_version":1', b'"schema_version":2'),
        REPORT.encode().replace(b'"successes":49', b'"successes":51'),
        REPORT.encode().replace(b'"successes":49', b'"successes":true'),
        REPORT.encode()[:-1],
    ],
)
def test_malformed_report_raises_evaluation_report_error(raw: bytes) -> None:
    with pytest.raises(EvaluationReportError, match=r"evaluation\.json"):
        report.parse(raw, "evaluation.json")


def test_reports_of_other_seeds_or_tasks_are_of_other_trials() -> None:
    assert REPORT.same_trials(dataclasses.replace(REPORT, package_digest="b" * 64))
    assert not REPORT.same_trials(dataclasses.replace(REPORT, first_seed=0))
    assert not REPORT.same_trials(dataclasses.replace(REPORT, tasks={}))


@pytest.mark.parametrize("value", [None, True, float("nan"), float("inf"), "1"])
def test_anything_but_a_finite_number_becomes_none(value: object) -> None:
    assert report.finite_or_none(value) is None


def test_interval_of_49_out_of_50_is_wilsons() -> None:
    low, high = SuccessRate(49, 50).interval()
    assert low == pytest.approx(0.8950, abs=1e-4)
    assert high == pytest.approx(0.9965, abs=1e-4)


def test_rate_without_episodes_is_unknown() -> None:
    assert SuccessRate(0, 0).interval() == (0.0, 1.0)
    assert math.isnan(SuccessRate(0, 0).rate)
    assert SuccessRate(0, 0).subtract(SuccessRate(5, 5)) == (-1.0, 1.0)


def test_interval_narrows_with_episodes_and_contains_the_rate() -> None:
    widths = []
    for episodes in (2, 10, 50, 250):
        low, high = SuccessRate(episodes, episodes).interval()
        assert high == pytest.approx(1.0)
        assert high <= 1.0
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)


def test_difference_of_equal_rates_contains_zero() -> None:
    low, high = SuccessRate(245, 250).subtract(SuccessRate(245, 250))
    assert low < 0 < high
    assert low == pytest.approx(-high)
    assert low > -0.05


def test_difference_of_newcombes_example() -> None:
    # Newcombe 1998, table II, row (a): 56/70 - 48/80, method 10.
    low, high = SuccessRate(56, 70).subtract(SuccessRate(48, 80))
    assert low == pytest.approx(0.0524, abs=1e-4)
    assert high == pytest.approx(0.3339, abs=1e-4)


def test_pool_adds_up_episodes() -> None:
    assert pool([SuccessRate(1, 2), SuccessRate(3, 3)]) == SuccessRate(4, 5)


@pytest.mark.parametrize(("successes", "episodes"), [(3, 2), (-1, 2), (0, -1)])
def test_impossible_counts_are_refused(successes: int, episodes: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        SuccessRate(successes, episodes)
