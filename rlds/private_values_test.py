"""No private value gets past the check that robot, uploader and ingest share."""

import base64
import dataclasses
import datetime
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from base import canonical_json
from base.digest import sha256_bytes
from base.errors import ContinuonError
from rlds import known_words, reader, sidecar_statements, tfrecord
from rlds import sidecar as sidecar_format
from rlds.episode import Episode
from rlds.sidecar import Consent, Safety, Sidecar
from rlds.spec import FIELDS
from rlds.testing import private_values
from rlds.testing.episodes import JPEG
from rlds.testing.private_values import DOORS, Door, hear, see, write_text

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
HARMLESS = private_values.harmless()
_BOUNDED = settings(max_examples=300, derandomize=True, deadline=None)


def describe(found: Episode) -> Sidecar:
    own = found.metadata
    return Sidecar(
        schema_version=own.schema_version,
        episode_id=own.episode_id,
        sha256=sha256_bytes(b""),
        size_bytes=1,
        num_steps=found.num_steps,
        robot_hash=own.robot_hash,
        date=own.start_time[:10],
        consent=Consent(True, "operator", "2026-01-01T09:00:00Z"),
        safety=Safety(0, False),
        privacy=private_values.RECORD,
        package_digest=own.package_digest,
        delta_digest=own.delta_digest,
        software=own.software_version,
    )


def check(door: Door) -> None:
    """Looks at what goes through the door as robot, uploader and ingest do."""
    framed, said = private_values.smuggle(door, HARMLESS, describe(HARMLESS))
    said.check_episode(framed)
    found = reader.read_episode_bytes(framed)
    sidecar_statements.check_statements(said, found, framed, NOW)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_private_value_is_refused_and_not_repeated(door: Door) -> None:
    with pytest.raises(ContinuonError) as caught:
        check(door)
    assert not door.secret or door.secret not in str(caught.value)


@pytest.mark.parametrize(
    "door",
    [
        Door("nothing private"),
        Door("masked pictures", episode=see(JPEG)),
        private_values.DRAWN,
        private_values.DRAWN_AND_MASKED,
        Door("a steady hum", episode=hear(lambda t: np.full((t, 4), -4.0))),
        write_text("task", "put the red block into the left box"),
        write_text("task", "Pick up the cup, and place it on the shelf."),
        write_text("task", "button-press-topdown-v3"),
        write_text("environment_id", "gym:ALE/Breakout-v5"),
        write_text("environment_id", "metaworld-3.1.1"),
        write_text("robot_model", "MyArm"),
        write_text("robot_model", "so101"),
        write_text("software_version", "0.3.0.dev1"),
        write_text("channel", "beta"),
        write_text("task", "unlisted-0123456789ab"),
    ],
    ids=lambda door: door.name,
)
def test_value_that_says_nothing_about_people_or_places_passes(door: Door) -> None:
    check(door)


_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
_KEYS = {sidecar_format.compute_keyid(_KEY.public_key()): _KEY.public_key()}
_FRAMED, _SAID = private_values.smuggle(Door("none"), HARMLESS, describe(HARMLESS))
_TEXTS = [
    field.name
    for field in FIELDS
    if field.scope == "episode" and field.dtype == "string"
]


def walk(value: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Returns the path of every value of a JSON object."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key in value:
            found += walk(value[key], (*path, key))
    return found


_PLACES = walk(canonical_json.decode(_SAID.unsigned_bytes()))


def check_signed(value: dict[str, Any]) -> None:
    """Has the robot sign any JSON in place of a sidecar, and looks at it."""
    signature = _KEY.sign(canonical_json.encode(value))
    text = base64.b64encode(signature).decode()
    raw = canonical_json.encode({**value, "signature": text})
    said = sidecar_format.verify(raw, _KEYS)
    said.check_episode(_FRAMED)
    sidecar_statements.check_statements(said, HARMLESS, _FRAMED, NOW)


def sidecar_value() -> dict[str, Any]:
    named = dataclasses.replace(_SAID, keyid=next(iter(_KEYS)))
    value: Any = canonical_json.decode(named.unsigned_bytes())
    return dict(value)


def test_sidecar_of_a_harmless_episode_passes() -> None:
    check_signed(sidecar_value())


@pytest.mark.parametrize("place", _PLACES, ids=".".join)
@pytest.mark.parametrize("secret", ["Ada Lovelace", "52.516275,13.377704"])
def test_private_text_in_any_place_of_a_signed_sidecar_is_refused(
    place: tuple[str, ...], secret: str
) -> None:
    for change in ("in its place", "beside it", "in a list"):
        value = sidecar_value()
        inside = value
        for key in place[:-1]:
            inside = inside[key]
        if change == "in its place":
            inside[place[-1]] = secret
        elif change == "beside it":
            inside[secret] = inside[place[-1]]
        else:
            inside[place[-1]] = [inside[place[-1]], secret]
        with pytest.raises(ContinuonError):
            check_signed(value)


@_BOUNDED
@given(
    name=st.sampled_from(_TEXTS),
    text=st.text(min_size=1, max_size=80) | st.from_regex(r"[a-z]+[-_ ][a-z0-9]+"),
)
def test_any_text_in_any_field_is_refused_unless_it_has_the_form_of_the_table(
    name: str, text: str
) -> None:
    value = (text,) if name == "tags" else text
    try:
        check(write_text(name, value, secret=""))
    except ContinuonError:
        return
    assert name not in ("robot_hash", "start_time", "episode_id", "location", "tags")
    assert known_words.find_unknown(text) is None or text in ("expert", "human", "beta")


@pytest.mark.parametrize("marker", range(1, 256))
def test_picture_with_text_in_a_segment_of_any_kind_is_refused(marker: int) -> None:
    if marker == 0xD9:  # the end, after which nothing follows
        return
    with pytest.raises(ContinuonError):
        check(Door("", episode=see(private_values.segment(marker, b"Ada Lovelace"))))


@_BOUNDED
@given(place=st.integers(0, len(_FRAMED) - 1), bit=st.integers(0, 7))
def test_any_other_bit_in_a_signed_file_is_refused_or_is_a_number(
    place: int, bit: int
) -> None:
    """Whatever a file may hold beside numbers, flags and outcome is looked at."""

    def flip(framed: bytes) -> bytes:
        (record,) = tfrecord.read_records(framed, len(framed))
        changed = bytearray(record)
        changed[place % len(record)] ^= 1 << bit
        return tfrecord.frame(bytes(changed))

    framed, said = private_values.smuggle(
        Door("", framed=flip), HARMLESS, describe(HARMLESS)
    )
    try:
        found = reader.read_episode_bytes(framed)
        sidecar_statements.check_statements(said, found, framed, NOW)
    except ContinuonError:
        return
    for name in ("episode_id", "robot_hash", "package_digest", "delta_digest"):
        assert getattr(found.metadata, name) == getattr(HARMLESS.metadata, name)
    for name in ("task", "robot_model", "environment_id"):
        assert known_words.find_unknown(getattr(found.metadata, name)) is None
