"""Tests of the counts of a recording, for robots that know success and that do not."""

import pytest

from edge import record_summary
from edge.control.loop import EpisodeResult
from edge.control.step_times import StepTimes
from edge.record_summary import RecordSummary


def result(success: bool | None) -> EpisodeResult:
    return EpisodeResult(
        steps=10,
        success=success,
        missed_deadlines=0,
        safety_violations=0,
        clamped_steps=0,
        times=StepTimes(),
    )


def summary(*outcomes: bool | None) -> RecordSummary:
    counted = RecordSummary()
    for outcome in outcomes:
        counted.count("wipe", result(outcome))
    return counted


def test_success_that_is_known_is_counted() -> None:
    found = summary(True, False, True, True)
    assert found.tasks["wipe"].success == 0.75
    assert "wipe         4      75%     40" in found.table()


@pytest.mark.parametrize("outcomes", [(None,), (None, True), (False, None)])
def test_success_that_is_not_known_is_no_failure(
    outcomes: tuple[bool | None, ...],
) -> None:
    found = summary(*outcomes)
    counts = found.tasks["wipe"].as_json()
    assert (counts["successes"], counts["success"]) == (None, None)
    assert counts["episodes"] == len(outcomes)
    assert "not known" in found.table() and "%" not in found.table()


def test_an_episode_is_told_as_what_is_known_of_it() -> None:
    told = [record_summary.success_text(known) for known in (True, False, None)]
    assert told == ["success", "no success", "success not known"]
