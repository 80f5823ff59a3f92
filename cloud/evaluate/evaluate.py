"""Evaluates any package as the main job does, and writes the report.

    ./bazelw run //cloud:evaluate -- --package=DIR
    ./bazelw run //cloud:evaluate -- --package=DIR --evaluation_seed=20000 \\
        --evaluation_episodes=100 --output=evaluation.json
    ./bazelw run //cloud:evaluate -- --package=DIR --environment=none \\
        --dataset=VERSION --output=held_out.json

The robot's own program drives the package's step on simulated robots, on seeds that it
has not seen. The held-out loss is the one that the package states of its training.
For a robot that no simulator has, the program replays the held-out episodes of a
dataset to the package instead, and the report says how close it comes to them.
//cloud:bless reaches the verdict on the report.
"""

from __future__ import annotations

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import tempfile
from pathlib import Path

from absl import app, flags
from rich.console import Console

from base import command_line, durable_file, path_flags, record_flags
from cloud.console import WorkProgress, open_console
from cloud.dataset import split
from cloud.errors import DatasetError, EvaluationReportError
from cloud.evaluate import held_out_table, replays, report, rollouts
from cloud.evaluate.held_out_report import HeldOutReport
from cloud.evaluate.report import EvaluationReport
from cloud.evaluate.settings import EvaluateSettings
from cloud.evaluate.success_rate import interval_text, percent_text
from cloud.figure_table import FigureTable
from release import verification
from release.verification import IntactPackage

TARGET = "pi5-cpu"
"""Target of packages whose step this machine can run."""

_PACKAGE = flags.DEFINE_string("package", None, "folder of a package", required=True)
_TASKS = flags.DEFINE_multi_string(
    "task", [], "task to drive; may be repeated; default: all of the package"
)
_DATASET = flags.DEFINE_string(
    "dataset",
    None,
    "folder or URI of the dataset version whose held-out episodes are replayed, with "
    "--environment=none; default: none",
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "file of the report, for //cloud:bless; default: none is written"
)
_LOGS = flags.DEFINE_string(
    "logs", None, "folder for logs of the robot's program; default: none are kept"
)
record_flags.define(EvaluateSettings)
path_flags.folders("package", "logs", "dataset")
path_flags.files("output")


