"""What control reports of an episode is the package's if the package alone drove."""

from typing import Any, NoReturn

from edge.control.loop import EpisodeResult
from edge.control.policy_source import Driver
from edge.control.step_times import StepTimes
from edge.ota import health
from edge.ota.watch import Counts
from edge.processes.tally import Tally, describe_health
from rlds.spec import StopRule

DIGEST = "ab" * 32


def never(*_: object) -> NoReturn:
    raise AssertionError("a report needs no policy and no limits")


DRIVER = Driver(DIGEST, None, "nightly", f"policy:{DIGEST[:12]}", never, never)


def result(**changes: Any) -> EpisodeResult:
    fields: dict[str, Any] = {
        "success": True,
        "steps": 40,
        "missed_deadlines": 1,
        "times": StepTimes(),
        "safety_violations": 0,
        "clamped_steps": 0,
    }
    return EpisodeResult(**(fields | changes))


def stopped_by(rule: StopRule, **changes: Any) -> EpisodeResult:
    return result(success=False, safety_violations=1, stop_rule=rule, **changes)


def test_episodes_that_nobody_can_judge_are_no_failures() -> None:
    tally = Tally()
    for one in (
        result(),
        result(success=False),
        result(success=None),
        result(success=None, stopped=True),  # which is no episode
    ):
        tally.add(one)
    told = tally.describe()
    assert (told["episodes"], told["successes"], told["unknown"]) == (3, 1, 1)


def test_updater_reads_what_control_tells() -> None:
    report = health.parse_report(describe_health(DRIVER, result()))
    assert report == health.EpisodeReport(DIGEST, None, True, 40, 1, 0)


def test_stop_rule_is_the_fault_of_the_package_and_a_persons_stop_key_is_none() -> None:
    fault = describe_health(DRIVER, stopped_by(StopRule.WORKSPACE))
    assert (fault["stop_rules"], fault["success"]) == (1, False)
    stop = describe_health(DRIVER, stopped_by(StopRule.STOP_KEY))
    assert (stop["stop_rules"], stop["success"], stop["stopped"]) == (0, None, True)
    counts = health.Health(DIGEST).add(health.parse_report(stop)).counts
    assert counts == Counts(by_people=1)
    ended = describe_health(DRIVER, result(stopped=True, success=None))
    assert (ended["stopped"], ended["stop_key"]) == (True, False)


def test_end_of_an_episode_that_a_person_corrected_is_not_the_packages() -> None:
    for one in (
        result(interventions=3),
        result(success=False, interventions=3),
        stopped_by(StopRule.WORKSPACE, interventions=3),
    ):
        told = describe_health(DRIVER, one)
        assert (told["stop_rules"], told["success"]) == (0, None)
        assert told["steps"] == 40


def test_sums_count_stop_rules_without_the_stop_key() -> None:
    tally = Tally()
    for one in (
        result(),
        stopped_by(StopRule.STOP_KEY),
        stopped_by(StopRule.LATE_IN_A_ROW),
        result(success=None, stopped=True),
    ):
        tally.add(one)
    told = tally.describe()
    assert (told["episodes"], told["successes"], told["violations"]) == (3, 1, 1)
    assert told["last_rule"] == "late_in_a_row"
    assert (told["steps"], told["missed"]) == (160, 4)
