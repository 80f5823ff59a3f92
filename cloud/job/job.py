"""The main job as a procedure: data, training, package, verdict, release, report.

Each stage is implemented elsewhere. This file defines their order, and what each passes
to the next.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jax
from rich.console import Console

from base import durable_file, project_version
from cloud import build_facts, locations
from cloud.console import WorkProgress
from cloud.dataset import version
from cloud.evaluate import bless
from cloud.evaluate.bless import Decision, Verdict
from cloud.evaluate.report import EvaluationReport
from cloud.evaluate.trajectories import Trajectory
from cloud.job import data as job_data
from cloud.job import destination as destinations
from cloud.job import evaluation as job_evaluation
from cloud.job import figures, report_page, run_backup, run_folder, run_lease
from cloud.job.data import Data
from cloud.job.destination import Destination
from cloud.job.figures import LossHistory, LossPoint
from cloud.job.outcome import Outcome
from cloud.job.run_folder import RunFolder
from cloud.job.run_lease import Lease
from cloud.job.settings import TARGET, JobSettings
from cloud.package import build
from cloud.package.build import BuiltPackage
from cloud.train import fit, mesh, processes
from cloud.train.fit import FitResult, Progress
from model.export.targets import INT8
from release import blessing, provenance
from release.signing import publish, sign_statements


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
    destination = destinations.open_destination(settings)
    processes.require_shared(destination.family_folder)
    job_data.require_trainable(settings)
    spec = version.read_spec(settings.dataset.uri)
    tasks = job_data.known_tasks(settings)
    with WorkProgress(console, "robot"):
        robot = job_data.require_robot(settings, tasks, spec) if tasks else None
    with WorkProgress(console, "dataset"):
        data = job_data.open_data(settings)
    _say(console, f"dataset   {settings.dataset.name} ({data.size_text})")
    if robot is None:
        robot = job_data.require_robot(settings, data.tasks, spec)
    for line in job_data.require_exportable(settings, data, robot):
        _say(console, f"note      {line}")
    with _open_run(settings, destination, data, started, console) as (folder, lease):
        processes.share_path(folder.checkpoints)
        _say(console, _run_text(folder))
        return _complete(settings, destination, data, folder, lease, console, began_s)


def _complete(
    settings: JobSettings,
    destination: Destination,
    data: Data,
    folder: RunFolder,
    lease: Lease | None,
    console: Console,
    began_s: float,
) -> Outcome:
    """Runs the job from training to the end, in a run's folder."""
    history = LossHistory(folder.path / "losses.jsonl")
    fitted = _fit(settings, destination, data, folder, lease, history, console)
    with WorkProgress(console, "export"):
        built = _package(settings, destination, data, folder, fitted, history)
    _say(console, f"package   {built.digest[:12]}, {built.size_bytes / 1e6:.1f} MB")
    evaluator = job_evaluation.create(
        settings, data.tasks, data.manifest_digest, folder, console
    )
    points = history.points
    built, choice = evaluator.choose_step(built)
    if choice is not None:
        _say(console, f"step      {choice.text()}")
    evaluation, samples = evaluator.evaluate(
        built, points[-1].validation_loss if points else None
    )
    baseline = evaluator.baseline(destination, settings.publish.family)
    expert = evaluator.expert(settings.expert_baseline)
    decision = bless.decide(evaluation, settings.gates, baseline)
    _sign(settings, destination, data, folder, built, evaluation, decision)
    published = settings.publish.if_blessed and decision.verdict is Verdict.BLESSED
    if lease is not None:
        lease.require_held()
    if published:
        _publish(settings, destination, built)
    outcome = Outcome(
        run_id=folder.run_id,
        decision=decision,
        evaluation=evaluation,
        expert=expert,
        train_loss=points[-1].train_loss if points else None,
        updates=settings.train.steps,
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
    _write_report(settings, data, folder, outcome, points, samples)
    if not destination.local:
        with WorkProgress(console, "upload"):
            run_backup.upload_results(
                destination.store, _copy_prefix(settings, folder), folder.path
            )
    folder.finish({"verdict": decision.verdict.value, "published": published})
    if not destination.local:
        run_backup.upload_end(
            destination.store, _copy_prefix(settings, folder), folder.path
        )
    return outcome


def follow(settings: JobSettings) -> None:
    """Trains as one of several processes, the first of which runs the job.

    Raises:
        CloudError, ModelError, RldsError: one cause each, one line.
    """
    processes.require_shared(None)
    job_data.require_trainable(settings)
    data = job_data.open_data(settings)
    _train(settings, data, processes.share_path(None), lambda progress: None)


@contextlib.contextmanager
def _open_run(
    settings: JobSettings,
    destination: Destination,
    data: Data,
    started: datetime,
    console: Console,
) -> Iterator[tuple[RunFolder, Lease | None]]:
    """Holds a run for this process alone while the block runs, wherever it is kept."""
    decided: dict[str, object] = {
        "family": settings.publish.family,
        "target": TARGET,
        "dataset_manifest": data.manifest_digest,
        "tasks": list(data.tasks),
        "training_config": _decisive(settings),
        "action_minimum": list(settings.publish.action_minimum),
        "action_maximum": list(settings.publish.action_maximum),
        "code_commit": settings.run.code_commit,
    }
    identity, family = run_folder.compute_identity(decided), settings.publish.family
    resume = settings.run.resume or None
    note = functools.partial(_say, console)
    with contextlib.ExitStack() as held:
        lease = None
        if not destination.local:
            lease = held.enter_context(
                run_lease.hold(destination.store.uri, family, identity, note)
            )
            with WorkProgress(console, "fetch"):
                run_backup.fetch(
                    destination.store,
                    family,
                    destination.family_folder,
                    identity,
                    note,
                    resume,
                )
        folder = run_folder.open_run(
            destination.family_folder,
            decided,
            started.astimezone(UTC).strftime(run_folder.STARTED_FORMAT),
            resume,
        )
        held.callback(folder.close)
        yield folder, lease


def _copy_prefix(settings: JobSettings, folder: RunFolder) -> str:
    """Returns the prefix of a run's copy in a store that is not on this machine."""
    return f"{settings.publish.family}/{folder.run_id}"


def _decisive(settings: JobSettings) -> dict[str, object]:
    """Returns the training config without the parts of a batch, which only round."""
    config = dataclasses.asdict(settings.train)
    del config["accumulation_steps"]
    return config


def _fit(
    settings: JobSettings,
    destination: Destination,
    data: Data,
    folder: RunFolder,
    lease: Lease | None,
    history: LossHistory,
    console: Console,
) -> FitResult:
    total = settings.train.steps

    def keep(checkpoint: Path) -> None:
        if lease is not None:
            lease.require_held()
        prefix = _copy_prefix(settings, folder)
        run_backup.upload_checkpoint(destination.store, prefix, checkpoint)

    with (
        WorkProgress(console, "train", total, "updates") as progress,
        figures.EventFile(folder.tensorboard, folder.continued) as events,
    ):

        def on_progress(now: Progress) -> None:
            history.add(LossPoint(now.update, now.loss, now.validation_action_loss))
            events.add(now.update, now.figures())
            detail = f"loss {now.loss:.4f}, {now.updates_per_s:.1f} updates/s"
            progress.show(now.update, detail, now.remaining_s)

        return _train(
            settings,
            data,
            folder.checkpoints,
            on_progress,
            lambda line: _say(console, line),
            on_checkpoint=None if destination.local else keep,
        )


def _train(
    settings: JobSettings,
    data: Data,
    saved: Path,
    on_progress: Callable[[Progress], None],
    on_note: Callable[[str], None] = lambda line: None,
    on_checkpoint: Callable[[Path], None] | None = None,
) -> FitResult:
    """Trains, in every process of a run; after that they work independently."""
    fitted = fit.fit(
        data.train_steps,
        data.held_out_steps,
        settings.train,
        saved,
        on_progress,
        on_note,
        mesh=mesh.make(settings.run.mesh_shape, jax.devices()),
        profile=settings.run.profile_range,
        profile_dir=saved.parent / "tensorboard",
        on_checkpoint=on_checkpoint,
    )
    # The model is whole on this process's device, so the rest needs no other process.
    processes.leave()
    return fitted


def _package(
    settings: JobSettings,
    destination: Destination,
    data: Data,
    folder: RunFolder,
    fitted: FitResult,
    history: LossHistory,
) -> BuiltPackage:
    counter = destination.channel.release_counter + 1
    limits = settings.publish.limits(data.train.spec.action_size)
    return build.export_and_build(
        fitted.model,
        data.train,
        data.validation.one_of_each_task(),
        data.tasks,
        folder.export(TARGET),
        build.PackageFacts(
            family=settings.publish.family,
            version=f"0.1.{counter}",
            release_counter=counter,
            target=TARGET,
            robot_model=build.robot_model(data.train),
            action_minimum=limits.minimum,
            action_maximum=limits.maximum,
            dataset_name=data.manifest.dataset,
            dataset_version=data.manifest.version,
            manifest_digest=data.manifest_digest,
            code_commit=settings.run.code_commit,
            hardware=build_facts.hardware_text(),
            training_config=settings.training_config(),
            metrics=_metrics(history),
        ),
        preferred_step=INT8,
    )


def _metrics(history: LossHistory) -> dict[str, object]:
    """Returns the final losses but no speed, so that equal runs give equal packages."""
    last = history.points[-1] if history.points else None
    return {
        "train_loss": None if last is None else last.train_loss,
        "held_out_loss": None if last is None else last.validation_loss,
    }


def _sign(
    settings: JobSettings,
    destination: Destination,
    data: Data,
    folder: RunFolder,
    built: BuiltPackage,
    evaluation: EvaluationReport,
    decision: Decision,
) -> None:
    now = datetime.now(UTC)
    origin = provenance.Provenance(
        package_digest=built.digest,
        dataset_manifest_digest=data.manifest_digest,
        dataset_uri=locations.public_uri(
            settings.dataset.uri, f"dataset:{_dataset_text(data, ':')}"
        ),
        dataset_name=data.manifest.dataset,
        dataset_version=data.manifest.version,
        code_commit=settings.run.code_commit,
        code_uri=project_version.code_uri(project_version.workspace()),
        hardware=build_facts.hardware_text(),
        safety_version=built.safety_version,
        export_target=TARGET,
        training_config=settings.training_config(),
        run_id=folder.run_id,
        started=folder.started,
        finished=now,
    )
    sign_statements.sign_provenance(built.folder, origin, [destination.key])
    verdict = blessing.Blessing(
        package_digest=decision.package_digest,
        verdict=decision.verdict.value,
        reasons=decision.reasons,
        report_digest=decision.report_digest,
        issued=now,
    )
    sign_statements.sign_blessing(
        built.folder, verdict, evaluation.encode(), [destination.key]
    )


def _publish(
    settings: JobSettings, destination: Destination, built: BuiltPackage
) -> None:
    now = datetime.now(UTC)
    publish.publish(
        destination.store,
        settings.publish.channel,
        built.folder,
        [destination.key],
        destination.trusted,
        now,
        now + timedelta(days=settings.publish.expires_days),
    )


def _write_report(
    settings: JobSettings,
    data: Data,
    folder: RunFolder,
    outcome: Outcome,
    points: Sequence[LossPoint],
    samples: Sequence[Trajectory],
) -> None:
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
                "dataset": _dataset_text(data),
                "dataset manifest": data.manifest_digest,
                "episodes": data.size_text,
                "code commit": settings.run.code_commit,
                "hardware": build_facts.hardware_text(),
                "tools": ", ".join(f"{name} {v}" for name, v in tools.items()),
                "package": str(outcome.package),
                "package digest": outcome.evaluation.package_digest,
                "evaluation report": outcome.evaluation.digest,
                "channel": locations.format_location(outcome.channel)
                if outcome.published
                else "not published",
                **{
                    f"training: {name}": str(value)
                    for name, value in settings.training_config().items()
                },
            },
            next_command=outcome.next_command(),
        )
    )
    durable_file.write(folder.report, page.encode())


def _dataset_text(data: Data, separator: str = " ") -> str:
    return f"{data.manifest.dataset}{separator}{data.manifest.version}"


def _run_text(folder: RunFolder) -> str:
    if not folder.continued:
        return f"run       {folder.path} starts"
    return f"run       {folder.path} continues from update {folder.updates_done:,}"


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