def main(argv: list[str]) -> None:
    """Evaluates the package that the flags name and shows what was found."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    try:
        settings = record_flags.read(EvaluateSettings)
    except ValueError as e:
        raise app.UsageError(f"--{e}") from e
    if bool(_DATASET.value) == settings.is_simulated:
        raise app.UsageError("give --dataset with --environment=none, and only then")
    if _OUTPUT.value:
        durable_file.check_writable(Path(_OUTPUT.value))
    package = verification.verify_integrity(Path(_PACKAGE.value), TARGET)
    console = open_console()
    with tempfile.TemporaryDirectory(prefix="evaluation-") as name:
        logs = Path(_LOGS.value or name)
        found: EvaluationReport | HeldOutReport
        if settings.is_simulated:
            found = evaluate(package, settings, _TASKS.value, logs, console)
            show(found, console)
        else:
            work = Path(name, "offsets")
            found = compare(package, settings, _TASKS.value, logs, work, console)
            held_out_table.show(found, console)
    if _OUTPUT.value:
        durable_file.write(Path(_OUTPUT.value), found.encode())
        command_line.say(f"report    {_OUTPUT.value}")


def evaluate(
    package: IntactPackage,
    settings: EvaluateSettings,
    tasks: list[str],
    logs: Path,
    console: Console,
) -> EvaluationReport:
    """Drives a package and returns the report.

    Args:
        package: the package.
        settings: environment, seeds and number of episodes.
        tasks: what to drive; nothing for every task of the package.
        logs: folder for the robot's logs and summaries.
        console: where progress is shown.

    Raises:
        EvaluationReportError: the package knows no such task.
        ProgramMissingError, ProgramFailedError, RolloutSummaryError: see
            `rollouts.evaluate_package`.
    """
    metadata = package.manifest.metadata
    trials = settings.trials(_choose_tasks(package, tasks))
    with WorkProgress(console, "evaluate", trials.episodes, "episodes") as progress:
        return rollouts.evaluate_package(
            trials,
            package.folder,
            package.digest,
            metadata.dataset_manifest_digest,
            report.finite_or_none(metadata.metrics.get("held_out_loss")),
            settings.workers,
            logs,
            lambda done: progress.show(done, ""),
        )


def compare(
    package: IntactPackage,
    settings: EvaluateSettings,
    tasks: list[str],
    logs: Path,
    work: Path,
    console: Console,
) -> HeldOutReport:
    """Replays the held-out episodes of --dataset to a package; returns the report.

    Args:
        package: the package.
        settings: number of episodes and of processes.
        tasks: what to replay; nothing for every task of the package.
        logs: folder for the robot's logs and summaries.
        work: folder for offsets of the dataset.
        console: where progress is shown.

    Raises:
        EvaluationReportError: the package knows no such task.
        DatasetError: there is no dataset, or it holds no episode out of these tasks.
        ProgramMissingError, ProgramFailedError, RolloutSummaryError: see
            `replays.evaluate_package`.
    """
    chosen = _choose_tasks(package, tasks)
    found = split.open_split(_DATASET.value or "", replays.HELD_OUT_SPLIT, work)
    recordings = replays.Recordings(
        found.episodes.select_tasks(chosen), found.manifest, settings.held_out_episodes
    )
    count = len(recordings.chosen)
    if not count:
        raise DatasetError(
            _DATASET.value or "",
            f"held-out episodes of {', '.join(chosen)}, the package's tasks",
            f"episodes of {', '.join(found.episodes.tasks) or 'nothing'}",
            "name another --dataset",
        )
    action = package.manifest.robot.action
    with WorkProgress(console, "replay", count, "episodes") as progress:
        return replays.evaluate_package(
            recordings,
            package.folder,
            package.manifest,
            (action.minimum, action.maximum),
            settings.workers,
            logs,
            lambda done: progress.show(done, ""),
        )


def _choose_tasks(package: IntactPackage, tasks: list[str]) -> tuple[str, ...]:
    known = package.manifest.robot.tasks
    if unknown := sorted(set(tasks) - set(known)):
        raise EvaluationReportError(
            f"--task={unknown[0]}",
            f"one of {', '.join(known)}",
            "another task",
            "name a task that the package was trained on",
        )
    return tuple(tasks) or known


def show(found: EvaluationReport, console: Console) -> None:
    """Prints a report for people."""
    table = FigureTable(
        *("task", "success", "95 % interval", "episodes", "mean steps"),
        names=("task",),
        title=f"Success in closed loop on {found.environment}",
    )
    for task, result in sorted(found.tasks.items()):
        table.add_row(
            task,
            percent_text(result.success),
            interval_text(result.success),
            f"{result.success.episodes:,}",
            "-" if result.mean_steps is None else f"{result.mean_steps:.1f}",
        )
    table.add_section()
    every = found.success
    table.add_row(
        "all tasks",
        percent_text(every),
        interval_text(every),
        f"{every.episodes:,}",
        "",
    )
    console.print(table)
    held_out = found.held_out_loss
    p50, p99 = found.step_latency_p50_us, found.step_latency_p99_us
    for line in (
        f"package   {found.package_digest[:12]}",
        "held-out loss, of the trained model: "
        + ("not stated by the package" if held_out is None else f"{held_out:.4f}"),
        f"control step: {p50:,.0f} us in the middle, {p99:,.0f} us at the 99th "
        "percentile",
        f"late steps: {found.missed_deadlines:,} of {found.steps:,}; safety "
        f"violations: {found.safety_violations:,}",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    command_line.run(main)
