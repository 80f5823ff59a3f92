"""Byte offsets of the episodes of a verified shard, so that one can be read alone.

A shard is verified once from end to end (`cloud.dataset.shard_check`). The offsets are
kept in one small file in the work folder, named after the shard's digest, and later
runs read only that file. It states the generation of the shard that was verified: a
shard that was rewritten since is verified again, and refused if its bytes differ. A
file of offsets that is torn or changed does not match the digest in its first line and
is rewritten. A record that was changed without a new generation is refused by its
digest when it is read.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from base import canonical_json, durable_file
from base.digest import sha256_bytes
from base.errors import CanonicalJsonError, DiskError
from base.store.store import Store
from cloud.dataset import shard_check
from cloud.dataset.shard_check import Record
from rlds import tfrecord
from rlds.episode import Episode
from rlds.errors import ShardMismatchError
from rlds.manifest import EpisodeEntry, Shard

_FORMAT = 5
_SUFFIX = ".offsets"


def load_or_make(
    store: Store, shard: Shard, episodes: Mapping[str, EpisodeEntry], folder: Path
) -> tuple[Record, ...]:
    """Returns the records of a shard, in order, from stored offsets or its bytes.

    Args:
        store: the store that holds the dataset version.
        shard: the manifest's entry.
        episodes: the manifest's episodes of the shard's split, by digest.
        folder: where offsets are kept; created if it is missing.

    Raises:
        ShardMismatchError, MalformedEpisodeError, DatasetError: as
            `shard_check.verify_shard`.
        DiskError: the offsets cannot be read or written; nothing half-written is
            left.
    """
    path = folder / f"{shard.sha256}{_SUFFIX}"
    # Read before the shard is: if the shard is rewritten meanwhile, this is outdated.
    verified = {
        "format": _FORMAT,
        "shard": f"{store.uri}/{shard.path}",
        "sha256": shard.sha256,
        "generation": str(store.generation(shard.path)),
    }
    found = _read(path, verified)
    if found is None or len(found) != shard.num_episodes:
        found = shard_check.verify_shard(store, shard, episodes)
        _write(path, verified, found)
    return found


def read_episode(store: Store, shard: Shard, record: Record) -> Episode:
    """Reads one episode of a verified shard.

    Raises:
        ShardMismatchError: its bytes are missing or are not those that were verified.
    """
    raw = store.get_range(shard.path, record.offset, record.size_bytes)
    return decode(f"{store.uri}/{shard.path}", record, raw)


def decode(where: str, record: Record, raw: bytes) -> Episode:
    """Returns the episode in the framed bytes of a record.

    Raises:
        ShardMismatchError: the bytes are not those that were verified.
    """
    where = f"{where} at byte {record.offset}"
    if len(raw) != record.size_bytes or sha256_bytes(raw) != record.sha256:
        raise ShardMismatchError(
            where,
            f"{record.size_bytes} bytes with SHA-256 {record.sha256}",
            f"{len(raw)} bytes with {sha256_bytes(raw)}",
        )
    payload = raw[tfrecord.HEADER_SIZE_BYTES : -tfrecord.FOOTER_SIZE_BYTES]
    return shard_check.decode(where, payload)


def _read(path: Path, verified: Mapping[str, object]) -> tuple[Record, ...] | None:
    """Reads a file of offsets; None if it is missing, torn, or of other bytes."""
    try:
        stated, _, body = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as e:
        raise durable_file.disk_error(path, "to read the offsets", e) from e
    if stated.decode("ascii", "replace") != sha256_bytes(body):
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
        raise DiskError(path.parent, "a folder for offsets", e.strerror) from e
    durable_file.write(path, sha256_bytes(body).encode() + b"\n" + body)
