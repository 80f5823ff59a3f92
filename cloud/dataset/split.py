"""One split of a curated dataset that need not fit in memory.

Opening it reads the manifest and one small index per shard; a shard that was not seen
before, or was written again since, is verified from end to end and indexed on the way.
Its steps become a mapped cache once, from which training cuts windows.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

from cloud import locations
from cloud.dataset import mapped_steps, stored_episodes, version
from cloud.dataset.stored_episodes import IndexedEpisodes
from cloud.dataset.training_data import TrainingData
from cloud.errors import DatasetError
from model.config import WaveCoreConfig
from rlds import manifest as manifest_format
from rlds.manifest import Manifest

INDEXES = "indexes"
CACHES = "steps"


@dataclasses.dataclass(frozen=True)
class IndexedDataset:
    """One split; every episode is proven when it is read.

    Attributes:
        manifest: the parsed manifest of the whole dataset.
        manifest_digest: SHA-256 of the manifest, the dataset's identity.
        split: name of the split.
        episodes: the split's episodes in the order of the shards, read on demand.
        work_folder: where indexes and caches are kept.
    """

    manifest: Manifest
    manifest_digest: str
    split: str
    episodes: IndexedEpisodes
    work_folder: pathlib.Path

    def steps(
        self, tasks: Sequence[str], camera: WaveCoreConfig | None = None
    ) -> TrainingData:
        """The steps of all episodes of `tasks`, mapped from a file.

        Args:
            tasks: the tasks to keep, in the order the model tells them apart.
            camera: the model that images are decoded for; None leaves them out.

        Raises:
            DatasetError: no episode is of these tasks, or episodes do not fit
                together.
            DiskSpaceError, DiskError: the cache cannot be written.
            ShardMismatchError: a shard changed after it was indexed.
        """
        chosen = self.episodes.of_tasks(tasks)
        if not chosen:
            raise DatasetError(
                f"{self.manifest.dataset} {self.manifest.version}",
                f"episodes of {', '.join(tasks)} in {self.split}",
                f"episodes of {', '.join(self.episodes.tasks)}",
                "name other tasks",
            )
        source = mapped_steps.CacheSource(
            self.manifest_digest,
            self.split,
            tuple(tasks),
            chosen.spec.state_size,
            chosen.spec.action_size,
            chosen.num_steps,
            camera,
        )
        return mapped_steps.open_data(self.work_folder / CACHES, source, chosen)


def open_split(
    uri_or_folder: str | pathlib.Path, split: str, work_folder: pathlib.Path
) -> IndexedDataset:
    """Opens one split, and verifies each shard that is new or was written again.

    Args:
        uri_or_folder: the dataset's version folder, `…/<dataset>/vX.Y.Z`.
        split: `train` or `val`.
        work_folder: where indexes and caches are kept, on this machine.

    Raises:
        DatasetError, ManifestError: as `version.read_manifest`.
        DatasetError, ShardMismatchError, MalformedEpisodeError, DiskError: as
            `shard_offsets.load_or_make`.
    """
    uri = locations.to_uri(uri_or_folder)
    manifest = version.read_manifest(uri, split)
    episodes = stored_episodes.open_episodes(
        uri, manifest, split, work_folder / INDEXES
    )
    digest = manifest_format.digest(manifest)
    return IndexedDataset(manifest, digest, split, episodes, work_folder)
