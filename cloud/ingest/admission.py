"""Decides whether a raw episode is admitted, from facts alone.

`admit` does no IO and reads no clock: the same facts always give the same verdict.
Its checks run from the one that trusts the upload least to the one that trusts it
most, and the first that fails is the reason. A verdict is written beside the episode
as `admission.json`, signed by ingest, together with what the index needs, so that
finding episodes later requires decoding none of them.
"""

import dataclasses
import enum
from collections.abc import Callable, Mapping

from base.json_fields import Fields
from cloud.ingest import signed_record
from release.signing.private_keys import PrivateKey
from release.trusted_keys import TrustedKeys
from rlds import raw_layout
from rlds.episode import EpisodeMetadata
from rlds.raw_layout import EPISODE_FILE, SIDECAR_FILE, RawFolder
from rlds.sidecar import Sidecar
from rlds.sidecar_statements import may_leave
from rlds.spec import SCHEMA_VERSION, EpisodeSpec

_KIND = "application/vnd.continuon.admission+json"
_SUCCESS = {True: 1, False: 0, None: -1}  # as in `rlds.spec`


class Reason(enum.StrEnum):
    """Why an episode is quarantined; `NONE` when it is admitted."""

    NONE = ""
    SIDECAR_MISSING = "sidecar_missing"
    SIDECAR_MALFORMED = "sidecar_malformed"
    UNREADABLE = "unreadable"  # a link, a pipe or anything else that is no plain object
    SCHEMA_UNKNOWN = "schema_unknown"  # of a format version that this code lacks
    REDACTION_MISSING = "redaction_missing"
    SIGNATURE_MISSING = "signature_missing"
    SIGNATURE_UNKNOWN_KEY = "signature_unknown_key"  # by a key that is not enrolled
    SIGNATURE_WRONG = "signature_wrong"  # not over these bytes
    KEY_OF_ANOTHER_ROBOT = "key_of_another_robot"  # signed in another robot's name
    SIDECAR_OF_ANOTHER_EPISODE = "sidecar_of_another_episode"
    WRONG_PLACE = "wrong_place"  # not where the sidecar says
    EPISODE_MISSING = "episode_missing"
    EPISODE_OVERSIZED = "episode_oversized"  # longer than signed, or than the limit
    SIZE_MISMATCH = "size_mismatch"
    DIGEST_MISMATCH = "digest_mismatch"
    EPISODE_MALFORMED = "episode_malformed"  # signed bytes that are no episode, or more
    DATE_BEFORE_FORMAT = "date_before_format"  # a wrong clock, as the next
    DATE_IN_FUTURE = "date_in_future"
    VIOLATIONS_DIFFER = "violations_differ"  # other ones than the steps hold
    CONSENT_MALFORMED = "consent_malformed"  # more than a role and an hour
    FIELDS_NOT_COVERED = "fields_not_covered"  # a sensitive field not in the record
    NOT_REDACTED = "not_redacted"  # a sensitive value not in its redacted form
    FIELD_MALFORMED = "field_malformed"  # another value not in its form (`rlds.spec`)
    IMAGE_MALFORMED = "image_malformed"  # does not decode
    CONSENT_MISSING = "consent_missing"  # nor an escalation with a violation in a step
    DUPLICATE = "duplicate"  # the id is admitted in another folder


@dataclasses.dataclass(frozen=True)
class Fault:
    """A reason and, for people, what was expected and what was found."""

    reason: Reason
    detail: str


@dataclasses.dataclass(frozen=True)
class EpisodeOutline:
    """What a decoded episode states about itself, without its steps.

    Attributes:
        violations: steps with a safety violation, counted.
    """

    spec: EpisodeSpec
    metadata: EpisodeMetadata
    num_steps: int
    violations: int


