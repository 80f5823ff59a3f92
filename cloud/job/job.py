"""The main job as a procedure: data, training, package, verdict, release, report.

Each stage is implemented elsewhere. This file defines their order, and what each passes
to the next.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from rich.console import Console

from base import durable_file
from cloud import build_facts
from cloud.console import WorkProgress
from cloud.dataset import version
from cloud.evaluate.held_out_report import HeldOutReport
from cloud.evaluate.int8_choice import StepChoice
from cloud.evaluate.report import EvaluationReport
from cloud.evaluate.success_rate import SuccessRate
from cloud.evaluate.trajectories import Trajectory
from cloud.evaluate.verdict import Decision, Verdict
from cloud.job import data as job_data
from cloud.job import destination as destinations
from cloud.job import evaluation as job_evaluation
from cloud.job import (
    held_out_evaluation,
    held_run,
    report_page,
    signed_package,
    training,
)
from cloud.job.destination import Destination
from cloud.job.figures import LossHistory, LossPoint
from cloud.job.held_out_evaluation import StepChoice as ReplayedChoice
from cloud.job.held_run import HeldRun
from cloud.job.outcome import Outcome
from cloud.job.settings import TARGET, JobSettings
from cloud.package.build import BuiltPackage
from cloud.train import processes


def run(settings: JobSettings, console: Console, started: datetime) -> Outcome:
    """Runs the whole job and returns its results, whatever the verdict.

    Args:
        settings: settings of the job, see `JobSettings.on_this_machine`.
        console: where progress is shown.
        started: the time, with a time zone.

    Raises:
        CloudError, ModelError, ReleaseError, RldsError: one cause each, one line.
    """
    began_s = time.monotonic()
    say = functools.partial(_say, console)
    destination = destinations.open_destination(settings)
    processes.require_shared(destination.family_folder)
    job_data.require_trainable(settings)
    spec = version.read_spec(settings.dataset.uri)
    tasks = job_data.known_tasks(settings)
    with WorkProgress(console, "robot"):
        robot = job_data.require_robot(settings, tasks, spec) if tasks else None
    with WorkProgress(console, "dataset"):
        data = job_data.open_data(settings)
    say(f"dataset   {settings.dataset.name} ({data.size_text})")
    if robot is None:
        robot = job_data.require_robot(settings, data.tasks, spec)
    settings, notes = job_data.limit_actions(settings, robot, spec.action_size)
    for line in [*notes, *job_data.require_exportable(settings, data, robot)]:
        say(f"note      {line}")
    with held_run.hold(settings, destination, data, started, console, say) as held:
        processes.share_path(held.folder.checkpoints)
        say(f"run       {held.text}")
        return _complete(held, console, began_s)


def _complete(held: HeldRun, console: Console, began_s: float) -> Outcome:
    """Runs the job from training to the end, in a run's folder."""
    settings, destination, folder = held.settings, held.destination, held.folder
    say = functools.partial(_say, console)
    history = LossHistory(folder.path / "losses.jsonl")
    fitted = training.train(held, history, console, say)
    with WorkProgress(console, "export"):
        built = signed_package.export(held, fitted, history)
    say(f"package   {built.digest[:12]}, {built.size_bytes / 1e6:.1f} MB")
    points = history.points
    loss = points[-1].validation_loss if points else None
    if settings.evaluate.is_simulated:
        driven = job_evaluation.create(
            settings, held.data.tasks, held.data.manifest_digest, folder, console
        )
        judged = _judge(driven, built, loss, destination, say, settings.expert_baseline)
    else:
        replayed = held_out_evaluation.create(settings, held.data, folder, console)
        judged = _judge(replayed, built, loss, destination, say, None)
    built, decision = judged.built, judged.decision
    signed_package.sign(held, built, judged.evaluation.encode(), decision)
    published = settings.publish.if_blessed and decision.verdict is Verdict.BLESSED
    held.require_held()
    if published:
        with WorkProgress(console, "publish"):
            signed_package.publish(held, built)
    outcome = Outcome(
        run_id=folder.run_id,
        decision=decision,
        evaluation=judged.evaluation,
        expert=judged.expert,
        train_loss=points[-1].train_loss if points else None,
        updates=settings.train.updates,
        updates_per_s=fitted.updates_per_s,
        train_seconds=fitted.seconds,
        total_seconds=time.monotonic() - began_s,
        resumed_from=fitted.resumed_from,
        package=built.folder,
        report=folder.report,
        channel=settings.channel_uri,
        published=published,
        channel_exists=published or destination.channel.release_counter > 0,
        keyring=destination.keyring,
        state_dir=settings.run.state_dir,
    )
    _write_report(held, outcome, points, judged.samples)
    held.end({"verdict": decision.verdict.value, "published": published}, console)
    return outcome


