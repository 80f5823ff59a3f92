"""Reads one raw folder and states what is there, without judging it.

The sidecar is verified first. Only then is the episode read, and no further than its
signed size. Whatever goes wrong becomes a fact for `admission.admit`.
"""

import dataclasses
from collections.abc import Collection

from base import canonical_json
from base.digest import sha256_bytes
from base.errors import (
    CanonicalJsonError,
    ContinuonError,
    NotFoundError,
    OversizedError,
)
from base.store.store import Store
from cloud.ingest.admission import EpisodeFacts, EpisodeOutline, Fault, Reason
from cloud.ingest.enrolment import Enrolment
from rlds import raw_layout, reader
from rlds import sidecar as sidecar_format
from rlds.errors import (
    RedactionRecordError,
    SidecarError,
    SidecarMismatchError,
    SidecarSignatureError,
    SidecarSizeMismatchError,
)
from rlds.raw_layout import RawFolder
from rlds.redaction_record import find_missing_fields
from rlds.sidecar import Sidecar
from rlds.spec import SCHEMA_VERSION

_SIDECAR_LIMIT_BYTES = 1024 * 1024


def gather(
    raw: Store,
    folder: RawFolder,
    files: Collection[str],
    enrolled: Enrolment,
    size_limit_bytes: int,
) -> EpisodeFacts:
    """Returns everything that decides the verdict on one folder.

    Args:
        raw: the store that robots upload to.
        folder: the raw folder.
        files: names of the files in it.
        enrolled: the keys whose signatures count.
        size_limit_bytes: largest episode that is read.

    Raises:
        StoreError: the store fails, other than by a missing or oversized object.
    """
    if raw_layout.SIDECAR_FILE not in files:
        return EpisodeFacts(folder)
    try:
        raw_sidecar = raw.get(folder.sidecar, _SIDECAR_LIMIT_BYTES)
    except NotFoundError:
        return EpisodeFacts(folder)
    except OversizedError as e:
        fault = Fault(Reason.SIDECAR_MALFORMED, str(e))
        return EpisodeFacts(folder, sidecar_fault=fault)
    sha256 = sha256_bytes(raw_sidecar)
    facts = EpisodeFacts(folder, sidecar_sha256=sha256)
    try:
        sidecar = sidecar_format.verify(raw_sidecar, enrolled.keys)
    except SidecarError as e:
        fault = Fault(_sidecar_reason(raw_sidecar, enrolled, e), str(e))
        return dataclasses.replace(facts, sidecar_fault=fault)
    facts = dataclasses.replace(
        facts, sidecar=sidecar, key_robot_hash=enrolled.robots[sidecar.keyid]
    )
    try:
        raw_episode = raw.get(folder.episode, min(sidecar.size_bytes, size_limit_bytes))
    except NotFoundError as e:
        fault = Fault(Reason.EPISODE_MISSING, str(e))
        return dataclasses.replace(facts, episode_fault=fault)
    except OversizedError as e:
        fault = Fault(Reason.EPISODE_OVERSIZED, str(e))
        return dataclasses.replace(facts, episode_fault=fault)
    facts = dataclasses.replace(facts, sha256=sha256_bytes(raw_episode))
    try:
        sidecar.check_episode(raw_episode)
    except SidecarMismatchError as e:
        # No enrolled key signed these bytes, so they are not parsed.
        of_size = isinstance(e, SidecarSizeMismatchError)
        reason = Reason.SIZE_MISMATCH if of_size else Reason.DIGEST_MISMATCH
        return dataclasses.replace(facts, episode_fault=Fault(reason, str(e)))
    try:
        outline = _outline(raw_episode, sidecar)
    except ContinuonError as e:
        of_version = "schema_version" in e.source
        reason = Reason.SCHEMA_UNKNOWN if of_version else Reason.EPISODE_MALFORMED
        return dataclasses.replace(facts, episode_fault=Fault(reason, str(e)))
    return dataclasses.replace(facts, outline=outline)


def _outline(raw_episode: bytes, sidecar: Sidecar) -> EpisodeOutline:
    episode = reader.read_episode_bytes(raw_episode)
    return EpisodeOutline(
        spec=episode.spec,
        metadata=episode.metadata,
        num_steps=episode.num_steps,
        fields_not_covered=find_missing_fields(sidecar.privacy, episode.spec),
    )


def _sidecar_reason(raw: bytes, enrolled: Enrolment, e: SidecarError) -> Reason:
    """Returns the machine-readable reason why `rlds.sidecar.verify` refused the bytes.

    Nothing read here is trusted: it only classifies bytes that are already refused.
    """
    try:
        value = canonical_json.decode(raw)
    except CanonicalJsonError:
        return Reason.SIDECAR_MALFORMED
    claimed = value if isinstance(value, dict) else {}
    if claimed.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
        return Reason.SCHEMA_UNKNOWN
    if not claimed.get("signature"):
        return Reason.SIGNATURE_MISSING
    if isinstance(e, SidecarSignatureError):
        known = claimed.get("keyid") in enrolled.keys
        return Reason.SIGNATURE_WRONG if known else Reason.SIGNATURE_UNKNOWN_KEY
    if isinstance(e, RedactionRecordError):
        return Reason.REDACTION_MISSING
    return Reason.SIDECAR_MALFORMED
