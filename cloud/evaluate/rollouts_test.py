"""Tests of the evaluation with a stand-in for the robot's binary."""

import json
from pathlib import Path

import pytest
from absl import flags

from cloud.errors import (
    ProgramFailedError,
    ProgramMissingError,
    RolloutSummaryError,
)
from cloud.evaluate import rollouts
from cloud.evaluate.report import TaskResult
from cloud.evaluate.rollouts import Rollouts, Trials
from cloud.evaluate.success_rate import SuccessRate
from release.run_summary import Progress, RunSummary, TaskOutcome

TRIALS = Trials("metaworld", ("push-v3", "reach-v3"), 5, 10000, 500)

# Answers as the robot's binary does: every episode succeeds in 60 steps.
STAND_IN = """#!/usr/bin/env python3
import json, sys
flags = dict(a.removeprefix("--").split("=", 1) for a in sys.argv[1:])
episodes = int(flags["episodes"])
tasks = [robot.partition(":")[2] for robot in flags["robot"].split(",")]
row = {
    "episodes": episodes, "successes": episodes, "success": 1.0, "mean_steps": 60.0
}
summary = {
    "schema_version": 1,
    "package_digest": "a" * 64,
    "tasks": {task: row for task in tasks},
    "step_latency_us": {"p50": 80.0, "p99": 100.0 + int(flags["seed"]) % 10},
    "missed_deadlines": 0, "safety_violations": 0, "clamped_steps": 0,
    "steps": 60 * episodes * len(tasks), "seconds": 1.0,
}
open(flags["summary_json"], "w").write(json.dumps(summary))
"""


def put_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    program = tmp_path / "runfiles" / "edge" / "run"
    program.parent.mkdir(parents=True)
    program.write_text(text)
    program.chmod(0o755)
    monkeypatch.setattr("cloud.programs.root", lambda: tmp_path / "runfiles")


def run(tmp_path: Path) -> Rollouts:
    return rollouts.roll_out(TRIALS, ["--policy=expert"], 2, tmp_path / "work")


def test_requested_step_form_is_passed_to_the_robots_binary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = 'open(flags["summary_json"] + ".step", "w").write(flags.get("step", "-"))\n'
    put_program(tmp_path, monkeypatch, STAND_IN + keep)
    for step, passed in ((None, "-"), ("f32", "f32")):
        work = tmp_path / passed
        rollouts.evaluate_package(
            TRIALS, tmp_path, "a" * 64, "d" * 64, None, 1, work, step=step
        )
        assert (work / "summary-0.json.step").read_text() == passed


def test_task_with_a_comma_is_one_robot_of_the_program() -> None:
    tasks = ('pick up the cube, s\'il te plaît "now"', "reach-v3")
    robots = Trials("metaworld", tasks, 1, 0, 1).robots
    parsed = flags.FlagValues()  # type: ignore[no-untyped-call]  # absl has no types
    flags.DEFINE_list("robot", None, "robots", flag_values=parsed)
    parsed(["run", f"--robot={robots}"])
    assert parsed.robot == [f"metaworld:{task}" for task in tasks]


def test_workers_divide_the_seeds_and_skip_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_program(tmp_path, monkeypatch, STAND_IN)
    found = run(tmp_path)
    expected = TaskResult(SuccessRate(5, 5), 60.0)
    assert found.tasks == {"push-v3": expected, "reach-v3": expected}
    assert found.steps == 600
    assert found.step_latency_p50_us == pytest.approx(80.0)
    assert found.step_latency_p99_us == pytest.approx(102.0)


def test_shares_cover_every_seed_once() -> None:
    for workers in (1, 2, 3, 5):
        seeds: list[int] = []
        for worker in range(workers):
            first, count = TRIALS.share(worker, workers)
            seeds += range(first, first + count)
        assert seeds == list(range(10000, 10005))


def test_error_of_a_failing_program_states_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_program(
        tmp_path, monkeypatch, "#!/bin/sh\necho 'run: no such robot' >&2\nexit 1"
    )
    with pytest.raises(ProgramFailedError, match="got 1: run: no such robot"):
        run(tmp_path)


def test_absent_program_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.programs.root", lambda: tmp_path)
    with pytest.raises(ProgramMissingError, match="edge/run"):
        run(tmp_path)


