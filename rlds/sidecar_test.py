import base64
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from base import canonical_json
from base.errors import ContinuonError
from rlds import sidecar
from rlds.errors import (
    RedactionRecordError,
    SidecarError,
    SidecarMismatchError,
    SidecarSignatureError,
    SidecarSizeMismatchError,
)
from rlds.redaction_record import RedactionRecord
from rlds.sidecar import Consent, Safety, Sidecar
from rlds.testing import episodes

_BOUNDED = settings(max_examples=200, derandomize=True, deadline=None)
_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
_ENROLLED = {sidecar.compute_keyid(_KEY.public_key()): _KEY.public_key()}
_SCHEMA = json.loads(Path(__file__).with_name("sidecar.schema.json").read_bytes())


def _sidecar(number: int = 0, **changes: Any) -> Sidecar:
    raw = episodes.frame_episode(episodes.episode(number=number))
    fields: dict[str, Any] = {
        "schema_version": "0.1.0",
        "episode_id": episodes.metadata(number).episode_id,
        "sha256": hashlib.sha256(raw).hexdigest(),
        "size_bytes": len(raw),
        "num_steps": 5,
        "robot_hash": "ab" * 32,
        "date": "2026-01-01",
        "consent": Consent(True, "operator", "2026-01-01T08:00:00Z"),
        "safety": Safety(1, True),
        "privacy": RedactionRecord(
            "numeric-1", {"faces": "ef" * 32}, ("robot_hash", "tags"), 0, True
        ),
        "package_digest": "cd" * 32,
        "delta_digest": "",
        "software": "0.1.0",
    }
    return Sidecar(**{**fields, **changes})


def _signed_json() -> dict[str, Any]:
    value: dict[str, Any] = json.loads(sidecar.sign(_sidecar(), _KEY))
    return value


def _resigned(value: dict[str, object]) -> bytes:
    """Signs a changed sidecar, as a robot with a defect would."""
    value.pop("signature", None)
    signature = _KEY.sign(canonical_json.encode(value))
    text = base64.b64encode(signature).decode()
    return canonical_json.encode({**value, "signature": text})


def test_signed_sidecar_verifies_to_what_was_signed() -> None:
    raw = sidecar.sign(_sidecar(), _KEY)
    found = sidecar.verify(raw, _ENROLLED)
    assert dataclasses.replace(found, keyid="") == _sidecar()
    assert found.keyid in _ENROLLED
    assert sidecar.parse(raw) == found
    assert canonical_json.encode(json.loads(raw)) == raw


def test_unsigned_sidecar_parses_but_does_not_verify() -> None:
    raw = _sidecar().unsigned_bytes()
    assert sidecar.parse(raw) == _sidecar()
    with pytest.raises(SidecarSignatureError, match="a signature, got none"):
        sidecar.verify(raw, _ENROLLED)


def test_signature_by_a_key_that_is_not_enrolled_is_refused() -> None:
    with pytest.raises(SidecarSignatureError, match="enrolled robot"):
        sidecar.verify(sidecar.sign(_sidecar(), _OTHER_KEY), _ENROLLED)


def test_key_enrolled_under_another_name_is_refused() -> None:
    name = sidecar.compute_keyid(_KEY.public_key())
    swapped = {name: _OTHER_KEY.public_key()}
    with pytest.raises(SidecarSignatureError):
        sidecar.verify(sidecar.sign(_sidecar(), _KEY), swapped)


@pytest.mark.parametrize(
    "signature", ["", "AAAA", "!", base64.b64encode(bytes(64)).decode(), 7]
)
def test_wrong_signature_is_refused(signature: int | str) -> None:
    value = {**_signed_json(), "signature": signature}
    with pytest.raises(SidecarSignatureError):
        sidecar.verify(canonical_json.encode(value), _ENROLLED)


def test_any_change_after_signing_is_refused() -> None:
    raw = sidecar.sign(_sidecar(), _KEY)
    for position in range(len(raw)):
        changed = bytearray(raw)
        changed[position] ^= 0x01
        with pytest.raises(SidecarError):
            sidecar.verify(bytes(changed), _ENROLLED)


