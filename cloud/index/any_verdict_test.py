"""Any JSON in place of any field of a verdict gives a row or a named refusal."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base import canonical_json
from base.store.store import LocalStore
from cloud.index import build, schema
from cloud.ingest import signed_record
from cloud.testing.raw_robot import INGEST_KEY, TRUSTED, RawRobot, ingest
from rlds.raw_layout import RawFolder

_ROBOT = RawRobot(1)
_BOUNDED = settings(max_examples=150, derandomize=True, deadline=None)
_KIND = "application/vnd.continuon.admission+json"
_TOP = (
    "schema_version",
    "status",
    "reason",
    "detail",
    "folder",
    "episode_id",
    "sha256",
    "sidecar_sha256",
    "episode",
)
# Columns that the sidecar fills are none of the verdict's.
_FIELDS = [(name,) for name in _TOP] + [("episode", name) for name in schema.NAMES]
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)

Judged = tuple[LocalStore, RawFolder, dict[str, Any]]


@pytest.fixture(scope="module")
def judged() -> Iterator[Judged]:
    """A store with one admitted episode, and the JSON of its verdict."""
    with tempfile.TemporaryDirectory() as name:
        store = LocalStore(Path(name))
        folder = _ROBOT.upload(store, _ROBOT.record(1))
        ingest(store, _ROBOT)
        value = canonical_json.decode(store.get(folder.admission, 1 << 20))
        assert isinstance(value, dict)
        yield store, folder, value


@_BOUNDED
@given(field=st.sampled_from(_FIELDS), value=_JSON, sign=st.booleans())
def test_any_json_in_place_of_any_field_gives_a_row_or_a_refusal(
    judged: Judged, field: tuple[str, ...], value: object, sign: bool
) -> None:
    raw, folder, good = judged
    changed = {**good}
    if len(field) == 2:
        changed["episode"] = {**good["episode"], field[1]: value}
    else:
        changed[field[0]] = value
    same = canonical_json.encode(changed) == canonical_json.encode(good)
    if sign:
        del changed["keyid"], changed["signature"]
        data = signed_record.sign(changed, _KIND, INGEST_KEY)
    else:
        data = canonical_json.encode(changed)
    raw.put(folder.admission, data)
    (found,) = build.collect(raw.uri, TRUSTED, readers=1)
    assert (found.row is None) == bool(found.refusal or found.quarantined)
    if found.row is not None:
        assert same or sign
        assert schema.check_row(found.row, "here") == found.row


@_BOUNDED
@given(data=st.binary(max_size=200))
def test_any_bytes_in_place_of_a_verdict_give_a_refusal(
    judged: Judged, data: bytes
) -> None:
    raw, folder, _ = judged
    raw.put(folder.admission, data)
    (found,) = build.collect(raw.uri, TRUSTED, readers=1)
    assert found.row is None
    assert found.refusal
