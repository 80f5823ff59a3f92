"""The index as one canonical file: rows sorted by episode id, and one digest.

`snapshot.jsonl` holds one RFC 8785 JSON object per line. The same rows give the
same bytes in whatever order they arrive, so the digest identifies the index's content.
"""

import dataclasses
import itertools
from collections.abc import Iterable

from base import canonical_json, digest, json_fields
from base.errors import CanonicalJsonError, NotFoundError
from base.store import store
from cloud import errors
from cloud.index import schema

FILE = "snapshot.jsonl"
_LIMIT_BYTES = 4 * 1024**3  # room for three million rows of about 1.3 KiB


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """An index: its rows in order of episode_id, and the digest of its bytes."""

    rows: tuple[schema.Row, ...]
    digest: str


def read(index_uri: str) -> Snapshot:
    """Reads the snapshot of the index at `index_uri`.

    Raises:
        SnapshotError: there is none, or it is not what `encode` writes.
    """
    where = f"{index_uri}/{FILE}"
    try:
        raw = store.open_store(index_uri).get(FILE, _LIMIT_BYTES)
    except NotFoundError as e:
        raise errors.SnapshotError(
            where, "an index snapshot", "none", "build it with //cloud:index --raw=URI"
        ) from e
    return parse(raw, where)


def encode(rows: Iterable[schema.Row]) -> bytes:
    """Returns the canonical bytes of an index.

    Raises:
        SnapshotError: a row breaks the schema, or two name the same episode.
    """
    checked = [schema.check_row(row, FILE) for row in rows]
    checked.sort(key=lambda row: str(row["episode_id"]))
    _check_unique(checked, FILE)
    return b"".join(canonical_json.encode(row) + b"\n" for row in checked)


def parse(raw: bytes, where: str) -> Snapshot:
    """Turns the bytes of a snapshot into checked rows.

    Raises:
        SnapshotError: the bytes are not what `encode` writes.
    """
    rows = []
    for number, line in enumerate(raw.splitlines(), start=1):
        try:
            value = canonical_json.decode(line, json_fields.limit_values(len(line)))
        except CanonicalJsonError as e:
            raise errors.SnapshotError(
                f"{where} line {number}",
                "one canonical JSON object",
                e,
                "run //cloud:index again",
            ) from e
        rows.append(schema.check_row(value, f"{where} line {number}"))
    if encode(rows) != raw:
        raise errors.SnapshotError(
            where,
            "canonical lines in order of episode_id",
            "another order or spelling",
            "run //cloud:index again",
        )
    return Snapshot(tuple(rows), digest.sha256_bytes(raw))


def _check_unique(rows: list[schema.Row], where: str) -> None:
    for before, after in itertools.pairwise(rows):
        if before["episode_id"] == after["episode_id"]:
            raise errors.SnapshotError(
                where,
                "one row per episode",
                f"two for {after['episode_id']}: {before['path']} and {after['path']}",
                "remove one of the two uploads",
            )
