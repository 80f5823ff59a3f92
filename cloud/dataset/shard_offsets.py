"""Where each episode of a verified shard begins, so that any is read by itself.

A shard is read once from end to end, in blocks, and held against the manifest twice:
every record has to be an episode that the manifest names by digest, before it is
decoded, and all bytes together have to have the shard's digest. What was found is
kept in one small file beside the run, under the shard's digest, and later runs read
that file alone. It names the generation of the shard that was verified: a shard that
was written again since is verified again, and refused where its bytes are others. An
index that is torn or changed does not have the digest in its first line and is made
anew; a record that changed without a trace is refused when it is read, by its digest.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from base import canonical_json, durable_file
from base.digest import sha256_bytes
from base.errors import CanonicalJsonError, DiskError, NotFoundError, OversizedError
from base.store.store import Store
from cloud.errors import DatasetError
from rlds import example_codec, tfrecord
from rlds.episode import Episode
from rlds.errors import CorruptRecordError, MalformedEpisodeError, ShardMismatchError
from rlds.manifest import EpisodeEntry, Shard

_FORMAT = 3
_BLOCK_BYTES = 8 * 1024 * 1024
_RECORD_LIMIT_BYTES = 256 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Record:
    """One episode of a shard.

    Attributes:
        offset: where its frame begins in the shard, in bytes.
        size_bytes: of the record with its frame.
        num_steps: steps of the episode.
        state_size: numbers in a state.
        action_size: numbers in an action.
        image: whether each step has a camera image.
        audio_size: numbers in the sound of a step, 0 without sound.
        sha256: digest of the record with its frame, as in the manifest.
        task: the episode's task.
    """

    offset: int
    size_bytes: int
    num_steps: int
    state_size: int
    action_size: int
    image: bool
    audio_size: int
    sha256: str
    task: str


def load_or_make(
    store: Store, shard: Shard, episodes: Mapping[str, EpisodeEntry], folder: Path
) -> tuple[Record, ...]:
    """Returns the records of a shard, in order, from its index or from its bytes.

    Args:
        store: where the dataset version lies.
        shard: as the manifest names it.
        episodes: the manifest's episodes of the shard's split, by digest.
        folder: where indexes are kept; made if it is missing.

    Raises:
        ShardMismatchError: the shard is missing, or its bytes are not the manifest's.
        MalformedEpisodeError: an episode of the manifest does not decode, has NaN, or
            has another shape than `rlds.spec` says.
        DiskError: the index cannot be written; nothing half-written is left.
    """
    path = folder / f"{shard.sha256}.index"
    # Asked for before the shard is read: what is written meanwhile is another one.
    verified = {
        "format": _FORMAT,
        "shard": f"{store.uri}/{shard.path}",
        "sha256": shard.sha256,
        "generation": str(store.generation(shard.path)),
    }
    found = _read(path, verified)
    if found is None:
        found = tuple(_scan(store, shard, episodes))
        _write(path, verified, found)
    return found


def read_episode(store: Store, shard: Shard, record: Record) -> Episode:
    """Reads one episode of an indexed shard.

    Raises:
        ShardMismatchError: its bytes are gone or are not those that were indexed.
    """
    raw = store.get_range(shard.path, record.offset, record.size_bytes)
    return decode(f"{store.uri}/{shard.path}", record, raw)


def decode(where: str, record: Record, raw: bytes) -> Episode:
    """Returns the episode in the framed bytes of a record.

    Raises:
        ShardMismatchError: the bytes are not those that were indexed.
    """
    where = f"{where} at byte {record.offset}"
    if len(raw) != record.size_bytes or sha256_bytes(raw) != record.sha256:
        raise ShardMismatchError(
            where,
            f"{record.size_bytes} bytes with SHA-256 {record.sha256}",
            f"{len(raw)} bytes with {sha256_bytes(raw)}",
        )
    payload = raw[tfrecord.HEADER_SIZE_BYTES : -tfrecord.FOOTER_SIZE_BYTES]
    return _decoded(where, payload)


class _Shard:
    """Reads a shard in blocks, and takes the digest of all that was read."""

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


def _scan(
    store: Store, shard: Shard, episodes: Mapping[str, EpisodeEntry]
) -> Iterator[Record]:
    """Yields the records; the last one only after the whole shard is proven."""
    where = f"{shard.path} of {store.uri}"
    expected = f"{shard.size_bytes} bytes with SHA-256 {shard.sha256}"
    stream, offset, last = _Shard(store, shard.path), 0, None
    try:
        for payload in tfrecord.read_stream(stream, where, _RECORD_LIMIT_BYTES):
            if last is not None:
                yield last
            last = _indexed(where, offset, payload, episodes)
            offset += last.size_bytes
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
    if last is not None:
        yield last


def _indexed(
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
    episode = _decoded(f"{where} at byte {offset}", payload)
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
        audio_size=episode.spec.audio_size,
        sha256=digest,
        task=episode.metadata.task,
    )


def _decoded(where: str, payload: bytes) -> Episode:
    try:
        return example_codec.decode(payload, limit_bytes=_RECORD_LIMIT_BYTES)
    except MalformedEpisodeError as e:
        raise MalformedEpisodeError(
            f"{where}: {e.source}", e.expected, e.got, e.remedy
        ) from e


def _read(path: Path, verified: Mapping[str, object]) -> tuple[Record, ...] | None:
    """The records in the file at `path`; None if it is not whole or of other bytes."""
    try:
        told, _, body = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as e:
        raise durable_file.disk_error(path, "to read the index", e) from e
    if told.decode("ascii", "replace") != sha256_bytes(body):
        return None
    try:
        value: Any = canonical_json.decode(body)
    except CanonicalJsonError:
        return None
    if value != dict(verified) | {"records": value["records"]}:
        return None
    return tuple(Record(**record) for record in value["records"])


def _write(
    path: Path, verified: Mapping[str, object], records: tuple[Record, ...]
) -> None:
    body = canonical_json.encode(
        {**verified, "records": [dataclasses.asdict(record) for record in records]}
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise DiskError(path.parent, "a folder for indexes", e.strerror) from e
    durable_file.write(path, sha256_bytes(body).encode() + b"\n" + body)
