"""The main job as a notebook asks for it, and what it left to look at and to keep."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from base.store.store import open_store
from cloud import locations, programs
from cloud.colab import stored_package
from cloud.evaluate import trajectories as sample_trajectories
from cloud.evaluate.bless import Gates
from cloud.evaluate.settings import EvaluateSettings
from cloud.job import checkpoint_store, plots
from cloud.job.figures import LossHistory
from cloud.job.outcome import Outcome
from cloud.job.settings import TARGET, DatasetSettings, JobSettings, RunSettings
from cloud.train.config import TrainConfig
from release.trusted_keys import TrustedKeys


def given[Record](record: type[Record], **values: object) -> Record:
    """A record with these values, and its own defaults in place of each None."""
    told = {name: value for name, value in values.items() if value is not None}
    return record(**told)


def settings(
    dataset: str,
    store: str,
    work: Path,
    tasks: Sequence[str],
    train: TrainConfig,
    evaluate: EvaluateSettings,
    gates: Gates,
) -> JobSettings:
    """The job with a notebook's parameters; the rest as `//cloud:train` has it.

    A blessed package is published on the store's nightly channel with a development
    key, which robots believe only when they are told to.
    """
    keys = (locations.local_folder(locations.to_uri(store)) or work) / "keys"
    # A hosted machine forgets its home folder with everything else: what comes between
    # lies together in the folder that the notebook names.
    run = RunSettings(
        store=store,
        keys_dir=str(keys),
        cache_dir=str(work / "cache"),
        work_dir=str(work),
    )
    asked = JobSettings(
        dataset=DatasetSettings(location=dataset, tasks=tuple(tasks)),
        train=train,
        evaluate=evaluate,
        gates=gates,
        run=run,
    )
    return asked.on_this_machine(Path(programs.__file__).absolute().parent.parent)


@dataclasses.dataclass(frozen=True)
class Ran:
    """A run of the job and the folder that it left on this machine."""

    settings: JobSettings
    outcome: Outcome

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.outcome.report.parent

    @property
    def loss_curves(self) -> str:
        """Training and held-out loss over steps, SVG."""
        return plots.losses(LossHistory(self.folder / "losses.jsonl").points)

    @property
    def success(self) -> str:
        """Success per task with intervals, package beside expert, SVG."""
        tasks = self.outcome.evaluation.tasks
        model = {task: result.success for task, result in tasks.items()}
        return plots.success_per_task(model, self.outcome.expert)

    @property
    def trajectories(self) -> str:
        """The gripper's way in one episode of each task, SVG."""
        return plots.trajectories(sample_trajectories.read(self.recorded))

    @property
    def recorded(self) -> Path:
        """Folder of the episodes that were recorded while the package drove."""
        return self.folder / "samples" / "episodes"

    def keep_checkpoint(self) -> str:
        """Puts the newest checkpoint into the store, complete; returns its URI.

        Raises:
            CheckpointError: there is none, or another stands there.
            ReleaseError: the store failed.
        """
        steps = [p for p in (self.folder / "checkpoints").iterdir() if p.name.isdigit()]
        newest = max(steps, key=lambda path: int(path.name))
        store = open_store(self.settings.run.artifacts)
        place = f"{self.settings.publish.family}/{self.outcome.run_id}/checkpoints"
        checkpoint_store.upload(newest, store, f"{place}/{newest.name}")
        return f"{store.uri}/{place}/{newest.name}"

    @property
    def package_uri(self) -> str:
        """Where the edge package lies in the store."""
        run = f"{self.settings.publish.family}/{self.outcome.run_id}"
        return f"{self.settings.run.artifacts}/{run}/export/{TARGET}"

    def verified(self) -> dict[str, str]:
        """What the package in the store is; see `stored_package.verify`."""
        return stored_package.verify(
            self.package_uri,
            TrustedKeys.read(self.outcome.keyring, True),
            datetime.now(UTC),
            TARGET,
            self.outcome.evaluation.package_digest,
        )
