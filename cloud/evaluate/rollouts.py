"""Closed-loop evaluation: the robot's own binary drives the package's step.

Each worker process runs every task on its own share of the seeds, so that the shares
take equally long whatever each task costs. The summaries are added up here.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from base.errors import MalformedError, OversizedError
from cloud import programs
from cloud.errors import RolloutSummaryError
from cloud.evaluate.report import EvaluationReport, TaskResult
from cloud.evaluate.success_rate import SuccessRate
from release import run_summary
from release.run_summary import TaskOutcome

RUN_PROGRAM = "edge/run"
POLL_PERIOD_S = 0.1

OnProgress = Callable[[int], None]
"""Called with the number of episodes that have been run, whenever it has grown."""


@dataclasses.dataclass(frozen=True)
class _Worker:
    """A process with one share of the seeds, and the files that it writes."""

    process: subprocess.Popen[bytes]
    log: Path
    summary: Path
    progress: Path


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
        """Value of `--robot` of the robot's binary."""
        return robot_flag(self.environment, self.tasks)

    def match(self, report: EvaluationReport, manifest_digest: str) -> bool:
        """Tells whether a report comes from these trials and this dataset."""
        return (
            set(report.tasks) == set(self.tasks)
            and report.environment == self.environment
            and report.first_seed == self.first_seed
            and report.episodes_per_task == self.episodes_per_task
            and report.max_steps == self.max_steps
            and report.manifest_digest == manifest_digest
        )

    @property
    def episodes(self) -> int:
        """Episodes of all tasks."""
        return self.episodes_per_task * len(self.tasks)

    def share(self, worker: int, workers: int) -> tuple[int, int]:
        """Returns first seed and number of episodes per task of one worker."""
        first = self.episodes_per_task * worker // workers
        end = self.episodes_per_task * (worker + 1) // workers
        return self.first_seed + first, end - first


@dataclasses.dataclass(frozen=True)
class Rollouts:
    """What the robot's binary measured, over all workers."""

    package_digest: str | None
    tasks: Mapping[str, TaskResult]
    step_latency_p50_us: float
    step_latency_p99_us: float
    steps: int
    missed_deadlines: int
    safety_violations: int


def robot_flag(environment: str, tasks: Sequence[str]) -> str:
    """Returns a value of `--robot`; a name with a comma is in double quotes."""
    text = io.StringIO()
    row = [f"{environment}:{task}" for task in tasks]
    csv.writer(text, lineterminator="").writerow(row)
    return text.getvalue()


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
        policy: flags that name the policy: `--candidate=DIR` or `--policy=expert`.
        workers: number of parallel processes.
        folder: where the workers' summaries, progress, logs and states are written.
        on_progress: called when more episodes have been run.

    Raises:
        ProgramMissingError: `//edge:run` is not among this program's files.
        ProgramFailedError: a worker failed.
        RolloutSummaryError: a worker's summary or progress is missing, malformed, or
            of other episodes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    workers = max(1, min(workers, trials.episodes_per_task))
    running: list[_Worker] = []
    try:
        for worker in range(workers):
            running.append(_start(trials, policy, worker, workers, folder))
        _wait(trials, running, on_progress)
    finally:
        for one in running:
            if one.process.poll() is None:
                one.process.kill()
            one.process.wait()
    parts = [read_summary(one.summary) for one in running]
    combined = combine(parts)
    _require_all(trials, combined, folder)
    return combined


def _start(
    trials: Trials, policy: Sequence[str], worker: int, workers: int, folder: Path
) -> _Worker:
    """Starts one worker, after removing the files of an earlier one."""
    log = folder / f"run-{worker}.log"
    summary = folder / f"summary-{worker}.json"
    progress = folder / f"progress-{worker}.jsonl"
    for earlier in (summary, progress):
        earlier.unlink(missing_ok=True)
    first_seed, episodes = trials.share(worker, workers)
    arguments = [
        *policy,
        f"--robot={trials.robots}",
        f"--episodes={episodes}",
        f"--seed={first_seed}",
        f"--max_steps={trials.max_steps}",
        "--pace=simulated",
        f"--state_dir={folder / f'state-{worker}'}",
        f"--summary_json={summary}",
        f"--progress_json={progress}",
    ]
    process = programs.start(RUN_PROGRAM, arguments, log)
    return _Worker(process, log, summary, progress)


def _wait(trials: Trials, running: Sequence[_Worker], on_progress: OnProgress) -> None:
    """Waits for all workers, or for the first that fails."""
    shown = 0
    while any(one.process.poll() is None for one in running):
        time.sleep(POLL_PERIOD_S)
        for one in running:
            if one.process.poll():
                programs.finish(one.process, RUN_PROGRAM, one.log)
        done = sum(_episodes_done(one.progress) for one in running)
        if done > shown:
            shown = done
            on_progress(done)
    for one in running:
        programs.finish(one.process, RUN_PROGRAM, one.log)
    if shown < trials.episodes:
        on_progress(trials.episodes)


