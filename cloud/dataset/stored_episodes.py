"""The episodes of one split as a sequence that holds none of them in memory.

Any one is read by its byte offset; going through all of them reads neighbouring
records together, so that a bucket is asked once for many.
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
class IndexedEpisodes(Sequence[Episode]):
    """Episodes in the order of the shards, each read when it is asked for.

    Attributes:
        store: where the dataset version lies.
        places: shard and record of each episode.
    """

    store: Store
    places: tuple[tuple[Shard, Record], ...]

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> Episode: ...

    @overload
    def __getitem__(self, index: slice) -> "IndexedEpisodes": ...

    def __getitem__(self, index: int | slice) -> "Episode | IndexedEpisodes":
        """One episode, or a part of the sequence.

        Raises:
            ShardMismatchError: the shard changed after it was indexed.
        """
        if isinstance(index, slice):
            return IndexedEpisodes(self.store, self.places[index])
        return shard_offsets.read_episode(self.store, *self.places[index])

    def __iter__(self) -> Iterator[Episode]:
        for shard, run in _runs(self.places):
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
        return sum(record.num_steps for _, record in self.places)

    @property
    def spec(self) -> EpisodeSpec:
        """What the first episode holds; no episode is read."""
        first = self.places[0][1]
        return EpisodeSpec(
            first.state_size, first.action_size, first.image, first.audio_size
        )

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of the episodes, each once, sorted."""
        return tuple(sorted({record.task for _, record in self.places}))

    def of_tasks(self, tasks: Sequence[str]) -> "IndexedEpisodes":
        """The episodes of these tasks, in the same order."""
        wanted = tuple(place for place in self.places if place[1].task in tasks)
        return IndexedEpisodes(self.store, wanted)

    def one_of_each_task(self) -> "IndexedEpisodes":
        """The first episode of every task, in the same order."""
        first = {place[1].task: place for place in reversed(self.places)}
        found = tuple(p for p in self.places if first[p[1].task] is p)
        return IndexedEpisodes(self.store, found)


def open_episodes(
    uri: str, manifest: Manifest, split: str, index_folder: Path
) -> IndexedEpisodes:
    """Opens one split; a shard whose index is not of it is verified and indexed.

    Raises:
        DatasetError, ShardMismatchError, MalformedEpisodeError, DiskError: as
            `shard_offsets.load_or_make`.
    """
    opened = store.open_store(uri)
    named = shard_check.entries_by_digest(manifest, split)
    places: list[tuple[Shard, Record]] = []
    for shard in manifest.splits[split]:
        found = shard_offsets.load_or_make(opened, shard, named, index_folder)
        places += [(shard, record) for record in found]
    return IndexedEpisodes(opened, tuple(places))


def _runs(
    places: Sequence[tuple[Shard, Record]],
) -> Iterator[tuple[Shard, list[Record]]]:
    """Neighbouring records of one shard, up to a size that is read at once."""
    run: list[Record] = []
    of: Shard | None = None
    for shard, record in places:
        if of is not None and not _continues(of, run, shard, record):
            yield of, run
            run = []
        of = shard
        run.append(record)
    if of is not None:
        yield of, run


def _continues(of: Shard, run: Sequence[Record], shard: Shard, record: Record) -> bool:
    end = run[-1].offset + run[-1].size_bytes
    return (
        shard == of
        and record.offset == end
        and end + record.size_bytes - run[0].offset <= _READ_TOGETHER_BYTES
    )
