"""Whatever lies in a raw store, it is quarantined or named, and the others go on."""

import base64
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base import canonical_json
from base.store.store import LocalStore
from cloud.ingest import claims, ingest_key
from cloud.ingest.admission import Reason
from cloud.testing.raw_robot import (
    INGEST_KEY,
    RawRobot,
    ingest,
    make_raw,
    verdict_on_disk,
)
from release.signing.private_keys import PrivateKey
from release.trusted_keys import ADMISSION_ROLE
from rlds.raw_layout import RawFolder, claim_path

_ROBOT = RawRobot(1)
_BOUNDED = settings(max_examples=150, derandomize=True, deadline=None)

Poison = Callable[[LocalStore, RawFolder], object]
raw = pytest.fixture(make_raw)


def _put_sidecar(data: bytes) -> Poison:
    return lambda raw, folder: raw.put(folder.sidecar, data)


def _replace(raw: LocalStore, path: str, make: Callable[[Path], object]) -> None:
    """Removes a file and makes something else under its name."""
    file = raw.root / path
    file.unlink(missing_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    make(file)


def _link_out(file: Path) -> None:
    file.symlink_to("/etc/passwd")


def _link_loop(file: Path) -> None:
    file.symlink_to(file.name)


BAD_SIDECARS: dict[str, tuple[Poison, str]] = {
    "a key id that is a list": (
        _put_sidecar(b'{"keyid":[],"signature":"x"}'),
        "signature_unknown_key",
    ),
    "a signature that is an object": (
        _put_sidecar(b'{"keyid":"x","signature":{"a":[]}}'),
        "signature_unknown_key",
    ),
    "a version that is a list": (
        _put_sidecar(b'{"schema_version":[[]],"signature":"x"}'),
        "schema_unknown",
    ),
    "2 MB": (_put_sidecar(b" " * 2_000_000), "sidecar_malformed"),
    "deep JSON": (_put_sidecar(b"[" * 100_000), "sidecar_malformed"),
    "a string without an end": (
        _put_sidecar(b'"' + b'\\"' * 100_000),
        "sidecar_malformed",
    ),
    "no UTF-8": (_put_sidecar(b"\xff\xfe{}"), "sidecar_malformed"),
    "a number of 5,000 digits": (
        _put_sidecar(b'{"signature":' + b"9" * 5000 + b"}"),
        "sidecar_malformed",
    ),
    "nothing": (_put_sidecar(b""), "sidecar_malformed"),
    "a link out of the store": (
        lambda raw, folder: _replace(raw, folder.sidecar, _link_out),
        "unreadable",
    ),
    "a link to nothing": (
        lambda raw, folder: _replace(
            raw, folder.sidecar, lambda file: file.symlink_to("nothing")
        ),
        "sidecar_missing",
    ),
    "a link to itself": (
        lambda raw, folder: _replace(raw, folder.sidecar, _link_loop),
        "unreadable",
    ),
    "a folder": (
        lambda raw, folder: _replace(raw, folder.sidecar, Path.mkdir),
        "sidecar_missing",
    ),
    "a named pipe": (
        lambda raw, folder: _replace(raw, folder.sidecar, os.mkfifo),
        "unreadable",
    ),
    "an episode that is a named pipe": (
        lambda raw, folder: _replace(raw, folder.episode, os.mkfifo),
        "unreadable",
    ),
    "an episode that is a link out of the store": (
        lambda raw, folder: _replace(raw, folder.episode, _link_out),
        "unreadable",
    ),
    "an episode that is a link to itself": (
        lambda raw, folder: _replace(raw, folder.episode, _link_loop),
        "unreadable",
    ),
    "an episode that is a folder": (
        lambda raw, folder: _replace(raw, folder.episode, Path.mkdir),
        "episode_missing",
    ),
}


@pytest.mark.parametrize("name", BAD_SIDECARS)
def test_poison_is_quarantined_with_its_reason_and_the_others_are_admitted(
    raw: LocalStore, name: str
) -> None:
    put, reason = BAD_SIDECARS[name]
    first, bad, last = (_ROBOT.upload(raw, _ROBOT.record(n)) for n in range(3))
    put(raw, bad)
    summary = ingest(raw, _ROBOT)
    assert [one.unwritten for one in summary.judged] == ["", "", ""]
    assert verdict_on_disk(raw, bad).reason == reason
    assert verdict_on_disk(raw, first).admitted
    assert verdict_on_disk(raw, last).admitted


BAD_VERDICTS: dict[str, Callable[[Path], object]] = {
    "2 MB": lambda file: file.write_bytes(b" " * 2_000_000),
    "no JSON": lambda file: file.write_bytes(b"\xff"),
    "a link to another object": lambda file: file.symlink_to("sidecar.json"),
    "a link to itself": _link_loop,
    "a named pipe": os.mkfifo,
}


@pytest.mark.parametrize("name", BAD_VERDICTS)
def test_what_lies_where_the_verdict_belongs_is_replaced(
    raw: LocalStore, name: str
) -> None:
    bad, other = (_ROBOT.upload(raw, _ROBOT.record(n)) for n in range(2))
    sidecar = raw.get(bad.sidecar, 1 << 20)
    _replace(raw, bad.admission, BAD_VERDICTS[name])
    ingest(raw, _ROBOT)
    assert verdict_on_disk(raw, bad).admitted
    assert verdict_on_disk(raw, other).admitted
    assert not (raw.root / bad.admission).is_symlink()
    assert raw.get(bad.sidecar, 1 << 20) == sidecar


@pytest.mark.parametrize("make", [Path.mkdir, _link_out])
def test_folder_whose_verdict_cannot_be_written_is_named_and_the_others_go_on(
    raw: LocalStore, make: Callable[[Path], object]
) -> None:
    bad, other = (_ROBOT.upload(raw, _ROBOT.record(n)) for n in range(2))
    _replace(raw, bad.admission, make)
    summary = ingest(raw, _ROBOT)
    assert [bool(one.unwritten) for one in summary.judged] == [True, False]
    assert bad.admission in summary.judged[0].unwritten or make is _link_out
    assert [v.folder for v in summary.verdicts] == [other.path]
    assert verdict_on_disk(raw, other).admitted


def _stranger_claims(raw: LocalStore, folder: RawFolder) -> None:
    """A robot's account claims the id for a folder of its own, in good form."""
    stranger = PrivateKey.generate((ADMISSION_ROLE,))
    own = RawFolder("f" * 64, folder.date, folder.episode_id)
    claims.claim(raw, own, stranger, ingest_key.trust(stranger))


def _copied_claim(raw: LocalStore, folder: RawFolder) -> None:
    """The claim that ingest signed for another episode."""
    other = _ROBOT.upload(raw, _ROBOT.record(9))
    ingest(raw, _ROBOT)
    copy = raw.get(claim_path(other.episode_id), 1 << 20)
    raw.put(claim_path(folder.episode_id), copy)


BAD_CLAIMS: dict[str, Poison] = {
    "the path of another folder": lambda raw, folder: raw.put(
        claim_path(folder.episode_id), b"rlds_v0/robot_hash=" + b"f" * 64
    ),
    "2 MB": lambda raw, folder: raw.put(
        claim_path(folder.episode_id), b" " * 2_000_000
    ),
    "no UTF-8": lambda raw, folder: raw.put(claim_path(folder.episode_id), b"\xff"),
    "a stranger's signature": _stranger_claims,
    "a claim of another id": _copied_claim,
    "a link to itself": lambda raw, folder: _replace(
        raw, claim_path(folder.episode_id), _link_loop
    ),
    "a named pipe": lambda raw, folder: _replace(
        raw, claim_path(folder.episode_id), os.mkfifo
    ),
}


@pytest.mark.parametrize("name", BAD_CLAIMS)
def test_claim_laid_there_first_does_not_lock_the_true_episode_out(
    raw: LocalStore, name: str
) -> None:
    BAD_CLAIMS[name](raw, _ROBOT.record(1).folder)
    folder = _ROBOT.upload(raw, _ROBOT.record(1))
    ingest(raw, _ROBOT)
    assert verdict_on_disk(raw, folder).admitted
    trusted = ingest_key.trust(INGEST_KEY)
    assert claims.read(raw, folder.episode_id, trusted) == folder.path
    assert ingest(raw, _ROBOT).written == 0


def test_claim_of_an_earlier_key_holds_while_that_key_is_named(
    raw: LocalStore,
) -> None:
    first = _ROBOT.upload(raw, _ROBOT.record(1))
    ingest(raw, _ROBOT)
    key = PrivateKey.generate((ADMISSION_ROLE,))
    second = _ROBOT.upload(raw, _ROBOT.record(1, date="2026-01-01"))
    both = ingest_key.trust(key, ingest_key.trust(INGEST_KEY))
    assert claims.claim(raw, second, key, both) == first.path
    assert claims.claim(raw, second, key, ingest_key.trust(key)) == second.path


@pytest.fixture(scope="module")
def signed() -> Iterator[tuple[LocalStore, RawFolder, dict[str, Any]]]:
    """A store with one good episode, and the JSON of its sidecar."""
    with tempfile.TemporaryDirectory() as name:
        store = LocalStore(Path(name))
        folder = _ROBOT.upload(store, _ROBOT.record(1))
        value = canonical_json.decode(store.get(folder.sidecar, 1 << 20))
        assert isinstance(value, dict)
        yield store, folder, value


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
_FIELDS = [
    ("schema_version",),
    ("episode_id",),
    ("sha256",),
    ("size_bytes",),
    ("num_steps",),
    ("robot_hash",),
    ("date",),
    ("consent",),
    ("consent", "granted"),
    ("consent", "by"),
    ("consent", "at"),
    ("safety",),
    ("safety", "violations"),
    ("safety", "escalated"),
    ("privacy",),
    ("privacy", "transform_version"),
    ("privacy", "detectors"),
    ("privacy", "fields_covered"),
    ("privacy", "frames_masked"),
    ("privacy", "attested"),
    ("privacy", "pictures"),
    ("package_digest",),
    ("delta_digest",),
    ("software",),
    ("keyid",),
    ("signature",),
]


@_BOUNDED
@given(field=st.sampled_from(_FIELDS), value=_JSON, sign=st.booleans())
def test_any_json_in_place_of_any_field_gives_a_verdict(
    signed: tuple[LocalStore, RawFolder, dict[str, Any]],
    field: tuple[str, ...],
    value: object,
    sign: bool,
) -> None:
    raw, folder, good = signed
    changed = {**good}
    if len(field) == 2:
        changed[field[0]] = {**good[field[0]], field[1]: value}
    else:
        changed[field[0]] = value
    if sign and field != ("signature",):
        del changed["signature"]
        signature = _ROBOT.key.sign(canonical_json.encode(changed))
        changed["signature"] = base64.b64encode(signature).decode()
    raw.put(folder.sidecar, canonical_json.encode(changed))
    (verdict,) = ingest(raw, _ROBOT).verdicts
    same = canonical_json.encode(changed) == canonical_json.encode(good)
    # Nothing signed may differ from the truth, except who saw an escalation.
    assert verdict.admitted == (same or verdict.reason == Reason.NONE)
    if verdict.admitted and not same:
        assert field[0] in ("consent", "safety", "privacy")


@_BOUNDED
@given(data=st.binary(max_size=200))
def test_any_bytes_in_place_of_a_sidecar_give_a_quarantine(
    signed: tuple[LocalStore, RawFolder, dict[str, Any]], data: bytes
) -> None:
    raw, folder, _ = signed
    raw.put(folder.sidecar, data)
    (verdict,) = ingest(raw, _ROBOT).verdicts
    assert not verdict.admitted
