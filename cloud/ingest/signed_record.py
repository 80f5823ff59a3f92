"""A JSON record that ingest signs: readable by everybody, believed by its signature.

    {..., "keyid": "<64 hex>", "signature": "<base64 of 64 bytes>"}

Robots' accounts may write to the raw root, so a record is worth as much as its
signature. It covers the kind of the record and the canonical bytes of all other keys
(the pre-authentication encoding of DSSE, as packages use it): a claim can never be read
as a verdict.
"""

import base64
from collections.abc import Mapping

from base import canonical_json
from base.errors import CanonicalJsonError, MalformedError
from base.json_fields import decode_canonical
from base.text_forms import parse_base64
from release import dsse
from release.signing.private_keys import PrivateKey
from release.trusted_keys import ADMISSION_ROLE, TrustedKeys

LIMIT_BYTES = 256 * 1024

_KEYID, _SIGNATURE = "keyid", "signature"
_REMEDY = "let //cloud:ingest write it again"


def sign(value: Mapping[str, object], kind: str, key: PrivateKey) -> bytes:
    """Returns the canonical bytes of the record, signed."""
    named = {**value, _KEYID: key.keyid}
    signature = key.sign(dsse.pae(kind, canonical_json.encode(named)))
    text = base64.b64encode(signature).decode("ascii")
    return canonical_json.encode({**named, _SIGNATURE: text})


def verify(
    raw: bytes, kind: str, trusted: TrustedKeys, where: str
) -> dict[str, object]:
    """Returns the record without key id and signature, if a trusted key signed it.

    Raises:
        OversizedError: there are more bytes than a record can have.
        MalformedError: the bytes are not the canonical JSON of such a record.
        UntrustedError: it is not signed, not by a trusted key, or was changed.
    """
    value = decode_canonical(raw, where, LIMIT_BYTES)
    if not isinstance(value, dict):
        raise MalformedError(where, "a JSON object", type(value).__name__, _REMEDY)
    signature = _unbase64(value.pop(_SIGNATURE, None), where)
    keyid = value.get(_KEYID)
    signatures = {keyid: signature} if isinstance(keyid, str) and signature else {}
    try:
        payload = canonical_json.encode(value)
    except CanonicalJsonError as e:
        raise MalformedError(where, "canonical JSON", e.got, _REMEDY) from e
    envelope = dsse.Envelope(payload, kind, signatures, where)
    trusted.verify_envelope(envelope, ADMISSION_ROLE, kind)
    del value[_KEYID]
    return value


def _unbase64(text: object, where: str) -> bytes:
    if text is None:
        return b""
    return parse_base64(text, where, "a signature")
