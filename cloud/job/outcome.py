"""The results of a finished run: a table for people, JSON for machines."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

from base import canonical_json
from cloud import locations
from cloud.evaluate.report import EvaluationReport
from cloud.evaluate.rollouts import robot_flag
from cloud.evaluate.success_rate import SuccessRate, interval_text, percent_text
from cloud.evaluate.verdict import Decision, Verdict
from cloud.figure_table import FigureTable
from cloud.job.report_page import latency_text

_COLORS = {
    Verdict.BLESSED: "green",
    Verdict.REFUSED: "red",
    Verdict.UNDECIDED: "yellow",
}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The results of one run of the main job."""

    run_id: str
    decision: Decision
    evaluation: EvaluationReport
    expert: Mapping[str, SuccessRate]
    train_loss: float | None
    updates: int
    updates_per_s: float
    train_seconds: float
    total_seconds: float
    resumed_from: int | None
    package: Path
    report: Path
    channel: str
    """URI of the channel file."""
    published: bool
    channel_exists: bool
    """Whether the channel has a release, this or an earlier one."""
    keyring: Path
    state_dir: Path
    """Folder of the robot's state, for the suggested command."""

    def summary(self) -> bytes:
        """Returns the results for machines, as canonical JSON."""
        tasks = self.evaluation.tasks
        return canonical_json.encode(
            {
                "schema_version": 1,
                "run_id": self.run_id,
                "success": {task: r.success.rate for task, r in tasks.items()},
                "mean_success": self.evaluation.success.rate,
                "expert_success": {task: s.rate for task, s in self.expert.items()},
                "episodes_per_task": self.evaluation.episodes_per_task,
                "train_loss": self.train_loss,
                "held_out_loss": self.evaluation.held_out_loss,
                "train_updates": self.updates,
                "train_updates_per_s": self.updates_per_s,
                "train_seconds": self.train_seconds,
                "total_seconds": self.total_seconds,
                "resumed_from": self.resumed_from,
                "step_latency_us": {
                    "p50": self.evaluation.step_latency_p50_us,
                    "p99": self.evaluation.step_latency_p99_us,
                },
                "package": str(self.package),
                "package_digest": self.evaluation.package_digest,
                "report": str(self.report),
                "channel": locations.format_location(self.channel),
                "published": self.published,
                "verdict": self.decision.verdict.value,
                "reasons": list(self.decision.reasons),
            }
        )

    def next_command(self) -> str:
        """Returns the command that tries the package on a simulated robot.

        A published package is taken from its channel; one that is not published can
        only be run as a candidate. Episodes are written beside the robot's state.
        """
        task = min(self.evaluation.tasks, default="reach-v3")
        robot = f"--robot={robot_flag(self.evaluation.environment, [task])}"
        if self.published:
            source = [
                f"--channel={locations.format_location(self.channel)}",
                f"--keyring={self.keyring}",
                "--allow_development_keys",
            ]
        else:
            source = [f"--candidate={self.package}"]
        recorded = self.state_dir.with_name(f"{self.state_dir.name}-episodes")
        arguments = [
            *source,
            robot,
            "--episodes=5",
            f"--state_dir={self.state_dir}",
            f"--record_dir={recorded}",
        ]
        return "./bazelw run //edge:run -- " + shlex.join(arguments)

    def next_command_elsewhere(self) -> str:
        """Returns `next_command` for readers on other machines.

        It has the names ARTIFACTS, KEYS and ROBOT where this machine has folders.
        """
        root = self.package.parents[3]  # <root>/<family>/<run_id>/export/<target>
        named = dataclasses.replace(
            self,
            package=Path("ARTIFACTS", self.package.relative_to(root)),
            channel=self.public_channel("ARTIFACTS/"),
            keyring=Path("KEYS", self.keyring.name),
            state_dir=Path("ROBOT"),
        )
        return named.next_command()

    def public_channel(self, prefix: str = "") -> str:
        """Returns the channel's URI, or, on this machine, its path in the artifacts."""
        local = locations.local_folder(self.channel)
        if local is None:
            return self.channel
        return f"{prefix}{local.parent.name}/{local.name}"

    def show(self, console: Console) -> None:
        """Prints the results for people."""
        console.print()
        console.print(self._success_table())
        console.print(self._figures_table())
        color = _COLORS[self.decision.verdict]
        verdict = Text(self.decision.verdict.value, style=f"bold {color}")
        console.print(Text("verdict   ").append_text(verdict))
        if self.decision.verdict is not Verdict.BLESSED:
            for reason in self.decision.reasons:
                console.print(
                    f"  {reason}", highlight=False, markup=False, soft_wrap=True
                )
        for label, text in self._paths():
            console.print(
                f"{label:<9} {text}", highlight=False, markup=False, soft_wrap=True
            )

    def _success_table(self) -> FigureTable:
        episodes = self.evaluation.episodes_per_task
        table = FigureTable(
            *("task", "package", "95 % interval", "expert", "mean steps"),
            names=("task",),
            title=f"Success in closed loop, {episodes} unseen seeds per task",
        )
        tasks = self.evaluation.tasks
        for task, result in sorted(tasks.items()):
            steps = "-" if result.mean_steps is None else f"{result.mean_steps:.1f}"
            table.add_row(
                task,
                percent_text(result.success),
                interval_text(result.success),
                percent_text(self.expert.get(task)),
                steps,
            )
        expert = sum(
            (self.expert[task] for task in tasks if task in self.expert),
            start=SuccessRate(0, 0),
        )
        every = self.evaluation.success
        table.add_section()
        table.add_row(
            "all tasks",
            percent_text(every),
            interval_text(every),
            percent_text(expert),
            "",
        )
        return table

    def _figures_table(self) -> FigureTable:
        table = FigureTable(*("figure", "value"), names=("figure",), has_header=False)
        for label, text in self.figures().items():
            table.add_row(label, text)
        return table

    def figures(self) -> Mapping[str, str]:
        """Returns the run's figures, label to text."""
        resumed = "" if self.resumed_from is None else f", from {self.resumed_from:,}"
        evaluation = self.evaluation
        return {
            "training loss": _loss(self.train_loss),
            "held-out loss": _loss(evaluation.held_out_loss),
            "updates": f"{self.updates:,}{resumed}",
            "training speed": f"{self.updates_per_s:.1f} updates/s",
            "training time": f"{self.train_seconds:.1f} s",
            "whole job": f"{self.total_seconds:.1f} s",
            "control step, p50 and p99": (
                f"{latency_text(evaluation.step_latency_p50_us)}, "
                f"{latency_text(evaluation.step_latency_p99_us)}"
            ),
        }

    def _paths(self) -> list[tuple[str, str]]:
        channel = locations.format_location(self.channel)
        if not self.channel_exists:
            channel = "none yet, because nothing was published"
        elif not self.published:
            channel += " (unchanged)"
        return [
            ("package", str(self.package)),
            ("channel", channel),
            ("report", str(self.report)),
            ("next", self.next_command()),
        ]


def _loss(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.5f}"
