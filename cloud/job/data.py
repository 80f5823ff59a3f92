"""Opens the training and validation splits; checks what could make training fail later.

The dataset's description of its episodes decides, before a shard is read, whether the
model can be trained and evaluated here. Shards that are new or were rewritten are
verified from end to end. The steps of each split are mapped from a file, which is
written first if it is missing. A resumed run finds both and reads no episode.
"""

from __future__ import annotations

import dataclasses

import jax

from cloud.dataset import split as dataset_split
from cloud.dataset import version
from cloud.dataset.split import DatasetSplit
from cloud.dataset.stored_episodes import StoredEpisodes
from cloud.dataset.training_data import TrainingData
from cloud.errors import DatasetError
from cloud.job.settings import JobSettings
from cloud.train import feasible, trained_model
from model.config import WaveCoreConfig
from rlds.spec import EpisodeSpec


@dataclasses.dataclass(frozen=True)
class Data:
    """The data that a run trains and validates on, and describes in its package.

    Attributes:
        dataset: name of the dataset.
        version: its version, `X.Y.Z`.
        manifest_digest: digest of the dataset's manifest, 64 hex characters.
        tasks: the tasks that are trained.
        train: episodes to learn from, read on demand.
        validation: held-out episodes of these tasks, read on demand; may be empty.
        train_steps: all steps to learn from, mapped from a file.
        held_out_steps: all held-out steps, mapped from a file; None if there are none.
        model: sizes of the model, with the senses that the train episodes have.
    """

    dataset: str
    version: str
    manifest_digest: str
    tasks: tuple[str, ...]
    train: StoredEpisodes
    validation: StoredEpisodes
    train_steps: TrainingData
    held_out_steps: TrainingData | None
    model: WaveCoreConfig

    @property
    def size_text(self) -> str:
        """Numbers of episodes and tasks, for people."""
        return (
            f"{len(self.train)} train and {len(self.validation)} held-out episodes, "
            f"{len(self.tasks)} tasks"
        )


def require_trainable(settings: JobSettings) -> None:
    """Refuses a model that cannot be trained or evaluated here; reads no shard.

    Without --tasks the number of tasks is unknown until the shards are read, so one is
    assumed. A task is one row of the model's first matrix, which needs little memory.

    Raises:
        DatasetError, ManifestError, DatasetFolderError: there is no dataset version.
        BlindRobotError: the robot that evaluates lacks a sense of the model.
        MemoryShortError: the preset needs more memory than is available.
    """
    uri = settings.dataset.uri
    version.read_manifest(uri, "train")
    model = trained_model.sizes(
        settings.train, version.read_spec(uri), len(settings.dataset.tasks or ("any",))
    )
    feasible.require_senses(model, settings.evaluate.environment)
    feasible.require_memory(
        settings.train, model, settings.run.mesh_shape, jax.local_devices()
    )


def open_data(settings: JobSettings) -> Data:
    """Opens both splits and refuses data that cannot be trained on.

    Raises:
        DatasetError: a split is missing or lacks a requested task, or the episodes
            differ from the dataset's description of them.
        ShardMismatchError, MalformedEpisodeError: a shard differs from the manifest or
            does not decode.
        DiskSpaceError, DiskError: offsets or steps cannot be written.
        FrameError: an image does not decode.
    """
    train, validation = (
        dataset_split.open_split(settings.dataset.uri, split, settings.run.cache_folder)
        for split in ("train", "val")
    )
    tasks = _tasks(settings, train)
    chosen, held_out = (s.episodes.select_tasks(tasks) for s in (train, validation))
    _require_described(settings, chosen.spec)
    model = trained_model.sizes(settings.train, chosen.spec, len(tasks))
    camera = model if model.image_height else None
    return Data(
        dataset=train.manifest.dataset,
        version=train.manifest.version,
        manifest_digest=train.manifest_digest,
        tasks=tasks,
        train=chosen,
        validation=held_out,
        train_steps=train.steps(tasks, camera),
        held_out_steps=validation.steps(tasks, camera) if held_out else None,
        model=model,
    )


def _require_described(settings: JobSettings, found: EpisodeSpec) -> None:
    described = version.read_spec(settings.dataset.uri)
    if found != described:
        raise DatasetError(
            settings.dataset.name,
            f"episodes of {described} as the dataset says",
            found,
            "copy the whole folder that //cloud:curate wrote",
        )


def _tasks(settings: JobSettings, train: DatasetSplit) -> tuple[str, ...]:
    known = train.episodes.tasks
    tasks = tuple(sorted(settings.dataset.tasks)) or known
    absent = sorted(set(tasks) - set(known))
    if absent or not tasks:
        raise DatasetError(
            settings.dataset.name,
            f"episodes of {absent or 'some task'}",
            f"episodes of {list(known)}",
            "name other --tasks or another --dataset",
        )
    return tasks
