"""Episodes on their way into a version: all in one file, and what is known of each."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from base.digest import sha256_bytes
from cloud.curate import feature_statistics
from cloud.curate.feature_statistics import Moments
from cloud.curate.plan import TRAIN, KeptEpisode, ShardResult
from cloud.dataset import recorded_robot
from rlds import example_codec, tfrecord
from rlds.episode import Episode
from rlds.errors import MalformedEpisodeError


@dataclasses.dataclass(frozen=True)
class Spooled:
    """One episode in the file.

    Attributes:
        offset: where it begins.
        size_bytes: its size with the frame.
        split: the split of the source that it came from.
        kept: what the version states of it; its moments are always measured.
        task: what the robot was asked to do.
    """

    offset: int
    size_bytes: int
    split: str
    kept: KeptEpisode
    task: str


class Spool:
    """Takes episodes one after the other; then they are copied in another order."""

    def __init__(self, path: pathlib.Path) -> None:
        """Creates the file, which must not be there."""
        self._path = path
        self._file: BinaryIO = path.open("xb")
        self._end = 0
        self.episodes: dict[str, Spooled] = {}

    def add(self, episode: Episode, split: str) -> None:
        """Appends an episode.

        Raises:
            MalformedEpisodeError: it is larger than readers take, or its id is there.
            OSError: the disk is full or failed.
        """
        name = episode.metadata.episode_id
        if name in self.episodes:
            raise MalformedEpisodeError(name, "each episode once", "twice")
        record = example_codec.encode(episode)
        if len(record) > example_codec.LIMIT_BYTES - tfrecord.OVERHEAD_SIZE_BYTES:
            raise MalformedEpisodeError(
                "steps", f"at most {example_codec.LIMIT_BYTES} bytes", len(record)
            )
        framed = tfrecord.frame(record)
        self._file.write(framed)
        kept = KeptEpisode(
            name,
            sha256_bytes(framed),
            episode.num_steps,
            recorded_robot.measure_period_ns(episode.steps["t_monotonic_ns"]),
            _measure(episode),
        )
        self.episodes[name] = Spooled(
            self._end, len(framed), split, kept, episode.metadata.task
        )
        self._end += len(framed)

    def write_shards(
        self, folder: pathlib.Path, shards: Mapping[tuple[str, int], Sequence[str]]
    ) -> list[ShardResult]:
        """Copies the episodes to their shards, and closes the file.

        Args:
            folder: where the shards are written.
            shards: names of the episodes of each shard, by split and number.

        Raises:
            OSError: the disk is full or failed.
        """
        self._file.close()
        with self._path.open("rb") as source:
            return [
                self._write(source, folder, split, shard, names)
                for (split, shard), names in shards.items()
            ]

    def _write(
        self,
        source: BinaryIO,
        folder: pathlib.Path,
        split: str,
        shard: int,
        names: Sequence[str],
    ) -> ShardResult:
        path = folder / f"{split}-{shard:05d}.tfrecord"
        digest, size_bytes = hashlib.sha256(), 0
        with path.open("xb") as stream:
            for name in names:
                one = self.episodes[name]
                source.seek(one.offset)
                framed = source.read(one.size_bytes)
                stream.write(framed)
                digest.update(framed)
                size_bytes += len(framed)
        kept = tuple(self.episodes[name].kept for name in names)
        if split != TRAIN:  # statistics are of what is learned from
            kept = tuple(dataclasses.replace(one, moments={}) for one in kept)
        return ShardResult(split, shard, path, digest.hexdigest(), size_bytes, kept, {})

    def close(self) -> None:
        """Closes the file; does nothing if it is closed."""
        self._file.close()


def _measure(episode: Episode) -> dict[str, Moments]:
    return {
        name: feature_statistics.measure(episode.steps[name])
        for name in feature_statistics.FEATURES
    }
