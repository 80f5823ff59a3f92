"""The episodes of one split as a sequence that keeps none of them in memory.

A single episode is read by its byte offset. Iteration reads adjacent records together,
so that one request to a bucket returns many episodes.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

from base.store import store
from base.store.store import Store
from cloud.dataset import shard_check, shard_offsets
from cloud.dataset.shard_check import Record
from rlds.episode import Episode
from rlds.manifest import Manifest, Shard
from rlds.spec import EpisodeSpec

_READ_TOGETHER_BYTES = 8 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class StoredEpisodes(Sequence[Episode]):
    """Episodes in the order of the shards, each read on demand.

    Attributes:
        store: the store that holds the dataset version.
        records: shard and record of each episode.
    """

    store: Store
    records: tuple[tuple[Shard, Record], ...]

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> Episode: ...

    @overload
    def __getitem__(self, index: slice) -> "StoredEpisodes": ...

    def __getitem__(self, index: int | slice) -> "Episode | StoredEpisodes":
        """Returns one episode, or a part of the sequence.

        Raises:
            ShardMismatchError: the shard changed after it was verified.
        """
        if isinstance(index, slice):
            return StoredEpisodes(self.store, self.records[index])
        return shard_offsets.read_episode(self.store, *self.records[index])

    def __iter__(self) -> Iterator[Episode]:
        for shard, run in _runs(self.records):
            begin = run[0].offset
            size_bytes = sum(record.size_bytes for record in run)
            raw = self.store.get_range(shard.path, begin, size_bytes)
            where = f"{self.store.uri}/{shard.path}"
            for record in run:
                at = record.offset - begin
                framed = raw[at : at + record.size_bytes]
                yield shard_offsets.decode(where, record, framed)

    @property
    def num_steps(self) -> int:
        """Steps of all episodes."""
        return sum(record.num_steps for _, record in self.records)

    @property
    def spec(self) -> EpisodeSpec:
        """Spec of the first episode; no episode is read."""
        first = self.records[0][1]
        return EpisodeSpec(
            first.state_size,
            first.action_size,
            first.image,
            first.audio_size,
            cameras=tuple(filter(None, first.cameras.split(","))),
        )

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of the episodes, each once, sorted."""
        return tuple(sorted({record.task for _, record in self.records}))

    def select_tasks(self, tasks: Sequence[str]) -> "StoredEpisodes":
        """Returns the episodes of these tasks, in the same order."""
        wanted = tuple(entry for entry in self.records if entry[1].task in tasks)
        return StoredEpisodes(self.store, wanted)

    def one_of_each_task(self) -> "StoredEpisodes":
        """Returns the first episode of every task, in the same order."""
        first = {entry[1].task: entry for entry in reversed(self.records)}
        found = tuple(e for e in self.records if first[e[1].task] is e)
        return StoredEpisodes(self.store, found)


def open_episodes(
    uri: str, manifest: Manifest, split: str, offsets_folder: Path
) -> StoredEpisodes:
    """Opens one split; verifies each shard whose stored offsets are not valid.

    Args:
        uri: the dataset version.
        manifest: its manifest.
        split: name of the split.
        offsets_folder: where offsets are kept.

    Raises:
        DatasetError, ShardMismatchError, MalformedEpisodeError, DiskError: as
            `shard_offsets.load_or_make`.
    """
    opened = store.open_store(uri)
    named = shard_check.entries_by_digest(manifest, split)
    records: list[tuple[Shard, Record]] = []
    for shard in manifest.splits[split]:
        found = shard_offsets.load_or_make(opened, shard, named, offsets_folder)
        records += [(shard, record) for record in found]
    return StoredEpisodes(opened, tuple(records))


def _runs(
    records: Sequence[tuple[Shard, Record]],
) -> Iterator[tuple[Shard, list[Record]]]:
    """Yields runs of adjacent records of one shard that are read together."""
    run: list[Record] = []
    current: Shard | None = None
    for shard, record in records:
        if current is not None and not _continues(current, run, shard, record):
            yield current, run
            run = []
        current = shard
        run.append(record)
    if current is not None:
        yield current, run


def _continues(
    current: Shard, run: Sequence[Record], shard: Shard, record: Record
) -> bool:
    end = run[-1].offset + run[-1].size_bytes
    return (
        shard == current
        and record.offset == end
        and end + record.size_bytes - run[0].offset <= _READ_TOGETHER_BYTES
    )
