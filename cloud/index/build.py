"""Builds the whole index from the verdicts below a raw root."""

import dataclasses
import pathlib
import tempfile

from base.digest import sha256_bytes
from base.store import store
from cloud.index import query, schema, snapshot
from cloud.ingest import admission, raw_store
from rlds import sidecar as sidecar_format
from rlds.raw_layout import ADMISSION_FILE, SIDECAR_FILE, RawFolder
from rlds.sidecar import Sidecar

DATABASE_FILE = "episodes.duckdb"


@dataclasses.dataclass(frozen=True)
class Built:
    """The index, and how many episodes it leaves out."""

    index: snapshot.Snapshot
    quarantined: int
    not_judged: int


def build(raw_uri: str, index_uri: str) -> Built:
    """Collects the rows and writes the database, then the snapshot.

    The snapshot is written last because it is all that other programs read.

    Raises:
        RawRootError: there are no raw episodes; an existing index is left unchanged.
        MalformedError: a verdict is not what //cloud:ingest writes.
        SnapshotError: the verdicts do not form a valid index.
    """
    collected = collect(raw_uri)
    raw = snapshot.encode(collected.rows)
    index = snapshot.parse(raw, snapshot.FILE)
    target = store.open_store(index_uri)
    with tempfile.TemporaryDirectory(prefix="index-") as folder:
        database = pathlib.Path(folder, DATABASE_FILE)
        query.write_database(index, database)
        target.put(DATABASE_FILE, database.read_bytes())
    target.put(snapshot.FILE, raw)
    return Built(index, collected.quarantined, collected.not_judged)


_SIDECAR_LIMIT_BYTES = 1024 * 1024
_ADMISSION_LIMIT_BYTES = 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Collected:
    """Rows of the admitted episodes, and how many other episodes there are."""

    rows: tuple[schema.Row, ...]
    quarantined: int
    not_judged: int


def collect(raw_uri: str) -> Collected:
    """Reads every verdict below the raw root.

    Raises:
        RawRootError: there are no raw episodes.
        MalformedError: a verdict is not what //cloud:ingest writes.
    """
    source = store.open_store(raw_uri)
    listing = raw_store.read(source)
    rows: list[schema.Row] = []
    quarantined = not_judged = 0
    for folder, files in listing.folders:
        if not {ADMISSION_FILE, SIDECAR_FILE} <= files:
            not_judged += ADMISSION_FILE not in files
            quarantined += ADMISSION_FILE in files
            continue
        verdict = admission.parse(
            source.get(folder.admission, _ADMISSION_LIMIT_BYTES),
            folder.admission,
        )
        if not verdict.admitted:
            quarantined += 1
            continue
        raw_sidecar = source.get(folder.sidecar, _SIDECAR_LIMIT_BYTES)
        if sha256_bytes(raw_sidecar) != verdict.sidecar_sha256:
            not_judged += 1
            continue
        rows.append(row(sidecar_format.parse(raw_sidecar), verdict, folder))
    return Collected(tuple(rows), quarantined, not_judged)


def row(
    sidecar: Sidecar, verdict: admission.Admission, folder: RawFolder
) -> schema.Row:
    """Returns the row of one admitted episode."""
    from_sidecar: dict[str, object] = {
        "sha256": verdict.sha256,
        "size_bytes": sidecar.size_bytes,
        "date": sidecar.date,
        "consent_granted": sidecar.consent.granted,
        "escalated": sidecar.safety.escalated,
        "safety_violations": sidecar.safety.violations,
        "transform_version": sidecar.privacy.transform_version,
        "frames_masked": sidecar.privacy.frames_masked,
        "path": folder.path,
    }
    from_episode = {
        name: verdict.episode[name] for name in schema.NAMES if name not in from_sidecar
    }
    return schema.check_row(from_episode | from_sidecar, folder.admission)
