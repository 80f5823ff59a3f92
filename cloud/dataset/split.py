"""One split of a curated dataset, which may be larger than memory.

Opening it reads the manifest and one small file of offsets per shard; a shard that is
new, or was rewritten since, is verified from end to end first. The steps are written
once to a mapped cache, from which training cuts windows.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

from cloud import locations
from cloud.dataset import mapped_steps, stored_episodes, version
from cloud.dataset.stored_episodes import StoredEpisodes
from cloud.dataset.training_data import TrainingData
from cloud.errors import DatasetError
from model.config import WaveCoreConfig
from rlds import manifest as manifest_format
from rlds.manifest import Manifest

OFFSETS = "offsets"
CACHES = "steps"
"""Folders of a work folder."""


@dataclasses.dataclass(frozen=True)
class DatasetSplit:
    """One split; every episode is verified when it is read.

    Attributes:
        manifest: the parsed manifest of the whole dataset.
        manifest_digest: SHA-256 of the manifest, 64 hex characters.
        split: name of the split.
        episodes: the split's episodes in the order of the shards, read on demand.
        work_folder: where offsets and caches are kept.
    """

    manifest: Manifest
    manifest_digest: str
    split: str
    episodes: StoredEpisodes
    work_folder: pathlib.Path

    def steps(
        self, tasks: Sequence[str], camera: WaveCoreConfig | None = None
    ) -> TrainingData:
        """Returns the steps of all episodes of `tasks`, mapped from a file.

        Args:
            tasks: the tasks to keep, in the order of the model's one-hot input.
            camera: the model that reads the frames; None leaves them out.

        Raises:
            DatasetError: no episode is of these tasks, or episodes do not fit
                together.
            DiskSpaceError, DiskError: the cache cannot be written.
            ShardMismatchError: a shard changed after it was verified.
        """
        chosen = self.episodes.select_tasks(tasks)
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
) -> DatasetSplit:
    """Opens one split and verifies each shard that is new or was rewritten.

    Args:
        uri_or_folder: the dataset's version folder, `…/<dataset>/vX.Y.Z`.
        split: `train` or `val`.
        work_folder: where offsets and caches are kept, on this machine.

    Raises:
        DatasetError, ManifestError: as `version.read_manifest`.
        DatasetError, ShardMismatchError, MalformedEpisodeError, DiskError: as
            `shard_offsets.load_or_make`.
    """
    uri = locations.to_uri(uri_or_folder)
    manifest = version.read_manifest(uri, split)
    episodes = stored_episodes.open_episodes(
        uri, manifest, split, work_folder / OFFSETS
    )
    digest = manifest_format.digest(manifest)
    return DatasetSplit(manifest, digest, split, episodes, work_folder)