@dataclasses.dataclass(frozen=True)
class EpisodeFacts:
    """Everything about one raw folder that decides its verdict.

    Attributes:
        folder: the raw folder.
        sidecar: the sidecar if an enrolled key's signature on it is valid, else None.
        sidecar_sha256: digest of the sidecar's bytes, "" when there are none.
        sidecar_fault: why the sidecar could not be verified.
        key_robot_hash: the robot for which the signing key is enrolled.
        sha256: digest of the episode's bytes, "" when they were not all read.
        outline: what the episode states, if its bytes decode.
        episode_fault: why the episode could not be read, is not the one that the
            sidecar describes, or could not be decoded.
        statement_fault: which statement of the sidecar does not hold for the episode.
        claimed_by: path of the folder under which this episode id was admitted,
            "" while no folder has claimed it.
    """

    folder: RawFolder
    sidecar: Sidecar | None = None
    sidecar_sha256: str = ""
    sidecar_fault: Fault | None = None
    key_robot_hash: str = ""
    sha256: str = ""
    outline: EpisodeOutline | None = None
    episode_fault: Fault | None = None
    statement_fault: Fault | None = None
    claimed_by: str = ""


@dataclasses.dataclass(frozen=True)
class Admission:
    """The verdict on one raw folder.

    Attributes:
        status: `admitted` or `quarantined`.
        reason: machine-readable reason of a quarantine.
        detail: the same reason for people.
        folder: path of the raw folder, so that no other folder can show this verdict.
        episode_id: the id in the folder's path.
        sha256: digest of the episode's bytes that were judged.
        sidecar_sha256: digest of the sidecar's bytes that were judged.
        episode: the episode's own fields, for the index; empty in quarantine.
    """

    status: str
    reason: Reason
    detail: str
    folder: str
    episode_id: str
    sha256: str
    sidecar_sha256: str
    episode: Mapping[str, object]

    @property
    def admitted(self) -> bool:
        """Whether later steps may use the episode."""
        return self.status == "admitted"

    def sign(self, key: PrivateKey) -> bytes:
        """Returns the canonical bytes of `admission.json`, signed by ingest."""
        value = {"schema_version": SCHEMA_VERSION} | dataclasses.asdict(self)
        return signed_record.sign(value, _KIND, key)


def admit(facts: EpisodeFacts) -> Admission:
    """Returns the verdict that follows from the facts."""
    for check in _CHECKS:
        fault = check(facts)
        if fault is not None:
            return _verdict(facts, "quarantined", fault, {})
    return _verdict(facts, "admitted", Fault(Reason.NONE, ""), _index_fields(facts))


def verify(raw: bytes, folder: RawFolder, trusted: TrustedKeys) -> Admission:
    """Turns the bytes of an `admission.json` into ingest's verdict on a folder.

    Raises:
        UntrustedError: no trusted key of ingest signed exactly these bytes.
        MalformedError: the bytes are not a verdict, or one on another folder.
        OversizedError: there are more bytes than a verdict can have.
    """
    where = folder.admission
    value = signed_record.verify(raw, _KIND, trusted, where)
    names = [field.name for field in dataclasses.fields(Admission)]
    fields = Fields(value, where, ["schema_version", *names])
    fields.one_of("schema_version", [SCHEMA_VERSION])
    return Admission(
        status=fields.one_of("status", ["admitted", "quarantined"]),
        reason=Reason(_optional(fields, "reason", list(Reason))),
        detail=_optional(fields, "detail"),
        folder=fields.one_of("folder", [folder.path]),
        episode_id=fields.one_of("episode_id", [folder.episode_id]),
        sha256=_optional(fields, "sha256"),
        sidecar_sha256=_optional(fields, "sidecar_sha256"),
        episode=fields.mapping("episode"),
    )


def _optional(fields: Fields, key: str, choices: list[Reason] | None = None) -> str:
    if fields.raw(key) == "":
        return ""
    return fields.one_of(key, choices) if choices else fields.text(key)


