"""A robot's statement about one of its episodes, signed with the robot's key.

The bytes are canonical JSON. `signature` covers the canonical bytes of all other
fields, including `keyid`. `parse` reads only the structure; a sidecar can be trusted
only after `verify`.
"""

import base64
import dataclasses
import datetime
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from base import canonical_json, json_fields
from base.errors import CanonicalJsonError, MalformedError
from base.text_forms import parse_base64
from rlds import episode, redaction_record
from rlds.errors import (
    MalformedEpisodeError,
    SidecarError,
    SidecarMismatchError,
    SidecarSignatureError,
    SidecarSizeMismatchError,
)
from rlds.redaction_record import RedactionRecord

LIMIT_BYTES = 1024 * 1024

_SOURCE = "sidecar"
_SIGNATURE = "signature"
_SIGNATURE_SIZE_BYTES = 64
_SHA256 = re.compile("[0-9a-f]{64}")
_SHA256_OR_EMPTY = re.compile("([0-9a-f]{64})?")
_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MAX_TEXT = 4096  # characters


@dataclasses.dataclass(frozen=True)
class Consent:
    """Whether the operator allows the upload of the episode, who said so, and when."""

    granted: bool
    by: str
    at: str


@dataclasses.dataclass(frozen=True)
class Safety:
    """At how many steps a stop rule fired, and whether the episode is shared for it."""

    violations: int
    escalated: bool


@dataclasses.dataclass(frozen=True)
class Sidecar:
    """The statement about one episode.

    Attributes:
        schema_version: version of the episode's schema.
        episode_id: id of the episode that it is about.
        sha256: digest of the episode's file.
        size_bytes: size of the episode's file.
        num_steps: number of steps.
        robot_hash: keyed hash of the robot's id.
        date: day of the episode, `YYYY-MM-DD`.
        consent: the operator's consent.
        safety: what the stop rules did; clamped actions do not count.
        privacy: what was redacted.
        package_digest: digest of the package that acted, or "".
        delta_digest: digest of the active local delta, or "".
        software: version of the robot's runtime.
        keyid: SHA-256 of the signing key's public bytes; "" before it is signed.

    Raises:
        SidecarError: a value has the wrong type or form.
    """

    schema_version: str
    episode_id: str
    sha256: str
    size_bytes: int
    num_steps: int
    robot_hash: str
    date: str
    consent: Consent
    safety: Safety
    privacy: RedactionRecord
    package_digest: str
    delta_digest: str
    software: str
    keyid: str = ""

    def __post_init__(self) -> None:
        for name in ("schema_version", "software"):
            _check_text(name, getattr(self, name))
        for name in ("sha256", "robot_hash"):
            _check_form(name, getattr(self, name), _SHA256)
        for name in ("package_digest", "delta_digest", "keyid"):
            _check_form(name, getattr(self, name), _SHA256_OR_EMPTY)
        _check_count("size_bytes", self.size_bytes, 1)
        _check_count("num_steps", self.num_steps, 1)
        _check_count("safety.violations", self.safety.violations, 0)
        _check_bool("safety.escalated", self.safety.escalated)
        _check_bool("consent.granted", self.consent.granted)
        _check_text("consent.by", self.consent.by)
        _check_text("consent.at", self.consent.at)
        _check_form("date", self.date, _DATE)
        _check_text("episode_id", self.episode_id)
        try:
            datetime.date.fromisoformat(self.date)
            episode.check_episode_id(self.episode_id)
        except ValueError as e:
            raise SidecarError(_SOURCE, "a calendar date", self.date) from e
        except MalformedEpisodeError as e:
            raise SidecarError(_SOURCE, e.expected, e.got) from e

    def unsigned_bytes(self) -> bytes:
        """Returns the canonical bytes that the signature covers."""
        return canonical_json.encode(self._to_json())

    def check_episode(self, raw: bytes) -> None:
        """Checks that these are the bytes that the sidecar describes.

        Raises:
            SidecarSizeMismatchError: the size differs.
            SidecarMismatchError: the digest differs.
        """
        if len(raw) != self.size_bytes:
            raise SidecarSizeMismatchError(
                f"sidecar of {self.episode_id}",
                f"an episode of {self.size_bytes} bytes",
                len(raw),
            )
        found = hashlib.sha256(raw).hexdigest()
        if found != self.sha256:
            raise SidecarMismatchError(
                f"sidecar of {self.episode_id}", f"sha256 {self.sha256}", found
            )

    def _to_json(self) -> dict[str, object]:
        value: dict[str, object] = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        value["consent"] = dataclasses.asdict(self.consent)
        value["safety"] = dataclasses.asdict(self.safety)
        value["privacy"] = self.privacy.to_json()
        return value


