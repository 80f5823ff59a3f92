"""The two splits that a run trains on and is held out from, verified when loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from cloud import dataset
from cloud.dataset import LoadedDataset
from cloud.errors import DatasetError
from cloud.job_settings import JobSettings


@dataclasses.dataclass(frozen=True)
class Data:
    """The two splits and the tasks that are trained."""

    train: LoadedDataset
    validation: LoadedDataset
    tasks: tuple[str, ...]

    @property
    def manifest(self) -> str:
        """Digest of the manifest, the dataset's identity."""
        return self.train.manifest_digest

    @property
    def size_text(self) -> str:
        """How much there is, for people."""
        train, validation = self.train.episodes, self.validation.episodes
        return (
            f"{len(train)} train and {len(validation)} held-out episodes, "
            f"{len(self.tasks)} tasks"
        )


def load_data(settings: JobSettings) -> Data:
    """Loads both splits, every shard checked against the manifest.

    Raises:
        DatasetError: a split is missing, or a wanted task is not in it.
        ShardMismatchError: a shard changed.
    """
    train = dataset.load(settings.dataset, "train")
    validation = dataset.load(settings.dataset, "val")
    known = sorted({episode.metadata.task for episode in train.episodes})
    tasks = known if settings.tasks is None else sorted(settings.tasks)
    absent = sorted(set(tasks) - set(known))
    if absent or not tasks:
        raise DatasetError(
            f"{settings.dataset_name}: expected episodes of {absent or 'some task'}, "
            f"got episodes of {known}; name other --tasks or another --dataset"
        )
    if settings.tasks is not None:
        train = _only(train, tasks)
        validation = _only(validation, tasks)
    return Data(train, validation, tuple(tasks))


def _only(loaded: LoadedDataset, tasks: Sequence[str]) -> LoadedDataset:
    wanted = [e for e in loaded.episodes if e.metadata.task in tasks]
    return dataclasses.replace(loaded, episodes=wanted)
