"""Which public keys may sign what, and how many of them must.

A keyring is a JSON file that a robot or a person received in a trusted way:

    {"schema_version": 1,
     "keys": [{"keyid": "<sha256 of the public bytes>", "public": "<base64>",
               "roles": ["channel:nightly", "provenance"], "development": false}],
     "thresholds": {"channel:stable": 2}}

A role that is not in `thresholds` needs one signature.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from base import canonical_json, plain_file
from base.errors import MalformedError
from base.json_fields import Fields, decode
from base.text_forms import parse_base64
from release import dsse
from release.errors import (
    DevelopmentKeyError,
    DuplicateNameError,
    ThresholdNotMetError,
    UntrustedError,
    WrongRoleError,
)
from release.limits import LIMITS

SCHEMA_VERSION = 1
CHANNELS = ("nightly", "beta", "stable", "rollback")
PROVENANCE_ROLE = "provenance"
BLESSING_ROLE = "blessing"
ADMISSION_ROLE = "admission"
"""Verdicts of ingest on uploaded episodes; robots never ask for this role."""
NAME_KEYRING = (
    "name the file of public keys that belongs to the channel, such as the "
    "keys/keyring.json that //cloud:train keeps in its store"
)
"""What to do where a file that should be a keyring is none."""
ROLES = (
    "channel:nightly",
    "channel:beta",
    "channel:stable",
    BLESSING_ROLE,
    PROVENANCE_ROLE,
    ADMISSION_ROLE,
)


def channel_role(channel: str) -> str:
    """Returns the role that signs a channel; a rollback needs the stable keys.

    Raises:
        ValueError: the channel does not exist.
    """
    if channel not in CHANNELS:
        raise ValueError(f"expected a channel of {CHANNELS}, got {channel!r}")
    return "channel:stable" if channel == "rollback" else f"channel:{channel}"


@dataclass(frozen=True)
class TrustedKey:
    """One public key of a keyring.

    Attributes:
        public: the Ed25519 public key.
        roles: what it may sign, from `ROLES`.
        development: whether it was made on a developer's machine and is unprotected.
    """

    public: Ed25519PublicKey
    roles: tuple[str, ...]
    development: bool

    def __post_init__(self) -> None:
        for role in self.roles:
            if role not in ROLES:
                raise ValueError(f"expected a role of {ROLES}, got {role!r}")

    @property
    def keyid(self) -> str:
        """The sha256 of the public bytes."""
        return dsse.compute_keyid(self.public)


@dataclass(frozen=True)
class TrustedKeys:
    """A keyring, and whether its development keys count.

    Attributes:
        keys: all keys by key id. They include development keys that are refused, so
            that a refused key can be distinguished from an unknown one.
        allow_development: whether development keys count.
        thresholds: number of signatures that a role needs; one if it is absent.
    """

    keys: Mapping[str, TrustedKey]
    allow_development: bool
    thresholds: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_keys(
        cls,
        *keys: TrustedKey,
        allow_development: bool,
        thresholds: Mapping[str, int] | None = None,
    ) -> "TrustedKeys":
        """Returns a keyring of `keys`."""
        by_id = {key.keyid: key for key in keys}
        return cls(by_id, allow_development, dict(thresholds or {}))

    @classmethod
    def parse(
        cls, raw: bytes, allow_development: bool, source: str | Path = "keyring"
    ) -> "TrustedKeys":
        """Reads a keyring.

        Raises:
            OversizedError: `raw` is longer than a keyring may be.
            MalformedError: `raw` is no keyring, a key id does not match its key, a
                role does not exist, or a threshold is below one.
            DuplicateNameError: one key occurs twice.
        """
        value = decode(raw, source, LIMITS.keyring_bytes)
        if (other := _name_other_file(value)) is not None:
            raise MalformedError(source, "a keyring", other, NAME_KEYRING)
        fields = Fields(value, source, ("schema_version", "keys"), "", ("thresholds",))
        fields.version(SCHEMA_VERSION)
        entries = fields.each("keys", ("keyid", "public", "roles", "development"))
        if len(entries) > LIMITS.keys:
            raise fields.fail("keys", f"to hold at most {LIMITS.keys} keys")
        keys: dict[str, TrustedKey] = {}
        for entry in entries:
            key = _parse_key(entry, source)
            if key.keyid in keys:
                raise DuplicateNameError(source, "each key once", key.keyid)
            keys[key.keyid] = key
        return cls(keys, allow_development, _parse_thresholds(fields))

    @classmethod
    def read(cls, path: Path, allow_development: bool) -> "TrustedKeys":
        """Reads a keyring file.

        Raises:
            OSError: the file cannot be read.
            OversizedError, MalformedError, DuplicateNameError: as `parse`.
        """
        raw = plain_file.read(path, LIMITS.keyring_bytes)
        return cls.parse(raw, allow_development, path)

    def encode(self) -> bytes:
        """Returns the bytes of the keyring file."""
        value = {
            "schema_version": SCHEMA_VERSION,
            "keys": [
                {
                    "keyid": keyid,
                    "public": base64.b64encode(key.public.public_bytes_raw()).decode(),
                    "roles": sorted(key.roles),
                    "development": key.development,
                }
                for keyid, key in sorted(self.keys.items())
            ],
            "thresholds": dict(self.thresholds),
        }
        return canonical_json.encode(value)

    def threshold(self, role: str) -> int:
        """Returns how many different keys must sign for `role`."""
        return self.thresholds.get(role, 1)

    def keys_for_role(self, role: str) -> dict[str, Ed25519PublicKey]:
        """Returns the keys that count for `role`, by key id."""
        return {
            keyid: key.public
            for keyid, key in self.keys.items()
            if role in key.roles and (self.allow_development or not key.development)
        }

    def verify_envelope(
        self, envelope: dsse.Envelope, role: str, payload_type: str
    ) -> bytes:
        """Returns the payload of `envelope` if enough keys of `role` signed it.

        Raises:
            MalformedError: the envelope has another payload type.
            UnsignedError: there is no signature.
            DevelopmentKeyError: a development key signed, and these do not count.
            WrongRoleError: a key without the role signed.
            BadSignatureError: a signature does not match the bytes.
            UnknownKeyError: only unknown keys signed.
            ThresholdNotMetError: there are too few good signatures.
        """
        accepted = self.keys_for_role(role)
        try:
            return dsse.verify_envelope(
                envelope, accepted, self.threshold(role), payload_type
            )
        except UntrustedError as error:
            raise self._explain(envelope, role, error) from error

    def _explain(
        self, envelope: dsse.Envelope, role: str, error: UntrustedError
    ) -> UntrustedError:
        """Returns a more precise error if the keyring gives one, else `error`."""
        everyone = {keyid: key.public for keyid, key in self.keys.items()}
        refused = envelope.find_good_keyids(everyone) - set(self.keys_for_role(role))
        signers = [(keyid, self.keys[keyid]) for keyid in sorted(refused)]
        for keyid, key in signers:
            if role in key.roles:
                return DevelopmentKeyError(
                    envelope.source, "a release key", f"development key {keyid[:12]}"
                )
        for keyid, key in signers:
            if not isinstance(error, ThresholdNotMetError):
                roles = ", ".join(key.roles) or "none"
                return WrongRoleError(
                    envelope.source,
                    f"a signature by a key with role {role}",
                    f"key {keyid[:12]} with roles {roles}",
                )
        return error


def _name_other_file(value: object) -> str | None:
    """Says what was named instead of a keyring; None for what may be one.

    Keys and channels lie beside it, and all of them are JSON.
    """
    if not isinstance(value, Mapping) or "keys" in value:
        return None
    if "private" in value:
        return "a private key, which stays with whoever signs"
    if "release_counter" in value and "channel" in value:
        return "a channel"
    return "a signed file" if "payloadType" in value else "another file"


def _parse_key(entry: Fields, source: str | Path) -> TrustedKey:
    text = entry.text("public")
    try:
        raw = parse_base64(text, source, "a public key")
        public = Ed25519PublicKey.from_public_bytes(raw)
    except (MalformedError, ValueError) as e:
        raise MalformedError(
            source, "an Ed25519 public key of 32 bytes in base64", repr(text)
        ) from e
    roles = entry.texts("roles")
    for role in roles:
        if role not in ROLES:
            raise MalformedError(source, "roles of " + ", ".join(ROLES), repr(role))
    key = TrustedKey(public, roles, entry.boolean("development"))
    if entry.text("keyid") != key.keyid:
        raise MalformedError(source, f"keyid {key.keyid}", entry.text("keyid"))
    return key


def _parse_thresholds(fields: Fields) -> dict[str, int]:
    if not fields.has("thresholds"):
        return {}
    thresholds = {}
    for role, count in fields.mapping("thresholds").items():
        whole = isinstance(count, int) and not isinstance(count, bool)
        if role not in ROLES or not isinstance(count, int) or not whole or count < 1:
            raise fields.fail("thresholds", "to map roles to counts of at least 1")
        thresholds[role] = count
    return thresholds