def compute_keyid(key: Ed25519PublicKey) -> str:
    """Returns the id of a key: the SHA-256 of its 32 public bytes."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()


def sign(sidecar: Sidecar, private_key: Ed25519PrivateKey) -> bytes:
    """Returns the bytes of the sidecar, signed; any earlier `keyid` is replaced."""
    named = dataclasses.replace(sidecar, keyid=compute_keyid(private_key.public_key()))
    signature = private_key.sign(named.unsigned_bytes())
    text = base64.b64encode(signature).decode()
    return canonical_json.encode({**named._to_json(), _SIGNATURE: text})


def parse(raw: bytes) -> Sidecar:
    """Reads the structure of a sidecar without checking its signature.

    Raises:
        SidecarError: the bytes are too many or not canonical JSON, or a field is
            missing, unknown or of the wrong form.
        RedactionRecordError: the redaction record is missing or malformed.
    """
    value = _decode(raw)
    value.pop(_SIGNATURE, None)
    return _from_json(value)


def verify(raw: bytes, enrolled: Mapping[str, Ed25519PublicKey]) -> Sidecar:
    """Returns the sidecar if an enrolled key signed exactly these bytes.

    Args:
        raw: bytes from outside.
        enrolled: public keys by their `keyid`.

    Raises:
        SidecarSignatureError: it is unsigned, not signed by an enrolled key, or was
            changed after signing.
        SidecarError, RedactionRecordError: as `parse`.
    """
    value = _decode(raw)
    text = value.pop(_SIGNATURE, None)
    if not text:
        raise SidecarSignatureError(_SOURCE, "a signature", "none")
    named = value.get("keyid")
    key = enrolled.get(named) if isinstance(named, str) else None
    if key is None or compute_keyid(key) != named:
        raise SidecarSignatureError(_SOURCE, "the key of an enrolled robot", named)
    try:
        key.verify(_signature(text), canonical_json.encode(value))
    except InvalidSignature as e:
        raise SidecarSignatureError(
            _SOURCE, f"a signature by {named}", "one that does not match the bytes"
        ) from e
    return _from_json(value)


def _signature(text: object) -> bytes:
    try:
        raw = parse_base64(text, _SOURCE, "a signature")
    except MalformedError as e:
        raise SidecarSignatureError(_SOURCE, "a signature in base64", text) from e
    if len(raw) != _SIGNATURE_SIZE_BYTES or base64.b64encode(raw).decode() != text:
        raise SidecarSignatureError(
            _SOURCE, f"a signature of {_SIGNATURE_SIZE_BYTES} bytes", len(raw)
        )
    return raw


def _decode(raw: bytes) -> dict[str, Any]:
    if len(raw) > LIMIT_BYTES:
        raise SidecarError(_SOURCE, f"at most {LIMIT_BYTES} bytes", len(raw))
    try:
        value = canonical_json.decode_canonical(
            raw, json_fields.limit_values(LIMIT_BYTES)
        )
    except CanonicalJsonError as e:
        raise SidecarError(_SOURCE, e.expected, e.got) from e
    if not isinstance(value, dict):
        raise SidecarError(_SOURCE, "a JSON object", type(value).__name__)
    return value


def _from_json(value: Mapping[str, Any]) -> Sidecar:
    privacy = redaction_record.from_json(value.get("privacy"))
    _check_keys(_SOURCE, value, Sidecar)
    for name, part in (("consent", Consent), ("safety", Safety)):
        if not isinstance(value[name], dict):
            raise SidecarError(_SOURCE, f"{name} as an object", value[name])
        _check_keys(name, value[name], part)
    return Sidecar(
        **{
            **value,
            "consent": Consent(**value["consent"]),
            "safety": Safety(**value["safety"]),
            "privacy": privacy,
        }
    )


def _check_keys(
    where: str, value: Mapping[str, Any], kind: type[Sidecar | Consent | Safety]
) -> None:
    names = {field.name for field in dataclasses.fields(kind)}
    if set(value) != names:
        difference = sorted(set(value) ^ names)
        raise SidecarError(where, "exactly the keys of the schema", difference)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise SidecarError(_SOURCE, f"{name}: a string", repr(value))


def _check_form(name: str, value: object, form: re.Pattern[str]) -> None:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise SidecarError(_SOURCE, f"{name}: {form.pattern}", repr(value))


def _check_count(name: str, value: object, smallest: int) -> None:
    if type(value) is not int or not smallest <= value <= canonical_json.MAX_INTEGER:
        raise SidecarError(_SOURCE, f"{name}: a count from {smallest}", repr(value))


def _check_bool(name: str, value: object) -> None:
    if type(value) is not bool:
        raise SidecarError(_SOURCE, f"{name}: true or false", repr(value))
