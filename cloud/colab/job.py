"""The main job as a notebook asks for it, and what it left to look at and to keep."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import jax

from base.store.store import open_store
from cloud import build_facts, locations, programs
from cloud.colab import stored_package
from cloud.evaluate import trajectories as sample_trajectories
from cloud.evaluate.bless import Gates
from cloud.job import checkpoint_store, plots
from cloud.job.figures import LossHistory
from cloud.job.outcome import Outcome
from cloud.job.settings import ARTIFACTS, TARGET, JobSettings
from cloud.train import mesh
from cloud.train.config import TrainConfig
from release.trusted_keys import TrustedKeys

EVALUATION_SEED = 10_000
"""Above the seeds of the demo episodes: the package never saw these placements."""
REQUIRED_DISK_BYTES = 500_000_000
_CHANNEL_DAYS = 30.0


def settings(
    dataset: str,
    store: str,
    work: Path,
    tasks: Sequence[str],
    train: TrainConfig,
    evaluation_episodes: int,
    evaluation_max_steps: int,
    gates: Gates,
) -> JobSettings:
    """The job with a notebook's parameters; the rest as `//cloud:train` has it.

    A blessed package is published on the store's nightly channel with a development
    key, which robots believe only when they are told to.
    """
    store = locations.to_uri(store)
    checkout = Path(programs.__file__).absolute().parent.parent
    return JobSettings(
        dataset=dataset,
        dataset_name=dataset,
        store=store,
        keys_folder=(locations.local_folder(store) or work) / "keys",
        work_folder=work,
        cache_folder=work / "cache",
        family="wavecore",
        channel="nightly",
        publish=True,
        expires_days=_CHANNEL_DAYS,
        tasks=tuple(tasks),
        train=train.for_platform(jax.default_backend(), jax.device_count()),
        mesh=mesh.MeshShape(data=jax.device_count()),
        processes=1,
        profile=None,
        environment=sample_trajectories.ENVIRONMENT,
        evaluation_episodes=evaluation_episodes,
        evaluation_seed=EVALUATION_SEED,
        evaluation_max_steps=evaluation_max_steps,
        workers=2,
        gates=gates,
        expert_baseline=None,
        action_minimum=-1.0,
        action_maximum=1.0,
        code_commit=build_facts.code_commit(checkout),
        resume=None,
        required_disk_bytes=REQUIRED_DISK_BYTES,
    )


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
        store = open_store(self.settings.artifacts)
        place = f"{self.settings.family}/{self.outcome.run_id}/checkpoints"
        checkpoint_store.upload(newest, store, f"{place}/{newest.name}")
        return f"{store.uri}/{place}/{newest.name}"

    @property
    def package_uri(self) -> str:
        """Where the edge package lies in the store."""
        run = f"{self.settings.family}/{self.outcome.run_id}"
        return f"{self.settings.store}/{ARTIFACTS}/{run}/export/{TARGET}"

    def verified(self) -> dict[str, str]:
        """What the package in the store is; see `stored_package.verify`."""
        return stored_package.verify(
            self.package_uri,
            TrustedKeys.read(self.outcome.keyring, True),
            datetime.now(UTC),
            TARGET,
            self.outcome.evaluation.package_digest,
        )
