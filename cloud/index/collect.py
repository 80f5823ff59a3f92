"""Gathers the index's rows from verdicts and sidecars, without reading episodes.

A verdict counts only for the bytes it was made for: an episode whose sidecar changed
since then is not indexed until //cloud:ingest has judged it again.
"""

import dataclasses

from base.digest import sha256_bytes
from base.store import store
from cloud import admission, raw_layout
from cloud.index import schema
from rlds import sidecar as sidecar_format
from rlds.sidecar import Sidecar

_SIDECAR_LIMIT_BYTES = 1024 * 1024
_ADMISSION_LIMIT_BYTES = 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Collected:
    """Rows of the admitted episodes, and how many others there are."""

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
    listing = raw_layout.read(source)
    rows: list[schema.Row] = []
    quarantined = not_judged = 0
    for folder, files in listing.folders:
        if not {raw_layout.ADMISSION_FILE, raw_layout.SIDECAR_FILE} <= files:
            not_judged += raw_layout.ADMISSION_FILE not in files
            quarantined += raw_layout.ADMISSION_FILE in files
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
    sidecar: Sidecar, verdict: admission.Admission, folder: raw_layout.RawFolder
) -> schema.Row:
    """Returns the row of one admitted episode."""
    told: dict[str, object] = {
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
    known = {name: verdict.episode[name] for name in schema.NAMES if name not in told}
    return schema.check_row(known | told, folder.admission)