class _Evaluation[Report: (EvaluationReport, HeldOutReport)](Protocol):
    """What judges a package: simulated robots, or held-out episodes."""

    def choose_step(
        self, built: BuiltPackage
    ) -> tuple[BuiltPackage, StepChoice | ReplayedChoice | None]:
        """Chooses the step form that robots run."""

    def evaluate(
        self, built: BuiltPackage, held_out_loss: float | None
    ) -> tuple[Report, Sequence[Trajectory]]:
        """Evaluates the package."""

    def judge(self, found: Report, destination: Destination) -> Decision:
        """Reaches the verdict."""

    def expert(self, known: Path | None) -> Mapping[str, SuccessRate]:
        """Returns the success of the scripted expert, if there is one."""


@dataclasses.dataclass(frozen=True)
class _Judged:
    """A package with its step form chosen, and all that was found about it."""

    built: BuiltPackage
    evaluation: EvaluationReport | HeldOutReport
    samples: Sequence[Trajectory]
    expert: Mapping[str, SuccessRate]
    decision: Decision


def _judge[Report: (EvaluationReport, HeldOutReport)](
    evaluator: _Evaluation[Report],
    built: BuiltPackage,
    held_out_loss: float | None,
    destination: Destination,
    say: Callable[[str], None],
    expert_baseline: Path | None,
) -> _Judged:
    """Chooses the step form of a package, evaluates it and reaches the verdict."""
    built, choice = evaluator.choose_step(built)
    if choice is not None:
        say(f"step      {choice.text()}")
    evaluation, samples = evaluator.evaluate(built, held_out_loss)
    decision = evaluator.judge(evaluation, destination)
    expert = evaluator.expert(expert_baseline)
    return _Judged(built, evaluation, samples, expert, decision)


def _write_report(
    held: HeldRun,
    outcome: Outcome,
    points: Sequence[LossPoint],
    samples: Sequence[Trajectory],
) -> None:
    settings, data, folder = held.settings, held.data, held.folder
    tools = build_facts.tool_versions()
    page = report_page.render(
        report_page.RunReport(
            title=f"{settings.publish.family} for {TARGET}",
            run_id=folder.run_id,
            decision=outcome.decision,
            evaluation=outcome.evaluation,
            expert=outcome.expert,
            history=points,
            trajectories=samples,
            figures=outcome.figures(),
            provenance={
                "dataset": f"{data.manifest.dataset} {data.manifest.version}",
                "dataset manifest": data.manifest_digest,
                "episodes": data.size_text,
                "code commit": settings.run.code_commit,
                "hardware": build_facts.hardware_text(),
                "tools": ", ".join(f"{name} {v}" for name, v in tools.items()),
                "package": str(outcome.package.relative_to(folder.path)),
                "package digest": outcome.evaluation.package_digest,
                "evaluation report": outcome.evaluation.digest,
                "evidence": " and ".join(outcome.decision.evidence),
                "channel": outcome.public_channel()
                if outcome.published
                else "not published",
                **{
                    f"training: {name}": str(value)
                    for name, value in settings.training_config().items()
                },
            },
            next_command=outcome.next_command_elsewhere(),
        )
    )
    durable_file.write(folder.report, page.encode())


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
