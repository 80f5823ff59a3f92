"""A robot's statement about what became of a package or a delta, signed with its key.

    receipts_v0/robot_hash=<64 hex>/<time>-<outcome>-<release counter>-<subject>.json

The bytes are canonical JSON, and `signature` covers the canonical bytes of all other
fields, as in a sidecar. One fact has one name and one content, so writing it again
after a crash changes nothing.

| Outcome | Says |
|---|---|
| `installed` | the package became active, on trial |
| `committed` | its trial went well |
| `fell_back` | it gave way to the package before it |
| `refused` | the package or its channel was not taken |
| `learned` | a local delta of the package counts from now on |
| `not_learned` | a round of learning failed, or its delta was refused |
| `proved_good` | a local delta has driven no worse than without it |
| `unlearned` | a local delta gave way to the one before it, or to none |
"""

import base64
import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from base import canonical_json, text_forms
from base.digest import is_sha256
from base.errors import MalformedError
from base.json_fields import Fields, Source, decode_canonical
from rlds import robot_signature
from rlds.errors import ReceiptSignatureError
from rlds.sidecar import compute_keyid

SCHEMA_VERSION: Final = 1
PREFIX: Final = "receipts_v0"
LIMIT_BYTES: Final = 64 * 1024
INSTALLED, COMMITTED, FELL_BACK, REFUSED = (
    "installed",
    "committed",
    "fell_back",
    "refused",
)
LEARNED, NOT_LEARNED, PROVED_GOOD, UNLEARNED = (
    "learned",
    "not_learned",
    "proved_good",
    "unlearned",
)
OF_UPDATES: Final = (INSTALLED, COMMITTED, FELL_BACK, REFUSED)
OF_LEARNING: Final = (LEARNED, NOT_LEARNED, PROVED_GOOD, UNLEARNED)
OUTCOMES: Final = (*OF_UPDATES, *OF_LEARNING)
"""Each outcome has one writer on a robot, so that no two write one file."""
ORIGINS: Final = ("", "seed", "channel")
_LONGEST_TEXT: Final = 1000  # characters
_MOST_COUNTS: Final = 64
_SUBJECT_DIGITS: Final = 12
_SIGNATURE: Final = "signature"
_COUNT = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SOURCE: Final = "receipt"


@dataclasses.dataclass(frozen=True)
class Receipt:
    """One fact about a package or a delta on one robot.

    Attributes:
        robot_hash: keyed hash of the robot's id, 64 hex digits.
        time: when it happened by the robot's clock, `2026-01-31T08:00:00Z`.
        outcome: one of `OUTCOMES`.
        package_digest: the package; "" if a channel was refused before it named one.
        package_before: the package that was active before, or that is again; "" for
            none.
        delta_digest: the local delta that `learned`, `proved_good` and `unlearned` are
            about, or "".
        release_counter: the counter under which the package was offered.
        channel: the channel that offered it; "" for none.
        origin: `seed` or `channel`; "" where neither is known.
        reason: why, in one line; "" where nothing needs a reason.
        counts: what was counted or measured, by name.
        software: version of the robot's runtime.
        keyid: SHA-256 of the signing key's public bytes; "" before it is signed.

    Raises:
        MalformedError: a value has the wrong form.
    """

    robot_hash: str
    time: str
    outcome: str
    package_digest: str
    package_before: str
    delta_digest: str
    release_counter: int
    channel: str
    origin: str
    reason: str
    counts: Mapping[str, int | float]
    software: str
    keyid: str = ""

    def __post_init__(self) -> None:
        if not is_sha256(self.robot_hash):
            raise _wrong("robot_hash", "64 hex digits")
        for name in ("package_digest", "package_before", "delta_digest", "keyid"):
            value = getattr(self, name)
            if value and not is_sha256(value):
                raise _wrong(name, "64 hex digits or none")
        for name in ("channel", "reason", "software"):
            if len(getattr(self, name)) > _LONGEST_TEXT:
                raise _wrong(name, f"at most {_LONGEST_TEXT} characters")
        text_forms.parse_time(self.time, _SOURCE)
        if self.outcome not in OUTCOMES:
            raise _wrong("outcome", f"one of {', '.join(OUTCOMES)}")
        if self.origin not in ORIGINS:
            raise _wrong("origin", "seed or channel")
        if not 0 <= self.release_counter <= canonical_json.MAX_INTEGER:
            raise _wrong("release_counter", "a count")
        if len(self.counts) > _MOST_COUNTS or not all(
            map(_COUNT.fullmatch, self.counts)
        ):
            raise _wrong("counts", f"at most {_MOST_COUNTS} plain names")

    @property
    def name(self) -> str:
        """Name of its file, in order of time: one fact, one name."""
        stamp = self.time.replace("-", "").replace(":", "")
        subject = (self.delta_digest or self.package_digest)[:_SUBJECT_DIGITS] or "none"
        return f"{stamp}-{self.outcome}-{self.release_counter}-{subject}.json"

    @property
    def path(self) -> str:
        """Path below the root of raw episodes, and below a robot's own receipts."""
        return f"{folder(self.robot_hash)}/{self.name}"

    def unsigned_bytes(self) -> bytes:
        """Returns the canonical bytes that the signature covers."""
        return canonical_json.encode(self._to_json())

    def _to_json(self) -> dict[str, object]:
        value: dict[str, object] = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        value["counts"] = dict(self.counts)
        value["schema_version"] = SCHEMA_VERSION
        return value


