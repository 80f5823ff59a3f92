"""Reads one raw folder and states what is there, without judging it.

The sidecar is verified first. Only then is the episode read, and no further than its
signed size. Whatever goes wrong with these objects becomes a fact for
`admission.admit`; only a store that fails as a whole is an error.
"""

import dataclasses
import datetime
from collections.abc import Collection, Set

from base import canonical_json
from base.digest import sha256_bytes
from base.errors import (
    CanonicalJsonError,
    ContinuonError,
    NotFoundError,
    ObjectError,
    OversizedError,
    UnsafePathError,
)
from base.store.store import Store
from cloud.ingest.admission import EpisodeFacts, EpisodeOutline, Fault, Reason
from cloud.ingest.enrolment import Enrolment
from rlds import known_words, raw_layout, reader, sidecar_statements
from rlds import sidecar as sidecar_format
from rlds.episode import Episode
from rlds.errors import (
    ConsentFormError,
    DateBeforeFormatError,
    DateInFutureError,
    FieldFormError,
    FieldNotCoveredError,
    MalformedEpisodeError,
    RedactionRecordError,
    RldsError,
    SidecarError,
    SidecarMismatchError,
    SidecarSignatureError,
    SidecarSizeMismatchError,
    SidecarViolationsError,
)
from rlds.raw_layout import RawFolder
from rlds.sidecar import Sidecar
from rlds.spec import SCHEMA_VERSION


def gather(
    raw: Store,
    folder: RawFolder,
    files: Collection[str],
    enrolled: Enrolment,
    size_limit_bytes: int,
    judged_at: datetime.datetime,
) -> EpisodeFacts:
    """Returns everything that decides the verdict on one folder.

    Args:
        raw: the store that robots upload to.
        folder: the raw folder.
        files: names of the files in it.
        enrolled: the keys whose signatures count.
        size_limit_bytes: largest episode that is read.
        judged_at: the present time.

    Raises:
        StoreError: the store fails, other than by a missing object.
    """
    facts = EpisodeFacts(folder)
    if raw_layout.SIDECAR_FILE not in files:
        return facts
    raw_sidecar, fault = _read(
        raw,
        folder.sidecar,
        sidecar_format.LIMIT_BYTES,
        Reason.SIDECAR_MISSING,
        Reason.SIDECAR_MALFORMED,
    )
    if fault is not None:
        return dataclasses.replace(facts, sidecar_fault=fault)
    facts = dataclasses.replace(facts, sidecar_sha256=sha256_bytes(raw_sidecar))
    try:
        sidecar = sidecar_format.verify(raw_sidecar, enrolled.keys)
    except SidecarError as e:
        fault = Fault(_sidecar_reason(raw_sidecar, enrolled, e), str(e))
        return dataclasses.replace(facts, sidecar_fault=fault)
    facts = dataclasses.replace(
        facts, sidecar=sidecar, key_robot_hash=enrolled.robots[sidecar.keyid]
    )
    raw_episode, fault = _read(
        raw,
        folder.episode,
        min(sidecar.size_bytes, size_limit_bytes),
        Reason.EPISODE_MISSING,
        Reason.EPISODE_OVERSIZED,
    )
    if fault is not None:
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
        episode = reader.read_episode_bytes(raw_episode)
    except ContinuonError as e:
        of_version = "schema_version" in e.source
        reason = Reason.SCHEMA_UNKNOWN if of_version else Reason.EPISODE_MALFORMED
        return dataclasses.replace(facts, episode_fault=Fault(reason, str(e)))
    outline = EpisodeOutline(
        spec=episode.spec,
        metadata=episode.metadata,
        num_steps=episode.num_steps,
        violations=sidecar_statements.count_violations(episode),
    )
    return dataclasses.replace(
        facts,
        outline=outline,
        statement_fault=_find_false_statement(
            sidecar,
            episode,
            raw_episode,
            judged_at,
            enrolled.words.get(sidecar.keyid, known_words.NO_WORDS),
        )
        or _find_bad_image(episode),
    )


def _read(
    raw: Store, path: str, limit_bytes: int, missing: Reason, oversized: Reason
) -> tuple[bytes, Fault | None]:
    """Reads one object; what is wrong with it alone is a fault."""
    try:
        return raw.get(path, limit_bytes), None
    except NotFoundError as e:
        return b"", Fault(missing, str(e))
    except OversizedError as e:
        return b"", Fault(oversized, str(e))
    except (ObjectError, UnsafePathError) as e:
        return b"", Fault(Reason.UNREADABLE, str(e))


def _find_false_statement(
    sidecar: Sidecar,
    episode: Episode,
    framed: bytes,
    judged_at: datetime.datetime,
    words: Set[str],
) -> Fault | None:
    try:
        sidecar_statements.check_statements(sidecar, episode, framed, judged_at, words)
    except RldsError as e:
        return Fault(_statement_reason(e), str(e))
    return None


def _statement_reason(e: RldsError) -> Reason:
    match e:
        case SidecarMismatchError():
            return Reason.SIDECAR_OF_ANOTHER_EPISODE
        case SidecarViolationsError():
            return Reason.VIOLATIONS_DIFFER
        case ConsentFormError():
            return Reason.CONSENT_MALFORMED
        case DateBeforeFormatError():
            return Reason.DATE_BEFORE_FORMAT
        case DateInFutureError():
            return Reason.DATE_IN_FUTURE
        case MalformedEpisodeError():
            return Reason.EPISODE_MALFORMED
        case FieldNotCoveredError():
            return Reason.FIELDS_NOT_COVERED
        case FieldFormError(sensitive=True):
            return Reason.NOT_REDACTED
        case _:
            return Reason.FIELD_MALFORMED


def _find_bad_image(episode: Episode) -> Fault | None:
    """Decodes each image, as training will."""
    if not episode.spec.picture_fields:
        return None
    # Imported here because it brings JAX, which takes seconds to load.
    from model import jpeg_frames
    from model.errors import FrameError

    source = f"episode {episode.metadata.episode_id}"
    for name in episode.spec.picture_fields:
        try:
            jpeg_frames.check(episode.steps[name], f"{source}, {name}")
        except FrameError as e:
            return Fault(Reason.IMAGE_MALFORMED, str(e))
    return None


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
        keyid = claimed.get("keyid")
        known = isinstance(keyid, str) and keyid in enrolled.keys
        return Reason.SIGNATURE_WRONG if known else Reason.SIGNATURE_UNKNOWN_KEY
    if isinstance(e, RedactionRecordError):
        return Reason.REDACTION_MISSING
    return Reason.SIDECAR_MALFORMED
