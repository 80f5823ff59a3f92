"""Builds the index anew from the verdicts below a raw root."""

import dataclasses
import pathlib
import tempfile

from base.store import store
from cloud.index import collect, query, snapshot

DATABASE_FILE = "episodes.duckdb"


@dataclasses.dataclass(frozen=True)
class Built:
    """The index, and how many episodes are not in it."""

    index: snapshot.Snapshot
    quarantined: int
    not_judged: int


def build(raw_uri: str, index_uri: str) -> Built:
    """Collects the rows and writes the database, then the snapshot.

    The snapshot comes last because everything else reads the snapshot alone.

    Raises:
        RawRootError: there are no raw episodes; an index stays as it was.
        MalformedError: a verdict is not what //cloud:ingest writes.
        SnapshotError: the verdicts do not make an index.
    """
    collected = collect.collect(raw_uri)
    raw = snapshot.encode(collected.rows)
    index = snapshot.parse(raw, snapshot.FILE)
    target = store.open_store(index_uri)
    with tempfile.TemporaryDirectory(prefix="index-") as folder:
        database = pathlib.Path(folder, DATABASE_FILE)
        query.write_database(index, database)
        target.put(DATABASE_FILE, database.read_bytes())
    target.put(snapshot.FILE, raw)
    return Built(index, collected.quarantined, collected.not_judged)
