"""What the operator decided about the upload of one episode, signed by its robot.

    shared/NAME.consent.json                    on the robot, the newest one
    …/episode_id=<uuid7>/consent-<counter>.json in the store, each one

The sidecar says what was allowed when the episode was recorded. A record is made after
somebody has looked at the copy that would leave; of several records of an episode the
one with the highest counter counts, before the sidecar. One that does not grant, in a
store, asks to erase the episode wherever it went.

| Decision | The upload | The copy on the robot |
|---|---|---|
| `granted` | allowed, of exactly the bytes that were looked at | stays |
| `refused` | forbidden, whatever the sidecar says | stays |
| `taken_back` | forbidden, whatever the sidecar says | is deleted |

The bytes are canonical JSON, and `signature` covers the canonical bytes of all other
fields, as in a sidecar.
"""

import base64
import dataclasses
import datetime
import enum
from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from base import canonical_json
from base.digest import is_sha256
from base.errors import MalformedError
from base.json_fields import Fields, Source, decode_canonical
from rlds import episode, robot_signature
from rlds.errors import ConsentSignatureError, MalformedEpisodeError
from rlds.redacted_form import is_hour
from rlds.sidecar import compute_keyid
from rlds.sidecar_statements import CONSENTING

SCHEMA_VERSION: Final = 1
LIMIT_BYTES: Final = 4096
MAX_COUNTER: Final = 999_999_999
_SIGNATURE: Final = "signature"
_SOURCE: Final = "consent record"


class Decision(enum.Enum):
    """What may be decided about an episode."""

    GRANTED = "granted"
    REFUSED = "refused"
    TAKEN_BACK = "taken_back"


@dataclasses.dataclass(frozen=True)
class ConsentRecord:
    """One decision about one episode.

    Attributes:
        episode_id: the episode.
        robot_hash: keyed hash of the robot's id, as in the sidecar.
        date: day of the episode, `YYYY-MM-DD`.
        sha256: digest of the episode's file that was looked at.
        counter: from 1; the highest one of an episode counts.
        decision: what was decided.
        at: the hour of the decision, `2026-01-31T08:00:00Z`.
        by: the role of whoever decided; no person is named.
        keyid: SHA-256 of the signing key's public bytes; "" before it is signed.

    Raises:
        MalformedError: a value has the wrong form.
    """

    episode_id: str
    robot_hash: str
    date: str
    sha256: str
    counter: int
    decision: Decision
    at: str
    by: str = CONSENTING
    keyid: str = ""

    def __post_init__(self) -> None:
        for name in ("robot_hash", "sha256"):
            if not is_sha256(getattr(self, name)):
                raise _wrong(name, "64 hex digits")
        if self.keyid and not is_sha256(self.keyid):
            raise _wrong("keyid", "64 hex digits or none")
        if not 1 <= self.counter <= MAX_COUNTER:
            raise _wrong("counter", f"a count from 1 to {MAX_COUNTER}")
        if self.by != CONSENTING:
            raise _wrong("by", CONSENTING)
        if not is_hour(self.at):
            raise _wrong("at", "a whole hour")
        try:
            datetime.date.fromisoformat(self.date)
            episode.check_episode_id(self.episode_id)
        except (ValueError, MalformedEpisodeError) as e:
            raise _wrong("date and episode_id", "a day and a UUIDv7") from e
        if len(self.date) != len("2026-01-31"):
            raise _wrong("date", "YYYY-MM-DD")

    @property
    def is_granted(self) -> bool:
        """Whether the upload is allowed."""
        return self.decision is Decision.GRANTED

    def unsigned_bytes(self) -> bytes:
        """Returns the canonical bytes that the signature covers."""
        return canonical_json.encode(self._to_json())

    def _to_json(self) -> dict[str, object]:
        value: dict[str, object] = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        value["decision"] = self.decision.value
        value["schema_version"] = SCHEMA_VERSION
        return value


_KEYS: Final = (
    "schema_version",
    *(field.name for field in dataclasses.fields(ConsentRecord)),
    _SIGNATURE,
)


def sign(record: ConsentRecord, private_key: Ed25519PrivateKey) -> bytes:
    """Returns the bytes of the record, signed; any earlier `keyid` is replaced."""
    named = dataclasses.replace(record, keyid=compute_keyid(private_key.public_key()))
    signature = private_key.sign(named.unsigned_bytes())
    text = base64.b64encode(signature).decode()
    return canonical_json.encode({**named._to_json(), _SIGNATURE: text})


def parse(raw: bytes, source: Source = _SOURCE) -> ConsentRecord:
    """Reads the structure of a record without checking its signature.

    Raises:
        OversizedError, MalformedError: the bytes are too many or not canonical JSON,
            or a field is missing, unknown or of the wrong form.
    """
    return _parse(raw, source)[0]


def verify(
    raw: bytes, enrolled: Mapping[str, Ed25519PublicKey], source: Source = _SOURCE
) -> ConsentRecord:
    """Returns the record if an enrolled key signed exactly these bytes.

    Args:
        raw: bytes from outside.
        enrolled: public keys by their `keyid`.
        source: the name used in errors.

    Raises:
        ConsentSignatureError: it is unsigned, not signed by an enrolled key, or was
            changed after signing.
        OversizedError, MalformedError: as `parse`.
    """
    record, text = _parse(raw, source)
    signed = record.unsigned_bytes()
    robot_signature.check(
        text, signed, record.keyid, enrolled, source, ConsentSignatureError
    )
    return record


def _parse(raw: bytes, source: Source) -> tuple[ConsentRecord, str]:
    fields = Fields(decode_canonical(raw, source, LIMIT_BYTES), source, _KEYS)
    fields.version(SCHEMA_VERSION)
    try:
        decision = Decision(fields.text("decision"))
    except ValueError as e:
        raise fields.fail("decision", "to be a decision about an episode") from e
    record = ConsentRecord(
        episode_id=fields.text("episode_id"),
        robot_hash=fields.sha256("robot_hash"),
        date=fields.text("date"),
        sha256=fields.sha256("sha256"),
        counter=fields.count("counter"),
        decision=decision,
        at=fields.text("at"),
        by=fields.text("by"),
        keyid=fields.sha256("keyid"),
    )
    return record, fields.text(_SIGNATURE)


def _wrong(name: str, expected: str) -> MalformedError:
    return MalformedError(_SOURCE, f"{name} to be {expected}", "another value")
