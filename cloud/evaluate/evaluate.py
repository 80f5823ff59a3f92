"""Drives any package as the main job does, and writes the report.

    ./bazelw run //cloud:evaluate -- --package=DIR
    ./bazelw run //cloud:evaluate -- --package=DIR --evaluation_seed=20000 \\
        --evaluation_episodes=100 --output=evaluation.json

The robot's own program drives the package's step on simulated robots, on seeds that it
has not seen. The held-out loss is the one that the package states of its training.
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
from cloud.errors import EvaluationReportError
from cloud.evaluate import report, rollouts
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
_OUTPUT = flags.DEFINE_string(
    "output", None, "file of the report, for //cloud:bless; default: none is written"
)
_LOGS = flags.DEFINE_string(
    "logs", None, "folder for logs of the robot's program; default: none are kept"
)
record_flags.define(EvaluateSettings)
path_flags.folders("package", "logs")
path_flags.files("output")


def main(argv: list[str]) -> None:
    """Evaluates the package that the flags name and shows what was found."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    try:
        settings = record_flags.read(EvaluateSettings)
    except ValueError as e:
        raise app.UsageError(f"--{e}") from e
    if _OUTPUT.value:
        durable_file.check_writable(Path(_OUTPUT.value))
    package = verification.verify_integrity(Path(_PACKAGE.value), TARGET)
    console = open_console()
    with tempfile.TemporaryDirectory(prefix="evaluation-") as name:
        logs = Path(_LOGS.value or name)
        found = evaluate(package, settings, _TASKS.value, logs, console)
    show(found, console)
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
    known = package.manifest.robot.tasks
    if unknown := sorted(set(tasks) - set(known)):
        raise EvaluationReportError(
            f"--task={unknown[0]}",
            f"one of {', '.join(known)}",
            "another task",
            "name a task that the package was trained on",
        )
    metadata = package.manifest.metadata
    trials = settings.trials(tuple(tasks) or known)
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
