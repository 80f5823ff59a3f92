"""The two splits that a run trains on and is held out from, refused here or never.

What the dataset says of its episodes decides, before a shard is read, whether the
model can be trained and evaluated here. Shards that are new or were written again are
verified from end to end; the steps of each split are mapped from a file, which is
written when there is none of these data. A run that is resumed finds both and reads no
episode.
"""

from __future__ import annotations

import dataclasses

import jax

from cloud.dataset import split as indexed_dataset
from cloud.dataset import version
from cloud.dataset.split import IndexedDataset
from cloud.dataset.stored_episodes import IndexedEpisodes
from cloud.dataset.training_data import TrainingData
from cloud.errors import DatasetError
from cloud.job.settings import JobSettings
from cloud.train import feasible
from cloud.train import model as trained_model
from model.config import WaveCoreConfig
from rlds.spec import EpisodeSpec


@dataclasses.dataclass(frozen=True)
class Data:
    """What a run trains on, is held out from, and describes its package by.

    Attributes:
        manifest: digest of the manifest, the dataset's identity.
        tasks: the tasks that are trained.
        train: episodes to learn from, read on demand.
        validation: held-out episodes, the same; none of these tasks is allowed.
        train_steps: all steps to learn from, mapped.
        held_out_steps: all held-out steps, mapped; None without any.
        model: sizes of the model, with the senses that the train episodes have.
    """

    manifest: str
    tasks: tuple[str, ...]
    train: IndexedEpisodes
    validation: IndexedEpisodes
    train_steps: TrainingData
    held_out_steps: TrainingData | None
    model: WaveCoreConfig

    @property
    def size_text(self) -> str:
        """How much there is, for people."""
        return (
            f"{len(self.train)} train and {len(self.validation)} held-out episodes, "
            f"{len(self.tasks)} tasks"
        )


def require_trainable(settings: JobSettings) -> None:
    """Refuses a model that cannot be trained or evaluated here; no shard is read.

    How many tasks there are is known from the shards alone. Each is one row of the
    model's first matrix, which is nothing beside the rest.

    Raises:
        DatasetError, ManifestError, DatasetFolderError: there is no dataset version.
        BlindRobotError: the robot that evaluates lacks a sense of the model.
        MemoryShortError: the preset needs more memory than there is.
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
    """Opens both splits and refuses what cannot be trained, before time is spent.

    Raises:
        DatasetError: a split is missing, a wanted task is not in it, or the episodes
            are not what the dataset says of them.
        ShardMismatchError, MalformedEpisodeError: a shard is not the manifest's, or
            was written again and is not any more.
        DiskSpaceError, DiskError: indexes or steps cannot be written.
        FrameError: an image does not decode.
    """
    train, validation = (
        indexed_dataset.open_split(
            settings.dataset.uri, split, settings.run.cache_folder
        )
        for split in ("train", "val")
    )
    tasks = _tasks(settings, train)
    chosen, held_out = (s.episodes.of_tasks(tasks) for s in (train, validation))
    _require_as_told(settings, chosen.spec)
    model = trained_model.sizes(settings.train, chosen.spec, len(tasks))
    camera = model if model.image_height else None
    return Data(
        manifest=train.manifest_digest,
        tasks=tasks,
        train=chosen,
        validation=held_out,
        train_steps=train.steps(tasks, camera),
        held_out_steps=validation.steps(tasks, camera) if held_out else None,
        model=model,
    )


def _require_as_told(settings: JobSettings, found: EpisodeSpec) -> None:
    told = version.read_spec(settings.dataset.uri)
    if found != told:
        raise DatasetError(
            settings.dataset.name,
            f"episodes of {told} as the dataset says",
            found,
            "copy the whole folder that //cloud:curate wrote",
        )


def _tasks(settings: JobSettings, train: IndexedDataset) -> tuple[str, ...]:
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
