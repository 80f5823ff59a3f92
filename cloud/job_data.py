"""The two splits that a run trains on and is held out from, refused here or never.

Shards that are new or were written again are verified from end to end; the steps of
each split are mapped from a file, which is written when there is none of these data.
A run that is resumed finds both and reads no episode.
"""

from __future__ import annotations

import dataclasses

import jax

from cloud import indexed_dataset, memory_check, trained_model
from cloud.errors import DatasetError
from cloud.indexed_dataset import IndexedDataset
from cloud.indexed_episodes import IndexedEpisodes
from cloud.job_settings import JobSettings
from cloud.training_data import TrainingData
from model.config import WaveCoreConfig


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


def open_data(settings: JobSettings) -> Data:
    """Opens both splits and refuses what cannot be trained, before time is spent.

    Raises:
        DatasetError: a split is missing, or a wanted task is not in it.
        ShardMismatchError, MalformedEpisodeError: a shard is not the manifest's, or
            was written again and is not any more.
        MemoryShortError: the preset needs more memory than there is; no steps were
            written.
        DiskSpaceError, DiskError: indexes or steps cannot be written.
        FrameError: an image does not decode.
    """
    train, validation = (
        indexed_dataset.open_split(settings.dataset, split, settings.cache_folder)
        for split in ("train", "val")
    )
    tasks = _tasks(settings, train)
    chosen, held_out = (s.episodes.of_tasks(tasks) for s in (train, validation))
    model = trained_model.sizes(settings.train, chosen.spec, len(tasks))
    memory_check.require(settings.train, model, settings.mesh, jax.local_devices())
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


def _tasks(settings: JobSettings, train: IndexedDataset) -> tuple[str, ...]:
    known = train.episodes.tasks
    tasks = known if settings.tasks is None else tuple(sorted(settings.tasks))
    absent = sorted(set(tasks) - set(known))
    if absent or not tasks:
        raise DatasetError(
            f"{settings.dataset_name}: expected episodes of {absent or 'some task'}, "
            f"got episodes of {list(known)}; name other --tasks or another --dataset"
        )
    return tasks
