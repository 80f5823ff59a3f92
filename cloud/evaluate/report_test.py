"""Tests of the evaluation report as bytes."""

import dataclasses

import pytest

from cloud.errors import EvaluationReportError
from cloud.evaluate import report
from cloud.evaluate.report import EvaluationReport, TaskResult
from cloud.evaluate.success_rate import SuccessRate

REPORT = EvaluationReport(
    package_digest="a" * 64,
    dataset_manifest="d" * 64,
    environment="metaworld",
    first_seed=10000,
    episodes_per_task=50,
    max_steps=500,
    tasks={"reach-v3": TaskResult(SuccessRate(49, 50), 61.5)},
    held_out_loss=0.125,
    step_latency_p50_us=80.0,
    step_latency_p99_us=120.0,
    steps=3075,
    missed_deadlines=0,
    safety_violations=None,
)


def test_report_survives_its_bytes() -> None:
    assert report.parse(REPORT.encode(), "report") == REPORT


def test_digest_changes_with_one_episode() -> None:
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
def test_other_bytes_are_one_error(raw: bytes) -> None:
    with pytest.raises(EvaluationReportError, match=r"evaluation\.json"):
        report.parse(raw, "evaluation.json")


def test_other_seeds_or_tasks_are_other_trials() -> None:
    assert REPORT.same_trials(dataclasses.replace(REPORT, package_digest="b" * 64))
    assert not REPORT.same_trials(dataclasses.replace(REPORT, first_seed=0))
    assert not REPORT.same_trials(dataclasses.replace(REPORT, tasks={}))


@pytest.mark.parametrize("value", [None, True, float("nan"), float("inf"), "1"])
def test_no_number_is_none(value: object) -> None:
    assert report.finite_or_none(value) is None
