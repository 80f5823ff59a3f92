import dataclasses
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from base import canonical_json
from base.errors import ContinuonError, MalformedError
from rlds import consent_record, sidecar
from rlds.consent_record import ConsentRecord, Decision
from rlds.errors import ConsentSignatureError

_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
_ENROLLED = {sidecar.compute_keyid(_KEY.public_key()): _KEY.public_key()}
_RECORD = ConsentRecord(
    episode_id="01900000-0000-7000-8000-00000000002a",
    robot_hash="ab" * 32,
    date="2026-01-31",
    sha256="cd" * 32,
    counter=2,
    decision=Decision.TAKEN_BACK,
    at="2026-02-01T08:00:00Z",
)
_SIGNED = consent_record.sign(_RECORD, _KEY)


def _change(**fields: Any) -> bytes:
    return canonical_json.encode({**json.loads(_SIGNED), **fields})


def test_signed_record_reads_back_and_signing_again_gives_the_same_bytes() -> None:
    read = consent_record.verify(_SIGNED, _ENROLLED)
    assert dataclasses.replace(read, keyid="") == _RECORD
    assert consent_record.sign(read, _KEY) == _SIGNED
    assert consent_record.parse(_SIGNED) == read
    assert not read.is_granted


@pytest.mark.parametrize(
    "changes",
    [
        {"decision": "granted"},
        {"counter": 3},
        {"sha256": "00" * 32},
        {"episode_id": "01900000-0000-7000-8000-00000000002b"},
        {"robot_hash": "00" * 32},
        {"date": "2026-01-30"},
        {"at": "2026-02-01T09:00:00Z"},
        {
            "signature": json.loads(consent_record.sign(_RECORD, _OTHER_KEY))[
                "signature"
            ]
        },
    ],
)
def test_record_that_was_changed_after_signing_is_refused(
    changes: dict[str, Any],
) -> None:
    raw = _change(**changes)
    consent_record.parse(raw)
    with pytest.raises(ConsentSignatureError, match="does not match"):
        consent_record.verify(raw, _ENROLLED)


def test_record_by_a_key_that_is_not_enrolled_is_refused() -> None:
    with pytest.raises(ConsentSignatureError, match="enrolled robot"):
        consent_record.verify(consent_record.sign(_RECORD, _OTHER_KEY), _ENROLLED)


@pytest.mark.parametrize(
    "changes",
    [
        {"by": "Ada"},
        {"at": "2026-02-01T08:12:00Z"},
        {"at": ""},
        {"date": "2026-02-30"},
        {"date": "20260131"},
        {"counter": 0},
        {"counter": True},
        {"counter": 10**9},
        {"decision": "maybe"},
        {"sha256": "cd"},
        {"episode_id": "../x"},
        {"schema_version": 2},
        {"note": "hello"},
    ],
)
def test_record_with_a_value_of_another_form_is_malformed(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(MalformedError):
        consent_record.parse(_change(**changes))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.integers(0, len(_SIGNED) - 1))
def test_other_bytes_raise_an_error_of_ours(other: bytes | int) -> None:
    raw = other if isinstance(other, bytes) else _SIGNED[:other]
    with pytest.raises(ContinuonError):
        consent_record.verify(raw, _ENROLLED)
