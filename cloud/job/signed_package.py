"""A run's package: exported from the model, signed with its origin, published."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from base import project_version
from cloud import build_facts, locations
from cloud.evaluate.verdict import Decision
from cloud.job import data as job_data
from cloud.job.figures import LossHistory
from cloud.job.held_run import HeldRun
from cloud.job.settings import TARGET
from cloud.package import build
from cloud.package.build import BuiltPackage
from cloud.train.fit import FitResult
from model.export.targets import INT8
from release import blessing, provenance
from release.signing import publish as release_publish
from release.signing import sign_statements


def export(run: HeldRun, fitted: FitResult, history: LossHistory) -> BuiltPackage:
    """Exports the model and builds the package, unsigned, in the run's folder.

    Raises:
        ModelError, ReleaseError: the model cannot be exported.
    """
    settings, data = run.settings, run.data
    counter = run.destination.channel.release_counter + 1
    limits = settings.publish.limits(data.train.spec.action_size)
    return build.export_and_build(
        fitted.model,
        data.train,
        data.validation.one_of_each_task(),
        data.tasks,
        run.folder.export(TARGET),
        build.PackageFacts(
            family=settings.publish.family,
            version=f"0.1.{counter}",
            release_counter=counter,
            target=TARGET,
            robot_model=job_data.robot_model(data, settings.dataset.name),
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


def sign(run: HeldRun, built: BuiltPackage, report: bytes, decision: Decision) -> None:
    """Signs where the package comes from, and the verdict on it with its report.

    Args:
        run: the run.
        built: its package.
        report: canonical bytes of the report that the verdict rests on.
        decision: the verdict.

    Raises:
        ReleaseError: the package is not what was built.
    """
    settings, data, now = run.settings, run.data, datetime.now(UTC)
    named = f"dataset:{data.manifest.dataset}:{data.manifest.version}"
    origin = provenance.Provenance(
        package_digest=built.digest,
        dataset_manifest_digest=data.manifest_digest,
        dataset_uri=locations.public_uri(settings.dataset.uri, named),
        dataset_name=data.manifest.dataset,
        dataset_version=data.manifest.version,
        code_commit=settings.run.code_commit,
        code_uri=project_version.code_uri(project_version.workspace()),
        hardware=build_facts.hardware_text(),
        safety_version=built.safety_version,
        export_target=TARGET,
        training_config=settings.training_config(),
        run_id=run.folder.run_id,
        started=run.folder.started,
        finished=now,
        evidence=decision.evidence,
    )
    keys = [run.destination.key]
    sign_statements.sign_provenance(built.folder, origin, keys)
    verdict = blessing.Blessing(
        package_digest=decision.package_digest,
        verdict=decision.verdict.value,
        reasons=decision.reasons,
        report_digest=decision.report_digest,
        issued=now,
        evidence=decision.evidence,
    )
    sign_statements.sign_blessing(built.folder, verdict, report, keys)


def publish(run: HeldRun, built: BuiltPackage) -> None:
    """Publishes the package on the job's channel.

    Raises:
        ReleaseError, StoreError: the channel does not take it.
    """
    destination, now = run.destination, datetime.now(UTC)
    release_publish.publish(
        destination.store,
        run.settings.publish.channel,
        built.folder,
        [destination.key],
        destination.trusted,
        now,
        now + timedelta(days=run.settings.publish.expires_days),
    )
