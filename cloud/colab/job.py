"""The main job as a notebook runs it, and its results to look at and to keep."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from base.store.store import open_store
from cloud import locations, programs
from cloud.colab import stored_package
from cloud.evaluate import trajectories as sample_trajectories
from cloud.evaluate.report import EvaluationReport
from cloud.evaluate.settings import EvaluateSettings
from cloud.evaluate.verdict import Gates
from cloud.job import checkpoint_store, plots
from cloud.job.figures import LossHistory
from cloud.job.outcome import Outcome
from cloud.job.settings import TARGET, DatasetSettings, JobSettings, RunSettings
from cloud.train.config import TrainConfig
from release.trusted_keys import TrustedKeys


def given[Record](record: type[Record], **values: object) -> Record:
    """Creates a record with these values; each None means the record's default."""
    chosen = {name: value for name, value in values.items() if value is not None}
    return record(**chosen)


def settings(
    dataset: str,
    store: str,
    work: Path,
    tasks: Sequence[str],
    train: TrainConfig,
    evaluate: EvaluateSettings,
    gates: Gates,
) -> JobSettings:
    """Returns the settings of the job from a notebook's parameters.

    The other settings have the defaults of `//cloud:train`. A blessed package is
    published on the store's nightly channel with a development key, which robots trust
    only with --allow_development_keys.
    """
    # A hosted machine loses its home folder with everything else, so intermediate files
    # are kept together in the folder that the notebook names.
    local = locations.local_folder(locations.to_uri(store))
    run = RunSettings(
        store=str(local or work),
        artifacts="" if local else store,
        cache_dir=str(work / "cache"),
        work_dir=str(work),
    )
    requested = JobSettings(
        dataset=DatasetSettings(location=dataset, tasks=tuple(tasks)),
        train=train,
        evaluate=evaluate,
        gates=gates,
        run=run,
    )
    return requested.on_this_machine(Path(programs.__file__).absolute().parent.parent)


@dataclasses.dataclass(frozen=True)
class Ran:
    """A run of the job and its folder on this machine."""

    settings: JobSettings
    outcome: Outcome

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.outcome.report.parent

    @property
    def loss_curves(self) -> str:
        """Plot of training and held-out loss over updates, SVG."""
        return plots.losses(LossHistory(self.folder / "losses.jsonl").points)

    @property
    def success(self) -> str:
        """Plot of success per task with intervals, package beside expert, SVG."""
        found = self.outcome.evaluation
        assert isinstance(found, EvaluationReport), "a notebook's robots are simulated"
        model = {task: result.success for task, result in found.tasks.items()}
        return plots.success_per_task(model, self.outcome.expert)

    @property
    def trajectories(self) -> str:
        """Plot of the gripper's path in one episode of each task, SVG."""
        return plots.trajectories(sample_trajectories.read(self.recorded))

    @property
    def recorded(self) -> Path:
        """Folder of the episodes that were recorded during the evaluation."""
        return self.folder / "samples" / "episodes"

    def keep_checkpoint(self) -> str:
        """Uploads the newest checkpoint to the store; returns its URI.

        Raises:
            CheckpointError: there is no checkpoint, or another one is in the store.
            StoreError: the store failed.
        """
        saved = [p for p in (self.folder / "checkpoints").iterdir() if p.name.isdigit()]
        newest = max(saved, key=lambda path: int(path.name))
        store = open_store(self.settings.run.artifacts_uri)
        prefix = f"{self.settings.publish.family}/{self.outcome.run_id}/checkpoints"
        checkpoint_store.upload(newest, store, f"{prefix}/{newest.name}")
        return f"{store.uri}/{prefix}/{newest.name}"

    @property
    def package_uri(self) -> str:
        """URI of the edge package in the store."""
        run = f"{self.settings.publish.family}/{self.outcome.run_id}"
        return f"{self.settings.run.artifacts_uri}/{run}/export/{TARGET}"

    def verified(self) -> dict[str, str]:
        """Verifies and describes the package in the store: `stored_package.verify`."""
        return stored_package.verify(
            self.package_uri,
            TrustedKeys.read(self.outcome.keyring, True),
            datetime.now(UTC),
            TARGET,
            self.outcome.evaluation.package_digest,
        )
