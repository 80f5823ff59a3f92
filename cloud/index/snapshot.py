"""The index as one canonical file: rows sorted by episode id, and one digest.

`snapshot.jsonl` holds one RFC 8785 JSON object per line. The same rows give the
same bytes in whatever order they arrive, so the digest identifies the index's content.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Iterator

from base import canonical_json, json_fields
from base.errors import CanonicalJsonError, OversizedError
from base.store import store
from cloud import errors
from cloud.index import schema

FILE = "snapshot.jsonl"
_LIMIT_BYTES = 4 * 1024**3  # room for three million rows of about 1.3 KiB
_PIECE_BYTES = 8 * 1024**2
_LONGEST_LINE = 1024**2
_AGAIN = "run //cloud:index again"


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """An index: its rows in order of episode_id, and the digest of its bytes."""

    rows: tuple[schema.Row, ...]
    digest: str


def read(index_uri: str) -> Snapshot:
    """Reads the snapshot of the index at `index_uri`.

    Raises:
        SnapshotError: there is none, or it is not what `encode` writes.
        OversizedError: it is longer than any index that there is room for.
    """
    where = f"{index_uri}/{FILE}"
    index = store.open_store(index_uri)
    generation = index.generation(FILE)
    if not generation:
        raise errors.SnapshotError(
            where, "an index snapshot", "none", "build it with //cloud:index --raw=URI"
        )
    found = _parse(_read_pieces(index, where), where)
    if index.generation(FILE) != generation:
        raise errors.SnapshotError(
            where, "a snapshot at rest", "one that was written meanwhile", _AGAIN
        )
    return found


def _read_pieces(index: store.Store, where: str) -> Iterator[bytes]:
    size_bytes = 0
    while piece := index.get_range(FILE, size_bytes, _PIECE_BYTES):
        size_bytes += len(piece)
        if size_bytes > _LIMIT_BYTES:
            raise OversizedError(where, f"at most {_LIMIT_BYTES} bytes", "more")
        yield piece


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
    pieces = range(0, len(raw), _PIECE_BYTES)
    return _parse((raw[begin : begin + _PIECE_BYTES] for begin in pieces), where)


def _parse(pieces: Iterable[bytes], where: str) -> Snapshot:
    """Parses line by line, so that no more than a piece is held beside the rows."""
    rows: list[schema.Row] = []
    state = hashlib.sha256()

    def add(piece: bytes) -> bytes:
        state.update(piece)
        return piece

    for number, line in enumerate(_lines(map(add, pieces), where), start=1):
        row = _parse_line(line, f"{where} line {number}")
        if rows and str(row["episode_id"]) < str(rows[-1]["episode_id"]):
            raise _other_form(where)
        _check_unique([*rows[-1:], row], where)
        rows.append(row)
    return Snapshot(tuple(rows), state.hexdigest())


def _lines(pieces: Iterable[bytes], where: str) -> Iterator[bytes]:
    """Yields the lines without their ends."""
    number, rest = 1, b""
    for piece in pieces:
        whole, begin = rest + piece, 0
        while (end := whole.find(b"\n", begin)) >= 0:
            yield whole[begin:end]
            begin, number = end + 1, number + 1
        rest = whole[begin:]
        if len(rest) > _LONGEST_LINE:
            raise errors.SnapshotError(
                f"{where} line {number}",
                f"at most {_LONGEST_LINE} bytes",
                "more",
                _AGAIN,
            )
    if rest:
        yield rest  # what is wrong inside it is said first
        raise _other_form(where)


def _parse_line(line: bytes, where: str) -> schema.Row:
    try:
        value = canonical_json.decode_canonical(
            line, json_fields.limit_values(len(line))
        )
    except CanonicalJsonError as e:
        if e.expected == canonical_json.CANONICAL:
            raise _other_form(where) from e
        raise errors.SnapshotError(where, "one canonical JSON object", e, _AGAIN) from e
    row = schema.check_row(value, where)
    # With the names of the schema, of which there is one each.
    return {name: row[name] for name in schema.NAMES}


def _other_form(where: str) -> errors.SnapshotError:
    return errors.SnapshotError(
        where,
        "canonical lines in order of episode_id",
        "another order or spelling",
        _AGAIN,
    )


def _check_unique(rows: list[schema.Row], where: str) -> None:
    for before, after in itertools.pairwise(rows):
        if before["episode_id"] == after["episode_id"]:
            raise errors.SnapshotError(
                where,
                "one row per episode",
                f"two for {after['episode_id']}: {before['path']} and {after['path']}",
                "remove one of the two uploads",
            )
