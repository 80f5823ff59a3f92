import dataclasses
import json

import pytest

from edge.control.loop import EpisodeResult
from edge.control.step_times import StepTimes
from edge.robots.simulated_point import SPEC
from edge.run_summary import RunTally, format_table
from release import run_summary
from release.run_summary import ActionRange, RunSummary, Spread, TaskOutcome
from rlds.spec import StopRule


def result(
    success: bool | None,
    steps: int,
    latency_us: int,
    missed: int = 0,
    rule: StopRule | None = None,
) -> EpisodeResult:
    times = StepTimes()
    for _ in range(steps):
        times.latency.add(latency_us * 1000)
        times.work.add(2 * latency_us * 1000)
    return EpisodeResult(
        success=success,
        steps=steps,
        missed_deadlines=missed,
        times=times,
        safety_violations=int(rule is not None),
        clamped_steps=1,
        stop_rule=rule,
    )


def test_summary_adds_up_episodes_per_task_and_overall() -> None:
    tally = RunTally()
    tally.add("reach-v3", result(True, 60, 100))
    tally.add("reach-v3", result(False, 500, 100, missed=2))
    tally.add("push-v3", result(True, 40, 300))
    assert tally.successes("reach-v3") == 1
    found = tally.summary("ab" * 32, seconds=2.0)
    written = json.loads(found.encode())
    assert run_summary.parse(found.encode(), "test").encode() == found.encode()
    assert written.pop("timing_us").keys() == {"latency", "work"}
    latency = written.pop("step_latency_us")
    assert latency == {
        "p50": pytest.approx(100.0, rel=0.004),
        "p99": pytest.approx(300.0, rel=0.004),
    }
    assert written == {
        "schema_version": 1,
        "package_digest": "ab" * 32,
        "tasks": {
            "reach-v3": {
                "episodes": 2,
                "successes": 1,
                "success": 0.5,
                "mean_steps": 280.0,
            },
            "push-v3": {
                "episodes": 1,
                "successes": 1,
                "success": 1.0,
                "mean_steps": 40.0,
            },
        },
        "missed_deadlines": 2,
        "safety_violations": 0,
        "clamped_steps": 3,
        "steps": 600,
        "seconds": 2.0,
    }


def test_first_episode_of_each_ending_can_be_driven_again() -> None:
    tally = RunTally()
    rule = StopRule.WORKSPACE
    tally.add("reach-v3", result(True, 60, 100), seed=5)
    tally.add("reach-v3", result(True, 60, 100), seed=6)
    tally.add("reach-v3", result(False, 500, 100), seed=7)
    tally.add("reach-v3", result(False, 20, 100, rule=rule), seed=8)
    tally.add("push-v3", result(None, 20, 100), seed=9)  # nobody knows how it went
    tally.add("push-v3", result(True, 20, 100))  # a robot that exists has no seed
    found = tally.summary("ab" * 32, seconds=2.0)
    assert found.examples == {"reach-v3": {"success": 5, "failure": 7, "workspace": 8}}
    assert run_summary.parse(found.encode(), "test").examples == found.examples


@pytest.mark.parametrize("acts", ["demonstrates", "corrects"])
def test_summary_of_episodes_in_which_somebody_acted_names_no_package(
    acts: str,
) -> None:
    tally, own = RunTally(), result(True, 60, 100)
    tally.add("reach-v3", own)
    if acts == "demonstrates":
        tally.add("reach-v3", own, demonstrated=True)
    else:
        tally.add("reach-v3", dataclasses.replace(own, interventions=1))
    tally.add("reach-v3", own)
    found = tally.summary("ab" * 32, seconds=1.0)
    assert found.package_digest is None
    assert found.tasks["reach-v3"].successes == 3
    assert run_summary.parse(found.encode(), "test") == found


def test_table_shows_tasks_success_latency_and_missed_deadlines() -> None:
    tally = RunTally()
    tally.add("drawer-close-v3", result(True, 50, 120, missed=1))
    table = format_table(tally.summary(None, seconds=1.0))
    assert "drawer-close-v3" in table
    assert "100.0%" in table
    assert "step latency      p50 120 us, p99 120 us, worst 120 us" in table
    assert "whole step        p50 240 us, p99 240 us, worst 240 us" in table
    assert "jitter" not in table, "no time passes between the steps of this run"
    assert "1 of 50 steps" in table


def test_table_and_file_say_which_stop_rules_ended_how_many_episodes() -> None:
    tally = RunTally()
    for rule in (StopRule.WORKSPACE, None, StopRule.STOP_KEY, StopRule.WORKSPACE):
        tally.add("wipe", result(False, 3, 100, rule=rule))
    summary = tally.summary(None, seconds=1.0)
    assert summary.stop_rules == {"workspace": 2, "stop_key": 1}
    assert "stop rules        3 (workspace 2, stop_key 1)" in format_table(summary)


def test_unknown_success_is_not_counted_as_a_failure() -> None:
    tally = RunTally()
    tally.add("reach-v3", result(None, 50, 120))
    assert tally.successes("reach-v3") is None
    summary = tally.summary(None, seconds=1.0)
    assert summary.tasks["reach-v3"] == TaskOutcome(1, None, mean_steps=50.0)
    assert format_table(summary).splitlines()[:2] == [
        "task      episodes  success  mean steps",
        "reach-v3         1        -        50.0",
    ]


def test_summary_says_what_the_robot_of_each_task_accepts() -> None:
    tally = RunTally()
    for _ in range(2):
        tally.add(SPEC.task, result(True, 5, 100))
        tally.keep_limits(SPEC)
    found = tally.summary(None, seconds=1.0)
    limits = ActionRange(SPEC.action_minimum, SPEC.action_maximum)
    assert found.action_limits == {SPEC.task: limits}


def test_summary_without_an_episode_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        RunTally().summary(None, 1.0)


def test_table_fits_80_columns_with_large_figures() -> None:
    episodes = 12_345_678
    outcome = TaskOutcome(episodes, successes=episodes, mean_steps=80.0)
    task = "dial-turn-v3 with the longest name"
    summary = RunSummary(
        package_digest=None,
        tasks={task: outcome},
        latency_p50_us=123_456.0,
        latency_p99_us=1_234_567.0,
        missed_deadlines=123_456_789,
        safety_violations=1_234_567,
        clamped_steps=0,
        steps=987_654_321,
        seconds=1_234_567.8,
        timing={"jitter": Spread(123_456.0, 1_234_567.0, 12_345_678.0)},
        stop_rules={"non_finite_action": 1_234_567},
    )
    table = format_table(summary)
    assert max(map(len, table.splitlines())) <= 80
    for part in (
        *(
            task,
            "12345678",
            "100.0%",
            "80.0",
            "p50 123456 us, p99 1234567 us, worst 12345678",
        ),
        *("123456789 of 987654321 steps", "1234567 (", "over 1234567.8 s"),
    ):
        assert part in table
