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
from cloud.evaluate import bootstrap, held_out_table
from cloud.evaluate.held_out_report import TASK, HeldOutReport
from cloud.evaluate.report import EvaluationReport
from cloud.evaluate.rollouts import robot_flag
from cloud.evaluate.success_rate import SuccessRate, interval_text, percent_text
from cloud.evaluate.verdict import Decision, Verdict
from cloud.figure_table import FigureTable
from cloud.job.report_page import latency_text

YOUR_ROBOT = "YOUR_ROBOT"
"""Stands in the suggested command where no simulator has the robot."""
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
    evaluation: EvaluationReport | HeldOutReport
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
        return canonical_json.encode(
            {
                "schema_version": 1,
                "run_id": self.run_id,
                **self._found(),
                "evidence": list(self.decision.evidence),
                "train_loss": self.train_loss,
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

    def _found(self) -> dict[str, object]:
        """What the evaluation found: success if it was driven, else an error."""
        found = self.evaluation
        if isinstance(found, HeldOutReport):
            errors = {
                task: bootstrap.mean([e.error for e in found.select(TASK, task)]).value
                for task in found.tasks
            }
            return {
                "held_out_error": errors,
                "mean_held_out_error": found.error.value,
                "held_out_episodes": len(found.episodes),
            }
        return {
            "success": {task: r.success.rate for task, r in found.tasks.items()},
            "mean_success": found.success.rate,
            "expert_success": {task: s.rate for task, s in self.expert.items()},
            "episodes_per_task": found.episodes_per_task,
            "held_out_loss": found.held_out_loss,
        }

    def next_command(self) -> str:
        """Returns the command that tries the package on a robot.

        A published package is taken from its channel; one that is not published can
        only be run as a candidate. Episodes are written beside the robot's state. A
        robot without a simulator is the user's own.
        """
        if isinstance(self.evaluation, HeldOutReport) and not self.published:
            return self._trials_command()
        robot = f"--robot={self._robot()}"
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

    def _trials_command(self) -> str:
        """Tries a package on the user's own robot, which takes nothing unsigned."""
        arguments = [
            f"--robot={YOUR_ROBOT}",
            f"--candidate={self.package}",
            f"--keyring={self.keyring}",
            "--allow_development_keys",
            f"--key_file={self.state_dir}-key.json",
            f"--output={self.state_dir}-trials",
        ]
        return "./bazelw run //edge:trials -- " + shlex.join(arguments)

    def _robot(self) -> str:
        found = self.evaluation
        if isinstance(found, HeldOutReport):
            return YOUR_ROBOT
        return robot_flag(found.environment, [min(found.tasks, default="reach-v3")])

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
        if isinstance(self.evaluation, HeldOutReport):
            held_out_table.show(self.evaluation, console)
        else:
            console.print(self._success_table(self.evaluation))
        console.print(self._figures_table())
        color = _COLORS[self.decision.verdict]
        verdict = Text(self.decision.verdict.value, style=f"bold {color}")
        verdict.append(self.decision.on_evidence, style="not bold default")
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

    def _success_table(self, found: EvaluationReport) -> FigureTable:
        episodes = found.episodes_per_task
        table = FigureTable(
            *("task", "package", "95 % interval", "expert", "mean steps"),
            names=("task",),
            title=f"Success in closed loop, {episodes} unseen seeds per task",
        )
        tasks = found.tasks
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
        every = found.success
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
            **(
                {"held-out error": evaluation.error.text()}
                if isinstance(evaluation, HeldOutReport)
                else {"held-out loss": _loss(evaluation.held_out_loss)}
            ),
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
