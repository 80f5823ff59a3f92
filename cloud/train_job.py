"""The main job as a procedure: load, train, package, evaluate, bless, publish, report.

Every step is a function of its own elsewhere; here is their order, and what each one
hands to the next.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jax
from rich.console import Console

from cloud import (
    bless,
    build_facts,
    channel_baseline,
    evaluate,
    expert_baseline,
    job_data,
    job_place,
    locations,
    mesh,
    metrics,
    package_build,
    processes,
    report,
    run_folder,
    sample_trajectories,
    step_choice,
    training,
)
from cloud.bless import Baseline, Decision, Verdict
from cloud.evaluate import Trials
from cloud.evaluation_report import EvaluationReport
from cloud.job_data import Data
from cloud.job_place import Place
from cloud.job_settings import TARGET, JobSettings
from cloud.loss_history import LossHistory, LossPoint
from cloud.outcome import Outcome
from cloud.package_build import BuiltPackage
from cloud.plots import Trajectory
from cloud.progress import WorkProgress
from cloud.run_folder import RunFolder
from cloud.success_rate import SuccessRate
from cloud.training import FitResult, Progress
from model.targets import F32, INT8
from release import blessing, provenance, publish, signing
from release.verify import VerifiedPackage
from rlds import durable_file


def run(settings: JobSettings, console: Console, started: datetime) -> Outcome:
    """Runs the whole job and returns what it came to, whatever the verdict.

    Args:
        settings: what to do.
        console: where progress is shown.
        started: the time, with a time zone.

    Raises:
        CloudError, ModelError, ReleaseError, RldsError: one cause each, one line.
    """
    began_s = time.monotonic()
    place = job_place.open_place(settings)
    data = job_data.load_data(settings)
    _say(console, f"dataset   {settings.dataset_name} ({data.size_text})")
    folder = _open_run(settings, place, data, started)
    processes.share_path(folder.checkpoints)
    _say(console, _run_text(folder))
    history = LossHistory(folder.path / "losses.jsonl")
    fitted = _fit(settings, data, folder, history, console)
    built = _package(settings, place, data, folder, fitted, history)
    _say(console, f"package   {built.digest[:12]}, {built.size_bytes / 1e6:.1f} MB")
    trials = Trials(
        environment=settings.environment,
        tasks=data.tasks,
        episodes_per_task=settings.evaluation_episodes,
        first_seed=settings.evaluation_seed,
        max_steps=settings.evaluation_max_steps,
    )
    run = (settings, data, folder, trials, history, console)
    evaluation, samples = _evaluate_sampled(built, *run)
    if step_choice.has_both(built):
        settled, choice = step_choice.settle(
            built,
            evaluation,
            lambda: _evaluate(built, *run, step=F32),
            folder.path / "step_choice.json",
        )
        _say(console, f"step      {choice.text()}")
        if settled.digest != built.digest:
            built = settled
            evaluation, samples = _evaluate_sampled(built, *run)
    baseline = _baseline(settings, place, data, folder, trials, console)
    expert = _expert(settings, folder, trials, console)
    decision = bless.decide(evaluation, settings.gates, baseline)
    _sign(settings, place, data, folder, built, decision)
    published = settings.publish and decision.verdict is Verdict.BLESSED
    if published:
        _publish(settings, place, built)
    points = history.points
    outcome = Outcome(
        run_id=folder.run_id,
        decision=decision,
        evaluation=evaluation,
        expert=expert,
        train_loss=points[-1].train_loss if points else None,
        steps=settings.train.steps,
        train_steps_per_s=fitted.steps_per_s,
        train_seconds=fitted.seconds,
        total_seconds=time.monotonic() - began_s,
        resumed_from=fitted.resumed_from,
        package=built.folder,
        report=folder.report,
        channel=settings.channel_uri,
        published=published,
        keyring=place.keyring,
        state_dir=settings.state_dir,
    )
    _write_report(settings, data, folder, outcome, points, samples)
    folder.finish({"verdict": decision.verdict.value, "published": published})
    if not place.local:
        _upload(settings, place, folder)
    folder.close()
    return outcome


def follow(settings: JobSettings) -> None:
    """Takes part in the training of a job that the first process of several runs.

    Raises:
        CloudError, ModelError, RldsError: one cause each, one line.
    """
    data = job_data.load_data(settings)
    _train(settings, data, processes.share_path(None), lambda progress: None)


def _open_run(
    settings: JobSettings, place: Place, data: Data, started: datetime
) -> RunFolder:
    return run_folder.open_run(
        place.family_folder,
        {
            "family": settings.family,
            "target": TARGET,
            "dataset_manifest": data.manifest,
            "tasks": list(data.tasks),
            "training_config": dataclasses.asdict(settings.train),
            "action_minimum": settings.action_minimum,
            "action_maximum": settings.action_maximum,
            "code_commit": settings.code_commit,
        },
        started.astimezone(UTC).strftime(run_folder.STARTED_FORMAT),
        settings.resume,
    )


def _fit(
    settings: JobSettings,
    data: Data,
    folder: RunFolder,
    history: LossHistory,
    console: Console,
) -> FitResult:
    total = settings.train.steps
    with (
        WorkProgress(console, "train", total, "steps") as shown,
        metrics.EventFile(folder.tensorboard, folder.continued) as events,
    ):

        def on_progress(now: Progress) -> None:
            history.add(LossPoint(now.step, now.loss, now.validation_action_loss))
            events.add(now.step, now.figures())
            detail = f"loss {now.loss:.4f}, {now.steps_per_s:.1f} steps/s"
            shown.show(now.step, detail, now.remaining_s)

        return _train(
            settings,
            data,
            folder.checkpoints,
            on_progress,
            lambda line: _say(console, line),
        )


def _train(
    settings: JobSettings,
    data: Data,
    saved: Path,
    on_progress: Callable[[Progress], None],
    on_note: Callable[[str], None] = lambda line: None,
) -> FitResult:
    """What every process of a run does alike."""
    return training.fit(
        data.train.episodes,
        data.validation.episodes,
        data.tasks,
        settings.train,
        saved,
        on_progress,
        on_note,
        mesh=mesh.make(settings.mesh, jax.devices()),
        profile=settings.profile,
        profile_dir=saved.parent / "tensorboard",
    )


def _package(
    settings: JobSettings,
    place: Place,
    data: Data,
    folder: RunFolder,
    fitted: FitResult,
    history: LossHistory,
) -> BuiltPackage:
    counter = place.channel.release_counter + 1
    return package_build.export_and_build(
        fitted.model,
        data.train.episodes,
        data.validation.episodes,
        data.tasks,
        folder.export(TARGET),
        package_build.PackageFacts(
            family=settings.family,
            version=f"0.1.{counter}",
            release_counter=counter,
            target=TARGET,
            action_minimum=settings.action_minimum,
            action_maximum=settings.action_maximum,
            dataset_manifest=data.manifest,
            code_commit=settings.code_commit,
            hardware=build_facts.hardware_text(),
            training_config=settings.training_config(),
            metrics=_metrics(history),
        ),
        preferred_step=INT8,
    )


def _metrics(history: LossHistory) -> dict[str, object]:
    """Losses at the end; speed stays out, so that equal runs give equal packages."""
    last = history.points[-1] if history.points else None
    return {
        "train_loss": None if last is None else last.train_loss,
        "held_out_loss": None if last is None else last.validation_loss,
    }


def _evaluate_sampled(
    built: BuiltPackage,
    settings: JobSettings,
    data: Data,
    folder: RunFolder,
    trials: Trials,
    history: LossHistory,
    console: Console,
) -> tuple[EvaluationReport, Sequence[Trajectory]]:
    with sample_trajectories.recorded(trials, built.folder, folder.samples) as sampled:
        evaluation = _evaluate(built, settings, data, folder, trials, history, console)
        samples = sampled()
    durable_file.write(folder.evaluation, evaluation.encode())
    return evaluation, samples


def _evaluate(
    built: BuiltPackage,
    settings: JobSettings,
    data: Data,
    folder: RunFolder,
    trials: Trials,
    history: LossHistory,
    console: Console,
    step: str | None = None,
) -> EvaluationReport:
    last = history.points[-1] if history.points else None
    title = "evaluate" if step is None else f"evaluate {step}"
    shown, on_progress = _roll_out_shown(console, title, trials)
    with shown:
        return evaluate.evaluate_package(
            trials,
            built.folder,
            built.digest,
            data.manifest,
            None if last is None else last.validation_loss,
            settings.workers,
            folder.logs / ("evaluation" if step is None else f"evaluation-{step}"),
            on_progress,
            step,
        )


def _roll_out_shown(
    console: Console, title: str, trials: Trials
) -> tuple[WorkProgress, evaluate.OnProgress]:
    shown = WorkProgress(console, title, trials.episodes, "episodes")
    return shown, lambda done: shown.show(done, "")


def _baseline(
    settings: JobSettings,
    place: Place,
    data: Data,
    folder: RunFolder,
    trials: Trials,
    console: Console,
) -> Baseline | None:
    with tempfile.TemporaryDirectory(dir=folder.path) as name:

        def evaluate_again(fetched: VerifiedPackage) -> EvaluationReport:
            shown, on_progress = _roll_out_shown(console, "evaluate channel", trials)
            with shown:
                return evaluate.evaluate_package(
                    trials,
                    fetched.folder,
                    fetched.digest,
                    data.manifest,
                    None,
                    settings.workers,
                    folder.logs / "baseline",
                    on_progress,
                )

        return channel_baseline.baseline(
            place.channel,
            lambda entry: channel_baseline.fetch(
                place.store,
                entry,
                place.trusted,
                datetime.now(UTC),
                Path(name) / "package",
            ),
            lambda fetched: channel_baseline.recorded_report(
                place.store, settings.family, fetched
            ),
            evaluate_again,
            lambda found: trials.made(found, data.manifest),
        )


def _expert(
    settings: JobSettings, folder: RunFolder, trials: Trials, console: Console
) -> Mapping[str, SuccessRate]:
    if settings.expert_baseline is not None:
        known = expert_baseline.read(settings.expert_baseline, trials)
        if known is not None:
            return known
    shown, on_progress = _roll_out_shown(console, "run the expert", trials)
    with shown:
        rollouts = evaluate.roll_out(
            trials,
            ["--policy=expert"],
            settings.workers,
            folder.logs / "expert",
            on_progress,
        )
    return expert_baseline.of_rollouts(rollouts)


def _sign(
    settings: JobSettings,
    place: Place,
    data: Data,
    folder: RunFolder,
    built: BuiltPackage,
    decision: Decision,
) -> None:
    now = datetime.now(UTC)
    origin = provenance.Provenance(
        package_digest=built.digest,
        dataset_manifest_digest=data.manifest,
        dataset_uri=locations.to_uri(settings.dataset),
        code_commit=settings.code_commit,
        code_uri=build_facts.code_uri(build_facts.workspace()),
        hardware=build_facts.hardware_text(),
        safety_version=built.safety_version,
        export_target=TARGET,
        training_config=settings.training_config(),
        run_id=folder.run_id,
        started=folder.started,
        finished=now,
    )
    signing.sign_provenance(built.folder, origin, [place.key])
    verdict = blessing.Blessing(
        package_digest=decision.package_digest,
        verdict=decision.verdict.value,
        reasons=decision.reasons,
        report_digest=decision.report_digest,
        issued=now,
    )
    signing.sign_blessing(built.folder, verdict, [place.key])


def _publish(settings: JobSettings, place: Place, built: BuiltPackage) -> None:
    now = datetime.now(UTC)
    publish.publish(
        place.store,
        settings.channel,
        built.folder,
        [place.key],
        place.trusted,
        now,
        now + timedelta(days=settings.expires_days),
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
    page = report.render(
        report.RunReport(
            title=f"{settings.family} for {TARGET}",
            run_id=folder.run_id,
            decision=outcome.decision,
            evaluation=outcome.evaluation,
            expert=outcome.expert,
            history=points,
            trajectories=samples,
            figures=outcome.figures(),
            provenance={
                "dataset": settings.dataset_name,
                "dataset manifest": data.manifest,
                "episodes": data.size_text,
                "code commit": settings.code_commit,
                "hardware": build_facts.hardware_text(),
                "tools": ", ".join(f"{name} {v}" for name, v in tools.items()),
                "package": str(outcome.package),
                "package digest": outcome.evaluation.package_digest,
                "evaluation report": outcome.evaluation.digest,
                "channel": outcome.channel if outcome.published else "not published",
                **{
                    f"training: {name}": str(value)
                    for name, value in settings.training_config().items()
                },
            },
            next_command=outcome.next_command(),
        )
    )
    durable_file.write(folder.report, page.encode())


def _upload(settings: JobSettings, place: Place, folder: RunFolder) -> None:
    """Copies the run's results to a store that is not on this machine."""
    for path in sorted(folder.path.rglob("*")):
        inside = path.relative_to(folder.path)
        if path.is_file() and path.name != ".lock" and inside.parts[0] != "logs":
            name = f"{settings.family}/{folder.run_id}/{inside.as_posix()}"
            place.store.put(name, path.read_bytes())


def _run_text(folder: RunFolder) -> str:
    verb = "continues" if folder.continued else "starts"
    return f"run       {folder.path} {verb}"


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