def _episodes_done(path: Path) -> int:
    """Returns how many episodes a worker says it has run.

    Raises:
        RolloutSummaryError: the file cannot be read or does not hold progress.
    """
    try:
        progress = run_summary.read_progress(path)
    except (OSError, MalformedError, OversizedError) as e:
        raise _not_written_by_run(path, "progress", e) from e
    return 0 if progress is None else progress.episodes_done


def read_summary(path: Path) -> Rollouts:
    """Reads one worker's summary.

    Raises:
        RolloutSummaryError: the file is missing, is not a summary, or does not state
            whether the episodes succeeded.
    """
    try:
        found = run_summary.read(path)
    except (OSError, MalformedError, OversizedError) as e:
        raise _not_written_by_run(path, "a summary", e) from e
    return Rollouts(
        package_digest=found.package_digest,
        tasks={
            task: _task_result(path, task, outcome)
            for task, outcome in found.tasks.items()
        },
        step_latency_p50_us=found.latency_p50_us,
        step_latency_p99_us=found.latency_p99_us,
        steps=found.steps,
        missed_deadlines=found.missed_deadlines,
        safety_violations=found.safety_violations,
    )


def find_examples(folder: Path) -> dict[str, dict[str, int]]:
    """Seeds of an evaluation: by task, the lowest one of each ending.

    Args:
        folder: the folder of `roll_out`, after it.

    Raises:
        RolloutSummaryError: a summary in it cannot be read.
    """
    found: dict[str, dict[str, int]] = {}
    for path in sorted(folder.glob("summary-*.json")):
        try:
            examples = run_summary.read(path).examples
        except (OSError, MalformedError, OversizedError) as e:
            raise _not_written_by_run(path, "a summary", e) from e
        for task, seeds in examples.items():
            known = found.setdefault(task, {})
            for ending, seed in seeds.items():
                known[ending] = min(seed, known.get(ending, seed))
    return found


def _task_result(path: Path, task: str, outcome: TaskOutcome) -> TaskResult:
    if outcome.successes is None:
        raise RolloutSummaryError(
            path,
            f"how many episodes of {task} succeeded",
            "null",
            "evaluate on a robot that measures success",
        )
    success = SuccessRate(outcome.successes, outcome.episodes)
    return TaskResult(success, outcome.mean_steps)


def _not_written_by_run(path: Path, what: str, cause: Exception) -> RolloutSummaryError:
    return RolloutSummaryError(
        path,
        f"{what} of //edge:run",
        f"{type(cause).__name__}: {cause}",
        "read the log beside it",
    )


def combine(parts: Sequence[Rollouts]) -> Rollouts:
    """Adds up the workers' summaries, at least one.

    Counts are sums. The 50th percentile of the latency is the mean over workers,
    weighted by steps. The 99th is the highest of the workers', which is never below
    the percentile over all steps.
    """
    tasks: dict[str, TaskResult] = {}
    for part in parts:
        for task, result in part.tasks.items():
            known = tasks.get(task)
            tasks[task] = result if known is None else _add(known, result)
    steps = sum(part.steps for part in parts)
    p50_sum = sum(part.step_latency_p50_us * part.steps for part in parts)
    return Rollouts(
        package_digest=parts[0].package_digest,
        tasks=tasks,
        step_latency_p50_us=p50_sum / steps,
        step_latency_p99_us=max(part.step_latency_p99_us for part in parts),
        steps=steps,
        missed_deadlines=sum(part.missed_deadlines for part in parts),
        safety_violations=sum(part.safety_violations for part in parts),
    )


def _add(a: TaskResult, b: TaskResult) -> TaskResult:
    success = a.success + b.success
    if a.mean_steps is None or b.mean_steps is None:
        return TaskResult(success, None)
    steps = a.mean_steps * a.success.episodes + b.mean_steps * b.success.episodes
    return TaskResult(success, steps / success.episodes)


def _require_all(trials: Trials, rollouts: Rollouts, folder: Path) -> None:
    """Refuses summaries that lack episodes."""
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
    manifest_digest: str,
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
        manifest_digest: digest of the manifest of the training dataset.
        held_out_loss: held-out loss of the trained model; None if not measured.
        workers: number of parallel processes.
        folder: where summaries and logs are written.
        on_progress: called when more episodes have been run.
        step: step form to run; None for the one that robots run.

    Raises:
        ProgramMissingError: `//edge:run` is not among this program's files.
        ProgramFailedError: a worker failed.
        RolloutSummaryError: a worker's summary is missing, malformed, of other
            episodes, or of another package.
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
        manifest_digest=manifest_digest,
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
