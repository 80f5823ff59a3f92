"""Closed-loop evaluation: the robot's own binary drives the package's step.

Each worker process runs every task on its own share of the seeds, so that the
shares are equal whatever the tasks cost. The summaries are added up here.
"""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cloud import programs
from cloud.errors import RolloutSummaryError
from cloud.evaluate.report import EvaluationReport, TaskResult, finite_or_none
from cloud.evaluate.success_rate import SuccessRate

RUN_PROGRAM = "edge/run"
SUMMARY_LIMIT_BYTES = 16 * 1024 * 1024
POLL_PERIOD_S = 0.1

OnProgress = Callable[[int], None]
"""Called with the number of episodes that have been run, now and then."""


_Worker = tuple[subprocess.Popen[bytes], Path, Path]
"""A worker's process, log and summary."""


@dataclasses.dataclass(frozen=True)
class Trials:
    """Which episodes an evaluation runs."""

    environment: str
    """Kind of simulated robot, such as `metaworld`."""
    tasks: tuple[str, ...]
    episodes_per_task: int
    first_seed: int
    """Episode k of each task starts from seed `first_seed + k`."""
    max_steps: int

    @property
    def robots(self) -> str:
        """The robots as the robot's binary takes them."""
        return ",".join(f"{self.environment}:{task}" for task in self.tasks)

    def made(self, report: EvaluationReport, dataset_manifest: str) -> bool:
        """Whether a report comes from these trials and this dataset."""
        return (
            set(report.tasks) == set(self.tasks)
            and report.environment == self.environment
            and report.first_seed == self.first_seed
            and report.episodes_per_task == self.episodes_per_task
            and report.max_steps == self.max_steps
            and report.dataset_manifest == dataset_manifest
        )

    @property
    def episodes(self) -> int:
        """Episodes of all tasks."""
        return self.episodes_per_task * len(self.tasks)

    def share(self, worker: int, workers: int) -> tuple[int, int]:
        """First seed and number of episodes per task of one worker."""
        first = self.episodes_per_task * worker // workers
        end = self.episodes_per_task * (worker + 1) // workers
        return self.first_seed + first, end - first


@dataclasses.dataclass(frozen=True)
class Rollouts:
    """What the robot's binary saw, all workers together."""

    package_digest: str | None
    tasks: Mapping[str, TaskResult]
    step_latency_p50_us: float | None
    step_latency_p99_us: float | None
    steps: int
    missed_deadlines: int | None
    safety_violations: int | None


def roll_out(
    trials: Trials,
    policy: Sequence[str],
    workers: int,
    folder: Path,
    on_progress: OnProgress = lambda done: None,
) -> Rollouts:
    """Runs the trials with `//edge:run` and adds up what it reports.

    Args:
        trials: the episodes to run.
        policy: flags that say who drives: `--candidate=DIR` or `--policy=expert`.
        workers: processes at once.
        folder: where summaries, logs and recorded episodes go, one name each.
        on_progress: called when more episodes have been run.

    Raises:
        ProgramMissingError: `//edge:run` is not among this program's files.
        ProgramFailedError: a worker failed.
        RolloutSummaryError: a worker's summary is not what was asked for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    workers = max(1, min(workers, trials.episodes_per_task))
    running: list[_Worker] = []
    try:
        for worker in range(workers):
            summary = folder / f"summary-{worker}.json"
            summary.unlink(missing_ok=True)
            log = folder / f"run-{worker}.log"
            arguments = _arguments(trials, worker, workers, folder, summary)
            process = programs.start(RUN_PROGRAM, [*policy, *arguments], log)
            running.append((process, log, summary))
        _wait(trials, running, on_progress)
    finally:
        for process, _, _ in running:
            if process.poll() is None:
                process.kill()
            process.wait()
    parts = [read_summary(summary) for _, _, summary in running]
    combined = combine(parts)
    _require_all(trials, combined, folder)
    return combined


def _wait(trials: Trials, running: Sequence[_Worker], on_progress: OnProgress) -> None:
    """Waits for all workers, or for the first that fails."""
    shown = 0
    while any(process.poll() is None for process, _, _ in running):
        time.sleep(POLL_PERIOD_S)
        for process, log, _ in running:
            if process.poll():
                programs.finish(process, RUN_PROGRAM, log)
        done = sum(_episodes_done(programs.last_line(log)) for _, log, _ in running)
        if done > shown:
            shown = done
            on_progress(done)
    for process, log, _ in running:
        programs.finish(process, RUN_PROGRAM, log)
    on_progress(trials.episodes)


def _episodes_done(line: str) -> int:
    """The count in a progress line of the robot's binary, such as `12/125 episodes`."""
    found = re.search(r"\b(\d+)/\d+ episodes", line)
    return int(found[1]) if found else 0


def _arguments(
    trials: Trials, worker: int, workers: int, folder: Path, summary: Path
) -> list[str]:
    first_seed, episodes = trials.share(worker, workers)
    return [
        f"--robot={trials.robots}",
        f"--episodes={episodes}",
        f"--seed={first_seed}",
        f"--max_steps={trials.max_steps}",
        "--pace=simulated",
        f"--state_dir={folder / f'state-{worker}'}",
        f"--summary_json={summary}",
    ]


