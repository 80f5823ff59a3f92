import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from hypothesis import given
from hypothesis import strategies as st

from base.errors import ContinuonError, MalformedError, OversizedError
from release import dsse
from release.errors import (
    BadSignatureError,
    DuplicateNameError,
    ThresholdNotMetError,
    UnknownKeyError,
    UnsignedError,
)
from release.testing.tiny_release import PrivateKey

TYPE = "application/vnd.test+json"
GOLDEN = (
    b'{"payload":"e30=","payloadType":"application/vnd.test+json",'
    b'"signatures":[{"keyid":"56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c",'
    b'"sig":"u4RTZC/IKekjx55oZciMYTUPmiuU/SZLsX1TqiiqxqSNweSP9brrHUjCJJr6ScQm/bMHIZYcHqu75JuDXK66Ag=="}]}'
    b"\n"
)
ALICE, BOB, EVE = (PrivateKey.generate() for _ in range(3))


def trusting(*keys: PrivateKey) -> dict[str, Ed25519PublicKey]:
    return {key.keyid: key.private.public_key() for key in keys}


def changed(raw: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(raw)
    change(value)
    return json.dumps(value).encode()


def test_pae_matches_the_example_of_the_specification() -> None:
    pae = dsse.pae("http://example.com/HelloWorld", b"hello world")
    assert pae == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_verify_returns_the_payload_byte_for_byte() -> None:
    payload = b"\x00\xff not JSON"
    raw = dsse.sign(payload, TYPE, [ALICE])
    assert dsse.verify(raw, trusting(ALICE), 1, TYPE) == payload


def test_an_envelope_of_format_one_still_verifies() -> None:
    key = PrivateKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))), (), False)
    assert dsse.sign(b"{}", TYPE, [key]) == GOLDEN
    assert dsse.verify(GOLDEN, trusting(key), 1, TYPE) == b"{}"


def test_an_empty_payload_can_be_signed() -> None:
    raw = dsse.sign(b"", TYPE, [ALICE])
    assert dsse.verify(raw, trusting(ALICE), 1, TYPE) == b""


def test_the_same_payload_and_keys_give_the_same_envelope() -> None:
    assert dsse.sign(b"x", TYPE, [ALICE, BOB]) == dsse.sign(b"x", TYPE, [BOB, ALICE])


def test_an_unsigned_envelope_is_refused() -> None:
    raw = changed(dsse.sign(b"x", TYPE, [ALICE]), lambda v: v["signatures"].clear())
    with pytest.raises(UnsignedError, match="expected a signature, got none"):
        dsse.verify(raw, trusting(ALICE), 1, TYPE)


def test_a_key_removed_from_the_keyring_no_longer_counts() -> None:
    raw = dsse.sign(b"x", TYPE, [EVE])
    with pytest.raises(UnknownKeyError, match=EVE.keyid):
        dsse.verify(raw, trusting(ALICE, BOB), 1, TYPE)


def test_another_payload_under_the_same_signature_is_refused() -> None:
    def swap(value: dict[str, Any]) -> None:
        value["payload"] = base64.b64encode(b"y").decode()

    raw = changed(dsse.sign(b"x", TYPE, [ALICE]), swap)
    with pytest.raises(BadSignatureError, match=ALICE.keyid):
        dsse.verify(raw, trusting(ALICE), 1, TYPE)


def test_a_signature_by_another_key_under_a_trusted_key_id_is_refused() -> None:
    def rename(value: dict[str, Any]) -> None:
        value["signatures"][0]["keyid"] = ALICE.keyid

    raw = changed(dsse.sign(b"x", TYPE, [EVE]), rename)
    with pytest.raises(BadSignatureError):
        dsse.verify(raw, trusting(ALICE), 1, TYPE)


def test_sixty_four_zero_bytes_are_a_bad_signature() -> None:
    def zero(value: dict[str, Any]) -> None:
        value["signatures"][0]["sig"] = base64.b64encode(bytes(64)).decode()

    raw = changed(dsse.sign(b"x", TYPE, [ALICE]), zero)
    with pytest.raises(BadSignatureError):
        dsse.verify(raw, trusting(ALICE), 1, TYPE)


@pytest.mark.parametrize("size", [0, 1, 63, 65])
def test_a_signature_of_another_length_is_refused(size: int) -> None:
    def cut(value: dict[str, Any]) -> None:
        value["signatures"][0]["sig"] = base64.b64encode(bytes(size)).decode()

    raw = changed(dsse.sign(b"x", TYPE, [ALICE]), cut)
    with pytest.raises((BadSignatureError, MalformedError)):
        dsse.verify(raw, trusting(ALICE), 1, TYPE)