def test_sidecar_of_another_episode_is_refused() -> None:
    raw = episodes.frame_episode(episodes.episode(number=1))
    _sidecar(1).check_episode(raw)
    same_size = bytearray(raw)
    same_size[-1] ^= 1
    with pytest.raises(SidecarMismatchError, match="sha256"):
        _sidecar(1).check_episode(bytes(same_size))
    with pytest.raises(SidecarSizeMismatchError, match="bytes"):
        _sidecar(1).check_episode(raw + b"\0")
    with pytest.raises(SidecarMismatchError):
        _sidecar(0).check_episode(raw)


@pytest.mark.parametrize("privacy", [None, {}, "missing"])
def test_missing_redaction_record_is_refused_even_if_signed(
    privacy: dict[str, object] | str | None,
) -> None:
    value = _signed_json()
    value["privacy"] = privacy
    if privacy == "missing":
        del value["privacy"]
    with pytest.raises(RedactionRecordError):
        sidecar.verify(_resigned(value), _ENROLLED)


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"sha256": "short"},
        {"size_bytes": 0},
        {"size_bytes": True},
        {"num_steps": 1.5},
        {"date": "2026-02-30"},
        {"date": "yesterday"},
        {"episode_id": "../up"},
        {"consent": None},
        {"consent": {"granted": "yes", "by": "", "at": ""}},
        {"consent": {"granted": True}},
        {"safety": {"violations": -1, "escalated": False}},
        {"robot_hash": "sim-00"},
        {"package_digest": "x"},
        {"software": "x" * 5000},
        {"schema_version": None},
    ],
)
def test_malformed_field_is_refused_by_code_and_where_possible_by_schema(
    change: dict[str, object],
) -> None:
    value = {**_signed_json(), **change}
    with pytest.raises(SidecarError):
        sidecar.verify(_resigned(value), _ENROLLED)
    # A pattern cannot check that the date exists.
    if change != {"date": "2026-02-30"}:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(value, _SCHEMA)


@pytest.mark.parametrize("name", sorted(_signed_json().keys() - {"signature"}))
def test_missing_field_is_refused_by_code_and_schema(name: str) -> None:
    value = _signed_json()
    del value[name]
    with pytest.raises(SidecarError):
        sidecar.parse(canonical_json.encode(value))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, _SCHEMA)


def test_schema_accepts_a_signed_sidecar_and_names_its_fields() -> None:
    jsonschema.Draft202012Validator.check_schema(_SCHEMA)
    jsonschema.validate(_signed_json(), _SCHEMA)
    assert set(_SCHEMA["properties"]) == set(_SCHEMA["required"])
    assert set(_SCHEMA["properties"]) == set(_signed_json())
    for part in ("consent", "safety", "privacy"):
        said = _SCHEMA["properties"][part]
        assert set(said["required"]) == set(_signed_json()[part])
        # What was written before pictures could leave says nothing of them.
        optional = set(said["properties"]) - set(said["required"])
        assert optional <= {"pictures", "drawn"}


def test_bytes_that_are_not_canonical_or_too_many_are_refused() -> None:
    raw = sidecar.sign(_sidecar(), _KEY)
    with pytest.raises(SidecarError, match="canonical"):
        sidecar.verify(raw + b"\n", _ENROLLED)
    with pytest.raises(SidecarError, match="at most"):
        sidecar.verify(raw + b" " * sidecar.LIMIT_BYTES, _ENROLLED)


@_BOUNDED
@given(
    st.dictionaries(
        st.sampled_from(sorted(_signed_json())),
        st.none()
        | st.integers(-2, 2)
        | st.text(max_size=3)
        | st.lists(st.integers(), max_size=2)
        | st.dictionaries(st.text(max_size=3), st.booleans(), max_size=2),
        max_size=3,
    )
)
def test_random_values_parse_or_are_refused(changes: dict[str, None]) -> None:
    try:
        sidecar.parse(canonical_json.encode({**_signed_json(), **changes}))
    except ContinuonError:
        return
