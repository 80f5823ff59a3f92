"""Where each episode of a verified shard begins, so that any is read by itself.

A shard is verified once from end to end (`cloud.dataset.shard_check`). What was found
is kept in one small file beside the run, under the shard's digest, and later runs read
that file alone. It names the generation of the shard that was verified: a shard that
was written again since is verified again, and refused where its bytes are others. An
index that is torn or changed does not have the digest in its first line and is made
anew; a record that changed without a trace is refused when it is read, by its digest.
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

_FORMAT = 3


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
        ShardMismatchError, MalformedEpisodeError, DatasetError: as
            `shard_check.verify_shard`.
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
    if found is None or len(found) != shard.num_episodes:
        found = shard_check.verify_shard(store, shard, episodes)
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
    return shard_check.decode(where, payload)


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