def test_a_signed_payload_of_another_type_is_refused() -> None:
    raw = dsse.sign(b"x", "application/other", [ALICE])
    with pytest.raises(MalformedError, match="application/other"):
        dsse.verify(raw, trusting(ALICE), 1, TYPE)


def test_changing_the_payload_type_invalidates_the_signature() -> None:
    def retype(value: dict[str, Any]) -> None:
        value["payloadType"] = TYPE

    raw = changed(dsse.sign(b"x", "application/other", [ALICE]), retype)
    with pytest.raises(BadSignatureError):
        dsse.verify(raw, trusting(ALICE), 1, TYPE)


def test_two_signatures_by_one_key_do_not_reach_a_threshold_of_two() -> None:
    def repeat(value: dict[str, Any]) -> None:
        value["signatures"] *= 2

    raw = changed(dsse.sign(b"x", TYPE, [ALICE]), repeat)
    with pytest.raises(DuplicateNameError):
        dsse.verify(raw, trusting(ALICE, BOB), 2, TYPE)


def test_one_of_two_signatures_is_too_few() -> None:
    raw = dsse.sign(b"x", TYPE, [ALICE])
    with pytest.raises(ThresholdNotMetError, match="by 2 keys, got 1"):
        dsse.verify(raw, trusting(ALICE, BOB), 2, TYPE)


def test_a_signature_by_an_unknown_key_does_not_count_towards_a_threshold() -> None:
    raw = dsse.sign(b"x", TYPE, [ALICE, EVE])
    with pytest.raises(ThresholdNotMetError):
        dsse.verify(raw, trusting(ALICE, BOB), 2, TYPE)


def test_a_second_key_holder_adds_a_signature_and_keeps_the_first() -> None:
    raw = dsse.add_signatures(dsse.sign(b"x", TYPE, [ALICE]), [BOB])
    assert dsse.verify(raw, trusting(ALICE, BOB), 2, TYPE) == b"x"


def test_an_unknown_signature_next_to_enough_good_ones_is_accepted() -> None:
    raw = dsse.sign(b"x", TYPE, [ALICE, EVE])
    assert dsse.verify(raw, trusting(ALICE), 1, TYPE) == b"x"


def test_a_threshold_of_zero_raises_value_error() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        dsse.verify(dsse.sign(b"x", TYPE, [ALICE]), {}, 0, TYPE)


def test_too_many_signatures_are_refused_before_any_is_checked() -> None:
    def flood(value: dict[str, Any]) -> None:
        value["signatures"] = [
            {"keyid": f"{n:064x}", "sig": "AAAA"} for n in range(100)
        ]

    raw = changed(dsse.sign(b"x", TYPE, [ALICE]), flood)
    with pytest.raises(MalformedError, match="at most 32 signatures"):
        dsse.verify(raw, trusting(ALICE), 1, TYPE)


def test_an_oversized_envelope_is_not_decoded() -> None:
    raw = dsse.sign(b"x" * 1000, TYPE, [ALICE])
    with pytest.raises(OversizedError, match="at most 1000 bytes"):
        dsse.verify(raw, trusting(ALICE), 1, TYPE, limit_bytes=1000)


def test_duplicate_json_names_are_refused() -> None:
    raw = dsse.sign(b"x", TYPE, [ALICE])
    raw = raw.replace(b'{"payload":', b'{"payload":"eA==","payload":', 1)
    with pytest.raises(MalformedError):
        dsse.verify(raw, trusting(ALICE), 1, TYPE)


@given(st.binary(max_size=300))
def test_random_bytes_are_an_envelope_or_raise_a_typed_error(raw: bytes) -> None:
    with pytest.raises(ContinuonError):
        dsse.verify(raw, trusting(ALICE), 1, TYPE)


@given(st.data())
def test_any_flipped_bit_is_detected(data: st.DataObject) -> None:
    raw = bytearray(dsse.sign(b"payload", TYPE, [ALICE]))
    index = data.draw(st.integers(0, len(raw) - 1))
    raw[index] ^= 1 << data.draw(st.integers(0, 7))
    try:
        payload = dsse.verify(bytes(raw), trusting(ALICE), 1, TYPE)
    except ContinuonError:
        return
    # Base64 has spare bits that carry nothing; the payload is what was signed.
    assert payload == b"payload"