def test_program_that_writes_no_summary_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_program(tmp_path, monkeypatch, "#!/bin/sh\nexit 0\n")
    with pytest.raises(RolloutSummaryError, match="expected a summary"):
        run(tmp_path)


def test_summary_that_lacks_episodes_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer = STAND_IN.replace('"episodes": episodes,', '"episodes": 1,').replace(
        '"successes": episodes,', '"successes": 1,'
    )
    put_program(tmp_path, monkeypatch, fewer)
    with pytest.raises(RolloutSummaryError, match="expected episodes per task"):
        run(tmp_path)


def test_summary_of_another_package_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_program(tmp_path, monkeypatch, STAND_IN)
    with pytest.raises(RolloutSummaryError, match="expected a run of package b"):
        rollouts.evaluate_package(
            TRIALS, tmp_path, "b" * 64, "d" * 64, 0.1, 2, tmp_path / "work"
        )


def test_report_of_a_package_holds_the_measured_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_program(tmp_path, monkeypatch, STAND_IN)
    report = rollouts.evaluate_package(
        TRIALS, tmp_path, "a" * 64, "d" * 64, 0.1, 2, tmp_path / "work"
    )
    assert report.success == SuccessRate(10, 10)
    assert report.held_out_loss == 0.1
    assert report.safety_violations == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"tasks": {"a": {}}, "steps": 1}'])
def test_malformed_summary_raises_rollout_summary_error(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "summary.json"
    path.write_text(text)
    with pytest.raises(RolloutSummaryError, match=r"summary\.json"):
        rollouts.read_summary(path)


def summary_of(successes: int | None, **changes: object) -> bytes:
    """A worker's summary of one episode, as the robot's binary writes it."""
    outcome = TaskOutcome(episodes=1, successes=successes, mean_steps=500.0)
    found = RunSummary(
        package_digest=None,
        tasks={"reach-v3": outcome},
        latency_p50_us=80.0,
        latency_p99_us=100.0,
        missed_deadlines=2,
        safety_violations=1,
        clamped_steps=0,
        steps=500,
        seconds=1.0,
    )
    return json.dumps(json.loads(found.encode()) | changes).encode()


def test_workers_counts_add_up(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_bytes(summary_of(successes=0))
    part = rollouts.read_summary(path)
    whole = rollouts.combine([part, part])
    assert whole.tasks == {"reach-v3": TaskResult(SuccessRate(0, 2), 500.0)}
    assert whole.steps == 1000
    assert whole.missed_deadlines == 4
    assert whole.safety_violations == 2


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        (summary_of(0, schema_version=2), "schema_version to be 1"),
        (summary_of(0, missed_deadlines=None), "missed_deadlines to be an integer"),
        (summary_of(None), "how many episodes of reach-v3 succeeded, got null"),
    ],
)
def test_summary_that_lacks_a_metric_or_is_of_another_version_is_an_error(
    tmp_path: Path, raw: bytes, match: str
) -> None:
    path = tmp_path / "summary.json"
    path.write_bytes(raw)
    with pytest.raises(RolloutSummaryError, match=match):
        rollouts.read_summary(path)


# Reports that all but one episode are done, and ends only when the test has seen it.
WAITING = """
import os, time
with open(flags["progress_json"], "ab") as file:
    file.write(LINE)
while not os.path.exists(flags["summary_json"] + ".seen"):
    time.sleep(0.01)
"""


def test_progress_of_all_workers_is_reported_while_they_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Progress(episodes_done=3, episodes=4).encode()
    waiting = WAITING.replace("LINE", repr(line))
    put_program(tmp_path, monkeypatch, STAND_IN + waiting)
    work = tmp_path / "work"
    reported = []

    def on_progress(done: int) -> None:
        reported.append(done)
        if done == 6:
            for worker in (0, 1):
                (work / f"summary-{worker}.json.seen").touch()

    rollouts.roll_out(TRIALS, ["--policy=expert"], 2, work, on_progress)
    assert reported[-2:] == [6, TRIALS.episodes]


def test_progress_that_is_not_of_the_robots_binary_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = WAITING.replace("LINE", repr(b"3/4 episodes\n"))
    put_program(tmp_path, monkeypatch, STAND_IN + waiting)
    with pytest.raises(
        RolloutSummaryError, match=r"progress-\d\.jsonl: .* progress of"
    ):
        run(tmp_path)