def read_summary(path: Path) -> Rollouts:
    """Reads one worker's summary.

    Raises:
        RolloutSummaryError: the file is missing or is no summary.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(SUMMARY_LIMIT_BYTES)
        found = json.loads(raw)
        latency = found.get("step_latency_us") or {}
        return Rollouts(
            package_digest=found.get("package_digest"),
            tasks={
                str(task): TaskResult(
                    SuccessRate(row["successes"], row["episodes"]),
                    finite_or_none(row.get("mean_steps")),
                )
                for task, row in found["tasks"].items()
            },
            step_latency_p50_us=finite_or_none(latency.get("p50")),
            step_latency_p99_us=finite_or_none(latency.get("p99")),
            steps=int(found["steps"]),
            missed_deadlines=found.get("missed_deadlines"),
            safety_violations=found.get("safety_violations"),
        )
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as e:
        raise RolloutSummaryError(
            path,
            "a summary of //edge:run",
            f"{type(e).__name__}: {e}",
            "read the log beside it",
        ) from e


def combine(parts: Sequence[Rollouts]) -> Rollouts:
    """Adds up the workers' summaries.

    Counts are sums. The 50th percentile of the latency is the mean of the workers'
    weighted by steps; of the 99th percentiles the highest is kept, which is never
    below the percentile of all steps together. A metric one worker lacks is None.
    """
    tasks: dict[str, TaskResult] = {}
    for part in parts:
        for task, result in part.tasks.items():
            known = tasks.get(task)
            tasks[task] = result if known is None else _both(known, result)
    steps = sum(part.steps for part in parts)
    p50 = [part.step_latency_p50_us for part in parts]
    p99 = [part.step_latency_p99_us for part in parts]
    return Rollouts(
        package_digest=parts[0].package_digest if parts else None,
        tasks=tasks,
        step_latency_p50_us=None
        if None in p50 or not steps
        else sum(v * part.steps for v, part in zip(p50, parts, strict=True) if v)
        / steps,
        step_latency_p99_us=None
        if None in p99 or not p99
        else max(v for v in p99 if v is not None),
        steps=steps,
        missed_deadlines=_sum_or_none([part.missed_deadlines for part in parts]),
        safety_violations=_sum_or_none([part.safety_violations for part in parts]),
    )


def _both(a: TaskResult, b: TaskResult) -> TaskResult:
    success = a.success + b.success
    if a.mean_steps is None or b.mean_steps is None or not success.episodes:
        return TaskResult(success, None)
    steps = a.mean_steps * a.success.episodes + b.mean_steps * b.success.episodes
    return TaskResult(success, steps / success.episodes)


def _sum_or_none(values: Sequence[int | None]) -> int | None:
    if not values or any(value is None for value in values):
        return None
    return sum(value for value in values if value is not None)


def _require_all(trials: Trials, rollouts: Rollouts, folder: Path) -> None:
    """A summary that left episodes out must not look like a good one."""
    expected = dict.fromkeys(sorted(trials.tasks), trials.episodes_per_task)
    found = {
        task: result.success.episodes for task, result in sorted(rollouts.tasks.items())
    }
    if found != expected:
        raise RolloutSummaryError(
            folder, f"episodes per task {expected}", found, "read the logs there"
        )


def evaluate_package(
    trials: Trials,
    package: Path,
    package_digest: str,
    dataset_manifest: str,
    held_out_loss: float | None,
    workers: int,
    folder: Path,
    on_progress: OnProgress = lambda done: None,
    step: str | None = None,
) -> EvaluationReport:
    """Evaluates an exported package on the trials.

    Args:
        trials: the episodes to run.
        package: the package's folder.
        package_digest: its digest, which the robot's binary must name.
        dataset_manifest: digest of the dataset that it was trained on.
        held_out_loss: the trained model's; None where it was not measured.
        workers: processes at once.
        folder: where summaries and logs go.
        on_progress: called when more episodes have been run.
        step: form of the step to run; None for the one that robots run.

    Raises:
        ProgramMissingError: `//edge:run` is not among this program's files.
        ProgramFailedError: a worker failed.
        RolloutSummaryError: a worker's summary is not what was asked for, or it
            ran another package.
    """
    policy = [f"--candidate={package}", *([f"--step={step}"] if step else [])]
    rollouts = roll_out(trials, policy, workers, folder, on_progress)
    if rollouts.package_digest != package_digest:
        raise RolloutSummaryError(
            folder,
            f"a run of package {package_digest}",
            rollouts.package_digest,
            "evaluate again",
        )
    return EvaluationReport(
        package_digest=package_digest,
        dataset_manifest=dataset_manifest,
        environment=trials.environment,
        first_seed=trials.first_seed,
        episodes_per_task=trials.episodes_per_task,
        max_steps=trials.max_steps,
        tasks=rollouts.tasks,
        held_out_loss=held_out_loss,
        step_latency_p50_us=rollouts.step_latency_p50_us,
        step_latency_p99_us=rollouts.step_latency_p99_us,
        steps=rollouts.steps,
        missed_deadlines=rollouts.missed_deadlines,
        safety_violations=rollouts.safety_violations,
    )