_KEYS: Final = (
    "schema_version",
    *(field.name for field in dataclasses.fields(Receipt)),
    _SIGNATURE,
)


def folder(robot_hash: str) -> str:
    """Returns the folder of one robot's receipts, below the root of raw episodes."""
    return f"{PREFIX}/robot_hash={robot_hash}"


def sign(receipt: Receipt, private_key: Ed25519PrivateKey) -> bytes:
    """Returns the bytes of the receipt, signed; any earlier `keyid` is replaced."""
    named = dataclasses.replace(receipt, keyid=compute_keyid(private_key.public_key()))
    signature = private_key.sign(named.unsigned_bytes())
    text = base64.b64encode(signature).decode()
    return canonical_json.encode({**named._to_json(), _SIGNATURE: text})


def parse(raw: bytes, source: Source = _SOURCE) -> Receipt:
    """Reads the structure of a receipt without checking its signature.

    Raises:
        OversizedError, MalformedError: the bytes are too many or not canonical JSON,
            or a field is missing, unknown or of the wrong form.
    """
    return _parse(raw, source)[0]


def verify(
    raw: bytes, enrolled: Mapping[str, Ed25519PublicKey], source: Source = _SOURCE
) -> Receipt:
    """Returns the receipt if an enrolled key signed exactly these bytes.

    Args:
        raw: bytes from outside.
        enrolled: public keys by their `keyid`.
        source: the name used in errors.

    Raises:
        ReceiptSignatureError: it is unsigned, not signed by an enrolled key, or was
            changed after signing.
        OversizedError, MalformedError: as `parse`.
    """
    receipt, text = _parse(raw, source)
    signed = receipt.unsigned_bytes()
    robot_signature.check(
        text, signed, receipt.keyid, enrolled, source, ReceiptSignatureError
    )
    return receipt


def _parse(raw: bytes, source: Source) -> tuple[Receipt, str]:
    fields = Fields(decode_canonical(raw, source, LIMIT_BYTES), source, _KEYS)
    fields.version(SCHEMA_VERSION)
    values: dict[str, Any] = {
        field.name: _text(fields, field.name)
        for field in dataclasses.fields(Receipt)
        if field.name not in ("release_counter", "counts")
    }
    counts: dict[str, int | float] = {}
    for name, value in fields.mapping("counts").items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise fields.fail("counts", "to hold numbers only")
        counts[name] = value
    counter = fields.integer("release_counter")
    receipt = Receipt(**values, release_counter=counter, counts=counts)
    return receipt, fields.text(_SIGNATURE)


def _text(fields: Fields, key: str) -> str:
    """Returns a text that may be empty."""
    value = fields.raw(key)
    if not isinstance(value, str):
        raise fields.fail(key, "to be a string")
    return value


def _wrong(name: str, expected: str) -> MalformedError:
    return MalformedError(_SOURCE, f"{name} to be {expected}", "another value")
