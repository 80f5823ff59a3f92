"""The one check of a whole shard against the manifest.

A shard is read in blocks and compared with the manifest twice: every record must be an
episode whose digest is in the manifest, before it is decoded, and all bytes together
must have the shard's digest. Training runs this check when it opens a shard that is new
or was rewritten, and curation when the version that it is asked to write exists
already.
"""

import dataclasses
import hashlib
from collections.abc import Mapping

from base.digest import sha256_bytes
from base.errors import NotFoundError, OversizedError
from base.store.store import Store
from cloud.dataset import recorded_robot
from cloud.errors import DatasetError
from rlds import example_codec, tfrecord
from rlds.episode import Episode
from rlds.errors import CorruptRecordError, MalformedEpisodeError, ShardMismatchError
from rlds.manifest import EpisodeEntry, Manifest, Shard

_BLOCK_BYTES = 8 * 1024 * 1024
_RECORD_LIMIT_BYTES = 256 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Record:
    """One episode of a shard.

    Attributes:
        offset: start of its frame in the shard, in bytes.
        size_bytes: size of the record with its frame.
        num_steps: number of steps of the episode.
        state_size: numbers in a state.
        action_size: numbers in an action.
        image: whether each step has a picture of a camera without a name.
        cameras: names of the cameras of which each step has a picture, joined by
            commas.
        audio_size: numbers of sound per step, 0 without sound.
        sha256: digest of the record with its frame, as in the manifest.
        task: the episode's task.
        robot_model: the machine that recorded it.
        period_ns: median time between two steps; None of a single step.
    """

    offset: int
    size_bytes: int
    num_steps: int
    state_size: int
    action_size: int
    image: bool
    cameras: str
    audio_size: int
    sha256: str
    task: str
    robot_model: str
    period_ns: int | None


def entries_by_digest(manifest: Manifest, split: str) -> dict[str, EpisodeEntry]:
    """Returns the episodes of a split by the digest of their framed bytes."""
    return {e.sha256: e for e in manifest.episodes if e.split == split}


def verify_shard(
    store: Store, shard: Shard, episodes: Mapping[str, EpisodeEntry]
) -> tuple[Record, ...]:
    """Returns the records of a shard, in order, after verifying all its bytes.

    Args:
        store: the store that holds the dataset version.
        shard: the manifest's entry.
        episodes: the manifest's episodes of the shard's split; see
            `entries_by_digest`.

    Raises:
        ShardMismatchError: the shard is missing, or its bytes differ from the manifest.
        MalformedEpisodeError: an episode of the manifest does not decode, has NaN, or
            has another shape than `rlds.spec` says.
        DatasetError: the number of episodes or of steps differs from the manifest.
    """
    where = f"{shard.path} of {store.uri}"
    expected = f"{shard.size_bytes} bytes with SHA-256 {shard.sha256}"
    stream, offset = _Blocks(store, shard.path), 0
    records: list[Record] = []
    try:
        for payload in tfrecord.read_stream(stream, where, _RECORD_LIMIT_BYTES):
            records.append(_record(where, offset, payload, episodes))
            offset += records[-1].size_bytes
    except NotFoundError as e:
        raise ShardMismatchError(where, expected, "no file") from e
    except (CorruptRecordError, OversizedError) as e:
        raise ShardMismatchError(where, expected, f"a broken record: {e.got}") from e
    if (stream.size_bytes, stream.digest.hexdigest()) != (
        shard.size_bytes,
        shard.sha256,
    ):
        got = f"{stream.size_bytes} bytes with {stream.digest.hexdigest()}"
        raise ShardMismatchError(where, expected, got)
    if len(records) != shard.num_episodes:
        raise DatasetError(
            where,
            f"{shard.num_episodes} episodes as the manifest says",
            len(records),
            "curate the dataset again",
        )
    return tuple(records)


def verify_shards(store: Store, manifest: Manifest) -> None:
    """Verifies every shard of a version.

    Raises:
        ShardMismatchError, MalformedEpisodeError, DatasetError: as `verify_shard`.
    """
    for split, shards in manifest.splits.items():
        episodes = entries_by_digest(manifest, split)
        for shard in shards:
            verify_shard(store, shard, episodes)


def decode(where: str, payload: bytes) -> Episode:
    """Returns the episode in a record without its frame.

    Raises:
        MalformedEpisodeError: it does not decode; the message begins with `where`.
    """
    try:
        return example_codec.decode(payload, limit_bytes=_RECORD_LIMIT_BYTES)
    except MalformedEpisodeError as e:
        raise MalformedEpisodeError(
            f"{where}: {e.source}", e.expected, e.got, e.remedy
        ) from e


class _Blocks:
    """Reads a shard in blocks and computes the digest of the bytes it has read."""

    def __init__(self, store: Store, path: str) -> None:
        self.digest = hashlib.sha256()
        self.size_bytes = 0
        self._store = store
        self._path = path
        self._block = memoryview(b"")

    def read(self, size_bytes: int, /) -> bytes:
        """Returns the next bytes, fewer only at the end."""
        pieces = []
        while size_bytes:
            if not self._block and not self._fetch():
                break
            piece = self._block[:size_bytes]
            self._block = self._block[len(piece) :]
            size_bytes -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def _fetch(self) -> bool:
        block = self._store.get_range(self._path, self.size_bytes, _BLOCK_BYTES)
        self.digest.update(block)
        self.size_bytes += len(block)
        self._block = memoryview(block)
        return bool(block)


def _record(
    where: str, offset: int, payload: bytes, episodes: Mapping[str, EpisodeEntry]
) -> Record:
    framed = tfrecord.frame(payload)
    digest = sha256_bytes(framed)
    if digest not in episodes:
        raise ShardMismatchError(
            f"{where} at byte {offset}",
            "an episode that the manifest names",
            f"one with SHA-256 {digest}",
        )
    episode = decode(f"{where} at byte {offset}", payload)
    if episode.num_steps != episodes[digest].num_steps:
        raise DatasetError(
            f"{where} at byte {offset}",
            f"{episodes[digest].num_steps} steps as the manifest says",
            episode.num_steps,
            "curate the dataset again",
        )
    return Record(
        offset=offset,
        size_bytes=len(framed),
        num_steps=episode.num_steps,
        state_size=episode.spec.state_size,
        action_size=episode.spec.action_size,
        image=episode.spec.image,
        cameras=",".join(episode.spec.cameras),
        audio_size=episode.spec.audio_size,
        sha256=digest,
        task=episode.metadata.task,
        robot_model=episode.metadata.robot_model,
        period_ns=recorded_robot.measure_period_ns(episode.steps["t_monotonic_ns"]),
    )
