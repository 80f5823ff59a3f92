"""Builds the whole index from the verdicts below a raw root.

Robots' accounts may write there, so a row is made only of what ingest signed: the
verdict, the claim of the episode's id, and a sidecar and an episode that are still the
ones it judged. Whatever else lies there is named and left out, and the others go on.
"""

import concurrent.futures
import dataclasses
import pathlib
import tempfile

from base.digest import sha256_bytes
from base.errors import ContinuonError, NotFoundError, ObjectError, StoreError
from base.store import store
from base.store.store import Store
from cloud.errors import VerdictError
from cloud.index import query, schema, snapshot
from cloud.ingest import admission, claims, raw_store, signed_record
from release.trusted_keys import TrustedKeys
from rlds import sidecar as sidecar_format
from rlds.raw_layout import ADMISSION_FILE, RawFolder
from rlds.sidecar import Sidecar

DATABASE_FILE = "episodes.duckdb"


@dataclasses.dataclass(frozen=True)
class Built:
    """The index, and what it leaves out.

    Attributes:
        index: the snapshot.
        quarantined: episodes that ingest quarantined.
        not_judged: episodes without a verdict.
        refused: folders whose verdict does not count, each with the reason.
    """

    index: snapshot.Snapshot
    quarantined: int
    not_judged: int
    refused: tuple[tuple[str, str], ...]


def build(raw_uri: str, index_uri: str, trusted: TrustedKeys, readers: int) -> Built:
    """Collects the rows and writes the database, then the snapshot.

    The snapshot is written last because it is all that other programs read.

    Args:
        raw_uri: the raw root.
        index_uri: where the index goes.
        trusted: keys of ingest whose verdicts count.
        readers: episodes compared with their digest at the same time.

    Raises:
        RawRootError: there are no raw episodes; an existing index is left unchanged.
        VerdictError: there are verdicts, and none of them counts; the same.
        SnapshotError: the verdicts do not form a valid index.
    """
    found = collect(raw_uri, trusted, readers)
    rows = [one.row for one in found if one.row is not None]
    refused = tuple((one.folder.path, one.refusal) for one in found if one.refusal)
    quarantined = sum(one.quarantined for one in found)
    if refused and not rows and not quarantined:
        path, why = refused[0]
        raise VerdictError(
            f"{raw_uri}/{path}",
            "a verdict that counts",
            f"none among {len(refused)}: {why}",
            "run //cloud:ingest again, or name its public key in --ingest_public",
        )
    raw = snapshot.encode(rows)
    index = snapshot.parse(raw, snapshot.FILE)
    target = store.open_store(index_uri)
    with tempfile.TemporaryDirectory(prefix="index-") as folder:
        database = pathlib.Path(folder, DATABASE_FILE)
        query.write_database(index, database)
        target.put(DATABASE_FILE, database.read_bytes())
    target.put(snapshot.FILE, raw)
    not_judged = len(found) - len(rows) - len(refused) - quarantined
    return Built(index, quarantined, not_judged, refused)


@dataclasses.dataclass(frozen=True)
class Found:
    """What one folder gives the index.

    Attributes:
        folder: the folder.
        row: the episode's row; None if it has none.
        quarantined: whether ingest quarantined it.
        refusal: why its verdict does not count; "" if it does, or there is none.
    """

    folder: RawFolder
    row: schema.Row | None = None
    quarantined: bool = False
    refusal: str = ""


def collect(raw_uri: str, trusted: TrustedKeys, readers: int) -> list[Found]:
    """Reads every verdict below the raw root, in order of path.

    Raises:
        RawRootError: there are no raw episodes.
        StoreError: the store fails as a whole.
    """
    source = store.open_store(raw_uri)
    listing = raw_store.read(source)
    with concurrent.futures.ThreadPoolExecutor(readers) as pool:
        return list(
            pool.map(
                lambda entry: _find(source, entry[0], entry[1], trusted),
                listing.folders,
            )
        )


def _find(
    source: Store, folder: RawFolder, files: frozenset[str], trusted: TrustedKeys
) -> Found:
    if ADMISSION_FILE not in files:
        return Found(folder)
    try:
        verdict = read_verdict(source, folder, trusted)
        if not verdict.admitted:
            return Found(folder, quarantined=True)
        found = row(source, folder, verdict)
        size_bytes = int(str(found["size_bytes"]))
        _require_unchanged(source, folder, verdict, trusted, size_bytes)
        return Found(folder, row=found)
    except (NotFoundError, ObjectError) as e:
        return Found(folder, refusal=str(e))
    except StoreError:
        raise
    except ContinuonError as e:
        return Found(folder, refusal=str(e))


def read_verdict(
    source: Store, folder: RawFolder, trusted: TrustedKeys
) -> admission.Admission:
    """Reads ingest's verdict on a folder.

    Raises:
        NotFoundError, OversizedError: there is none, or a file too large for one.
        UntrustedError, MalformedError: as `admission.verify`.
        StoreError: the store fails.
    """
    raw = source.get(folder.admission, signed_record.LIMIT_BYTES)
    return admission.verify(raw, folder, trusted)


def _require_unchanged(
    source: Store,
    folder: RawFolder,
    verdict: admission.Admission,
    trusted: TrustedKeys,
    size_bytes: int,
) -> None:
    found = source.digest(folder.episode, size_bytes)
    if found != verdict.sha256:
        raise VerdictError(
            folder.episode, f"the episode that was judged, {verdict.sha256}", found
        )
    holder = claims.read(source, folder.episode_id, trusted)
    if holder != folder.path:
        raise VerdictError(
            folder.admission,
            "the folder that claimed the episode's id",
            holder or "no valid claim",
        )


def row(source: Store, folder: RawFolder, verdict: admission.Admission) -> schema.Row:
    """Returns the row of one admitted episode.

    Raises:
        VerdictError: the sidecar is not the one that was judged.
        SnapshotError: the verdict lacks a column, or one has another type.
        NotFoundError, OversizedError: the sidecar is missing or too large.
    """
    raw = source.get(folder.sidecar, sidecar_format.LIMIT_BYTES)
    if sha256_bytes(raw) != verdict.sidecar_sha256:
        raise VerdictError(
            folder.sidecar,
            f"the sidecar that was judged, {verdict.sidecar_sha256}",
            sha256_bytes(raw),
        )
    return _row(sidecar_format.parse(raw), verdict, folder)


def _row(
    sidecar: Sidecar, verdict: admission.Admission, folder: RawFolder
) -> schema.Row:
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
    # Verdicts from before cameras had names say nothing of them.
    stated = {"cameras": "", **verdict.episode}
    from_episode = {
        name: stated[name]
        for name in schema.NAMES
        if name in stated and name not in from_sidecar
    }
    return schema.check_row(from_episode | from_sidecar, folder.admission)
