"""The check of what a robot signed: a receipt, or a decision about an episode."""

import base64
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from base import text_forms
from base.json_fields import Source
from rlds.errors import RldsError
from rlds.sidecar import compute_keyid


def check(
    text: str,
    signed: bytes,
    keyid: str,
    enrolled: Mapping[str, Ed25519PublicKey],
    source: Source,
    error: type[RldsError],
) -> None:
    """Checks that an enrolled key signed exactly these bytes.

    Args:
        text: the signature in base64, in its one form.
        signed: what it is a signature of.
        keyid: the key that is said to have signed.
        enrolled: public keys by their `keyid`.
        source: the name used in errors.
        error: what to raise.

    Raises:
        RldsError: of the class `error`, where it did not.
        MalformedError: the text is no base64.
    """
    key = enrolled.get(keyid)
    if key is None or compute_keyid(key) != keyid:
        raise error(source, "the key of an enrolled robot", "another")
    signature = text_forms.parse_base64(text, source, "a signature")
    if base64.b64encode(signature).decode() != text:  # base64 has idle bits
        raise error(source, "a signature in its one form", "another")
    try:
        key.verify(signature, signed)
    except InvalidSignature as e:
        raise error(source, f"a signature by {keyid}", "one that does not match") from e
