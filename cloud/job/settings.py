"""Everything the main job can be told, as one frozen record."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cloud import locations
from cloud.evaluate.bless import Gates
from cloud.train.config import TrainConfig
from cloud.train.mesh import MeshShape
from cloud.train.profile import ProfileRange

ARTIFACTS = "continuon-model-artifacts"
TARGET = "pi5-cpu"


@dataclasses.dataclass(frozen=True)
class JobSettings:
    """One run of the main job.

    Attributes:
        dataset: folder or URI of a dataset version.
        dataset_name: the same as people know it; Bazel's folders have long paths.
        store: URI that artifacts and channels live below.
        keys_folder: folder of the development key, on this machine.
        work_folder: folder for runs whose store is not on this machine.
        cache_folder: folder on this machine for what is made of the dataset once:
            indexes and mapped steps. It may be removed between runs.
        family: name shared by all versions of the model.
        channel: the channel to publish on.
        publish: whether a blessed package is published.
        expires_days: days until devices stop believing the channel.
        tasks: the tasks to train and evaluate, None for all of the dataset.
        train: how to train, with the dtype decided.
        mesh: devices along each axis, over all processes.
        processes: processes that train together; the first alone writes reports.
        profile: training steps to trace, None for none.
        environment: kind of simulated robot that evaluates.
        evaluation_episodes: closed-loop episodes of each task.
        evaluation_seed: seed of each task's first episode.
        evaluation_max_steps: steps after which an episode ends.
        workers: evaluating processes at once.
        gates: what a package must show.
        expert_baseline: file with the expert's success, None to run the expert.
        action_minimum: lowest action of each channel.
        action_maximum: highest action of each channel.
        code_commit: commit of the training code.
        resume: id of the run to continue, None for any unfinished identical one.
        required_disk_bytes: free disk that a run needs before it starts.
    """

    dataset: str
    dataset_name: str
    store: str
    keys_folder: Path
    work_folder: Path
    cache_folder: Path
    family: str
    channel: str
    publish: bool
    expires_days: float
    tasks: tuple[str, ...] | None
    train: TrainConfig
    mesh: MeshShape
    processes: int
    profile: ProfileRange | None
    environment: str
    evaluation_episodes: int
    evaluation_seed: int
    evaluation_max_steps: int
    workers: int
    gates: Gates
    expert_baseline: Path | None
    action_minimum: float
    action_maximum: float
    code_commit: str
    resume: str | None
    required_disk_bytes: int

    @property
    def artifacts(self) -> str:
        """URI of the store of runs, packages and channels."""
        return f"{self.store.rstrip('/')}/{ARTIFACTS}"

    @property
    def channel_uri(self) -> str:
        """URI of the channel file, as `//edge:run` takes it."""
        return f"{self.artifacts}/channels/{self.channel}.json"

    @property
    def state_dir(self) -> Path:
        """Folder that the suggested command lets the robot keep its state in.

        Beside a store on this machine: each store counts its releases from 1, and a
        robot that took release 1 of one refuses release 1 of another.
        """
        local = locations.local_folder(self.store)
        return (self.work_folder if local is None else local) / "robot"

    def training_config(self) -> dict[str, object]:
        """Every training setting, as it is written into the package.

        A run may continue on another mesh than it began on; this is the one it ends
        on, which is why it is no part of the run's identity.
        """
        where = {"mesh": str(self.mesh), "processes": self.processes}
        return dataclasses.asdict(self.train) | where
