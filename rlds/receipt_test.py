import dataclasses
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from base import canonical_json
from base.errors import ContinuonError, MalformedError, OversizedError
from rlds import receipt, sidecar
from rlds.errors import ReceiptSignatureError
from rlds.receipt import Receipt

_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
_ENROLLED = {
    sidecar.compute_keyid(key.public_key()): key.public_key() for key in (_KEY,)
}
_RECEIPT = Receipt(
    robot_hash="ab" * 32,
    time="2026-02-03T08:00:00Z",
    outcome=receipt.FELL_BACK,
    package_digest="cd" * 32,
    package_before="ef" * 32,
    delta_digest="",
    release_counter=42,
    channel="stable",
    origin="channel",
    reason="5 of 9 episodes ended by a stop rule",
    counts={"episodes": 9, "stopped": 5, "canary_error": 0.25},
    software="0.1.0",
)
_SIGNED = receipt.sign(_RECEIPT, _KEY)


def _change(**fields: Any) -> bytes:
    return canonical_json.encode({**json.loads(_SIGNED), **fields})


def test_signed_receipt_reads_back_and_signing_again_gives_the_same_bytes() -> None:
    read = receipt.verify(_SIGNED, _ENROLLED)
    assert dataclasses.replace(read, keyid="") == _RECEIPT
    assert receipt.sign(read, _KEY) == _SIGNED
    assert receipt.parse(_SIGNED) == read


def test_path_is_that_of_the_table_and_names_one_fact() -> None:
    assert _RECEIPT.path == (
        f"receipts_v0/robot_hash={'ab' * 32}"
        "/20260203T080000Z-fell_back-42-cdcdcdcdcdcd.json"
    )
    unknown = dataclasses.replace(_RECEIPT, outcome="refused", package_digest="")
    assert unknown.name == "20260203T080000Z-refused-42-none.json"
    learned = dataclasses.replace(_RECEIPT, outcome="learned", delta_digest="01" * 32)
    assert learned.name == "20260203T080000Z-learned-42-010101010101.json"


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": "committed"},
        {"reason": "all is well"},
        {"release_counter": 43},
        {"package_digest": "00" * 32},
        {"counts": {"episodes": 9, "stopped": 0, "canary_error": 0.25}},
        {"time": "2026-02-03T08:00:01Z"},
        {"signature": json.loads(receipt.sign(_RECEIPT, _OTHER_KEY))["signature"]},
    ],
)
def test_receipt_that_was_changed_after_signing_is_refused(
    changes: dict[str, Any],
) -> None:
    raw = _change(**changes)
    receipt.parse(raw)
    with pytest.raises(ReceiptSignatureError, match="does not match"):
        receipt.verify(raw, _ENROLLED)


def test_receipt_of_a_key_that_is_not_enrolled_is_refused() -> None:
    raw = receipt.sign(_RECEIPT, _OTHER_KEY)
    with pytest.raises(ReceiptSignatureError, match="enrolled robot"):
        receipt.verify(raw, _ENROLLED)
    keyid = json.loads(raw)["keyid"]
    with pytest.raises(ReceiptSignatureError, match="enrolled robot"):
        receipt.verify(raw, {keyid: _KEY.public_key()})


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"schema_version": 2}, "schema_version to be 1"),
        ({"outcome": "exploded"}, "outcome to be one of"),
        ({"robot_hash": "jane"}, "robot_hash"),
        ({"package_digest": "x"}, "package_digest"),
        ({"time": "yesterday"}, "UTC time"),
        ({"origin": "friend"}, "origin"),
        ({"release_counter": -1}, "release_counter"),
        ({"release_counter": True}, "release_counter"),
        ({"reason": "x" * 1001}, "1000 characters"),
        ({"counts": {"a b": 1}}, "plain names"),
        ({"counts": {"a": "1"}}, "numbers only"),
        ({"counts": {"a": True}}, "numbers only"),
        ({"counts": {f"a{k}": k for k in range(65)}}, "at most 64"),
        ({"more": 1}, "only fields of the format"),
        ({"signature": ""}, "signature"),
        ({"signature": "*"}, "base64"),
    ],
)
def test_malformed_receipt_is_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(MalformedError, match=match):
        receipt.verify(_change(**changes), _ENROLLED)


def test_other_bytes_of_the_same_value_are_refused() -> None:
    with pytest.raises(MalformedError, match="canonical"):
        receipt.parse(_SIGNED.replace(b":42", b": 42"))
    with pytest.raises(OversizedError):
        receipt.parse(_SIGNED.ljust(receipt.LIMIT_BYTES + 1))


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.integers(0, len(_SIGNED) - 1), st.integers(1, 255))
def test_any_changed_byte_is_refused(position: int, change: int) -> None:
    raw = bytearray(_SIGNED)
    raw[position] ^= change
    with pytest.raises(ContinuonError):
        receipt.verify(bytes(raw), _ENROLLED)
