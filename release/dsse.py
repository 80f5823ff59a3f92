"""Signatures over bytes: DSSE v1 envelopes with Ed25519.

A signature covers the payload's type and its exact bytes (the pre-authentication
encoding), so a signed blessing can never be read as a channel. No part of the payload
is parsed before its signatures have been checked.
Source: DSSE protocol 1.0.2, "Signature Definition".
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from base import canonical_json
from base.digest import sha256_bytes
from base.errors import MalformedError
from base.json_fields import Fields, decode
from base.text_forms import parse_base64
from release.errors import (
    BadSignatureError,
    DuplicateNameError,
    ThresholdNotMetError,
    UnknownKeyError,
    UnsignedError,
)
from release.limits import LIMITS


class Signer(Protocol):
    """Holds one private key and signs with it."""

    @property
    def keyid(self) -> str:
        """The id of the public key."""

    def sign(self, message: bytes) -> bytes:
        """Returns the 64-byte Ed25519 signature of `message`."""


@dataclass(frozen=True)
class Envelope:
    """A payload with its signatures, which are not checked yet.

    Attributes:
        payload: bytes that must go to `verify_envelope` before any parser.
        payload_type: type of the payload according to the signers.
        signatures: signature bytes by key id.
        source: where it came from, for errors.
    """

    payload: bytes
    payload_type: str
    signatures: Mapping[str, bytes]
    source: str

    @classmethod
    def parse(
        cls,
        raw: bytes,
        source: str | Path = "envelope",
        limit_bytes: int = LIMITS.envelope_bytes,
    ) -> "Envelope":
        """Reads an envelope without checking its signatures.

        Raises:
            OversizedError: `raw` is longer than `limit_bytes`.
            MalformedError: `raw` is not a DSSE envelope, or has too many signatures.
            DuplicateNameError: one key id occurs twice.
        """
        # The one line of a .jsonl file ends with a newline.
        line = raw.removesuffix(b"\n")
        keys = ("payload", "payloadType", "signatures")
        fields = Fields(decode(line, source, limit_bytes), source, keys)
        listed = fields.each("signatures", ("keyid", "sig"))
        if len(listed) > LIMITS.signatures:
            raise MalformedError(
                source, f"at most {LIMITS.signatures} signatures", f"{len(listed)}"
            )
        signatures: dict[str, bytes] = {}
        for one in listed:
            keyid = one.sha256("keyid")
            if keyid in signatures:
                raise DuplicateNameError(source, "one signature for each key", keyid)
            signatures[keyid] = parse_base64(one.text("sig"), source, "a signature")
        payload = fields.raw("payload")
        if not isinstance(payload, str):
            raise fields.fail("payload", "to be base64 text")
        return cls(
            payload=parse_base64(payload, source, "the payload"),
            payload_type=fields.text("payloadType"),
            signatures=signatures,
            source=str(source),
        )

    def find_good_keyids(self, keys: Mapping[str, Ed25519PublicKey]) -> frozenset[str]:
        """Returns the ids of those of `keys` that signed this payload and type."""
        message = pae(self.payload_type, self.payload)
        return frozenset(
            keyid
            for keyid, signature in self.signatures.items()
            if keyid in keys and _holds(keys[keyid], signature, message)
        )

    def encode(self) -> bytes:
        """Returns the envelope as one line of JSON, signatures in key id order."""
        value = {
            "payload": base64.b64encode(self.payload).decode("ascii"),
            "payloadType": self.payload_type,
            "signatures": [
                {"keyid": keyid, "sig": base64.b64encode(sig).decode("ascii")}
                for keyid, sig in sorted(self.signatures.items())
            ],
        }
        return canonical_json.encode(value) + b"\n"


def compute_keyid(public: Ed25519PublicKey) -> str:
    """Returns a key's id: the sha256 of its 32 public bytes."""
    return sha256_bytes(public.public_bytes_raw())


def pae(payload_type: str, payload: bytes) -> bytes:
    """Returns the bytes that are signed.

    Source: DSSE protocol 1.0.2: "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body.
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, payload_type: str, keys: Sequence[Signer]) -> bytes:
    """Returns an envelope of `payload` signed by each of `keys`.

    Raises:
        ValueError: `keys` is empty.
    """
    if not keys:
        raise ValueError("expected at least one key, got none")
    message = pae(payload_type, payload)
    signatures = {key.keyid: key.sign(message) for key in keys}
    return Envelope(payload, payload_type, signatures, "envelope").encode()


def add_signatures(raw: bytes, keys: Sequence[Signer]) -> bytes:
    """Returns the envelope `raw` with the signatures of `keys` added.

    The payload is signed as it is: the caller must have compared it with what it wants
    to sign. Existing signatures stay, whether good or not.

    Raises:
        MalformedError: `raw` is not an envelope.
    """
    old = Envelope.parse(raw)
    message = pae(old.payload_type, old.payload)
    added = {key.keyid: key.sign(message) for key in keys}
    signatures = {**old.signatures, **added}
    return Envelope(old.payload, old.payload_type, signatures, old.source).encode()


def verify(
    raw: bytes,
    keys: Mapping[str, Ed25519PublicKey],
    threshold: int,
    payload_type: str,
    source: str | Path = "envelope",
    limit_bytes: int = LIMITS.envelope_bytes,
) -> bytes:
    """Returns the payload if at least `threshold` different keys of `keys` signed it.

    Raises:
        MalformedError: `raw` is not an envelope, or has another payload type.
        OversizedError: `raw` is longer than `limit_bytes`.
        DuplicateNameError: one key id occurs twice.
        UnsignedError: there is no signature.
        UnknownKeyError: all signatures are by keys outside `keys`.
        BadSignatureError: a key of `keys` is named, but its signature is wrong.
        ThresholdNotMetError: the signatures are good, but too few.
        ValueError: `threshold` is below one.
    """
    envelope = Envelope.parse(raw, source, limit_bytes)
    return verify_envelope(envelope, keys, threshold, payload_type)


def verify_envelope(
    envelope: Envelope,
    keys: Mapping[str, Ed25519PublicKey],
    threshold: int,
    payload_type: str,
) -> bytes:
    """Returns the payload of a parsed envelope; raises as `verify` does."""
    if threshold < 1:
        raise ValueError(f"expected a threshold of at least 1, got {threshold}")
    source = envelope.source
    if envelope.payload_type != payload_type:
        raise MalformedError(
            source, f"a {payload_type} envelope", envelope.payload_type
        )
    if not envelope.signatures:
        raise UnsignedError(source, "a signature", "none")
    good = envelope.find_good_keyids(keys)
    if len(good) >= threshold:
        return envelope.payload
    named = sorted(set(envelope.signatures) & set(keys))
    if not named:
        raise UnknownKeyError(
            source, "a signature by a trusted key", f"key {min(envelope.signatures)}"
        )
    bad = sorted(set(named) - good)
    if bad:
        raise BadSignatureError(
            source, f"a signature by key {bad[0]} over these bytes", "another signature"
        )
    raise ThresholdNotMetError(
        source, f"good signatures by {threshold} keys", f"{len(good)}"
    )


def _holds(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