def _verdict(
    facts: EpisodeFacts, status: str, fault: Fault, episode: Mapping[str, object]
) -> Admission:
    return Admission(
        status=status,
        reason=fault.reason,
        detail=fault.detail,
        folder=facts.folder.path,
        episode_id=facts.folder.episode_id,
        sha256=facts.sha256,
        sidecar_sha256=facts.sidecar_sha256,
        episode=episode,
    )


def _index_fields(facts: EpisodeFacts) -> dict[str, object]:
    outline = _outline(facts)
    metadata = dataclasses.asdict(outline.metadata)
    return metadata | {
        "tags": list(outline.metadata.tags),
        "success": _SUCCESS[outline.metadata.success],
        "num_steps": outline.num_steps,
        "state_size": outline.spec.state_size,
        "action_size": outline.spec.action_size,
        "has_image": outline.spec.image,
        "cameras": ",".join(outline.spec.cameras),
        "audio_size": outline.spec.audio_size,
    }


def _sidecar(facts: EpisodeFacts) -> Sidecar:
    assert facts.sidecar is not None, "checked by _check_sidecar"
    return facts.sidecar


def _outline(facts: EpisodeFacts) -> EpisodeOutline:
    assert facts.outline is not None, "checked by _check_episode"
    return facts.outline


def _check_sidecar(facts: EpisodeFacts) -> Fault | None:
    if facts.sidecar is None and facts.sidecar_fault is None:
        return Fault(
            Reason.SIDECAR_MISSING, f"expected {SIDECAR_FILE} beside the episode"
        )
    return facts.sidecar_fault


def _check_schema(facts: EpisodeFacts) -> Fault | None:
    return _differs(
        Reason.SCHEMA_UNKNOWN,
        "schema_version",
        SCHEMA_VERSION,
        _sidecar(facts).schema_version,
    )


def _check_signer(facts: EpisodeFacts) -> Fault | None:
    return _differs(
        Reason.KEY_OF_ANOTHER_ROBOT,
        "robot_hash of the signing key",
        facts.key_robot_hash,
        _sidecar(facts).robot_hash,
    )


def _check_subject(facts: EpisodeFacts) -> Fault | None:
    return _differs(
        Reason.SIDECAR_OF_ANOTHER_EPISODE,
        "episode_id of the folder",
        facts.folder.episode_id,
        _sidecar(facts).episode_id,
    )


def _check_folder(facts: EpisodeFacts) -> Fault | None:
    sidecar = _sidecar(facts)
    wanted = raw_layout.locate(sidecar)
    return _differs(Reason.WRONG_PLACE, "folder", wanted.path, facts.folder.path)


def _check_episode(facts: EpisodeFacts) -> Fault | None:
    if facts.outline is None and facts.episode_fault is None:
        return Fault(Reason.EPISODE_MALFORMED, f"expected {EPISODE_FILE} to be decoded")
    return facts.episode_fault


def _check_statements(facts: EpisodeFacts) -> Fault | None:
    return facts.statement_fault


def _check_consent(facts: EpisodeFacts) -> Fault | None:
    if may_leave(_sidecar(facts), _outline(facts).violations):
        return None
    return Fault(
        Reason.CONSENT_MISSING,
        "expected the operator's consent, or an escalation with a safety violation in "
        "the steps, got neither",
    )


def _check_id(facts: EpisodeFacts) -> Fault | None:
    if facts.claimed_by in ("", facts.folder.path):
        return None
    return Fault(
        Reason.DUPLICATE, f"this episode is already admitted as {facts.claimed_by}"
    )


def _differs(reason: Reason, name: str, expected: object, got: object) -> Fault | None:
    if expected == got:
        return None
    return Fault(reason, f"expected {name} {expected!r}, got {got!r}")


_CHECKS: tuple[Callable[[EpisodeFacts], Fault | None], ...] = (
    _check_sidecar,
    _check_schema,
    _check_signer,
    _check_subject,
    _check_folder,
    _check_episode,
    _check_statements,
    _check_consent,
    _check_id,
)
