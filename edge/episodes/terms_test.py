import dataclasses
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.episodes import terms
from edge.episodes.terms import EpisodeTerms
from edge.errors import EpisodeTermsError
from rlds import sealing
from rlds.errors import SealedError
from rlds.sealing import KEY_BYTES, DeviceKey
from rlds.sidecar import Consent

NAME = "019b7892-1c00-7d15-8162-71f76a1f35ef"
TERMS = EpisodeTerms("arm-1", "ab" * 32, Consent(True, "operator", "2026-01-01T08Z"))


def test_terms_are_read_as_written_and_only_the_owner_can_read_them(
    tmp_path: Path,
) -> None:
    assert terms.read(tmp_path, NAME) is None
    terms.write(tmp_path, NAME, TERMS)
    assert terms.read(tmp_path, NAME) == TERMS
    assert terms.list_episodes(tmp_path) == [NAME]
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_words_of_the_operator_are_among_the_terms(tmp_path: Path) -> None:
    own = dataclasses.replace(TERMS, words=frozenset({"frob", "arm"}))
    terms.write(tmp_path, NAME, own)
    assert terms.read(tmp_path, NAME) == own
    (path,) = tmp_path.iterdir()
    assert b'"words":["arm","frob"]' in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b'"arm"', b'"Ada Lovelace"'))
    with pytest.raises(EpisodeTermsError, match="words of 1 to 24 letters"):
        terms.read(tmp_path, NAME)


def test_cameras_that_the_robot_draws_are_among_the_terms(tmp_path: Path) -> None:
    drawn = dataclasses.replace(TERMS, drawn=frozenset({"wrist", "front"}))
    terms.write(tmp_path, NAME, drawn)
    assert terms.read(tmp_path, NAME) == drawn
    (path,) = tmp_path.iterdir()
    assert b'"drawn":["front","wrist"]' in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b'["front","wrist"]', b"true"))
    with pytest.raises(EpisodeTermsError, match="drawn to be an array"):
        terms.read(tmp_path, NAME)


def test_terms_can_be_removed_twice(tmp_path: Path) -> None:
    terms.write(tmp_path, NAME, TERMS)
    terms.remove(tmp_path, NAME)
    terms.remove(tmp_path, NAME)
    assert terms.read(tmp_path, NAME) is None
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def device() -> Iterator[None]:
    """A device with a key."""
    sealing.use(DeviceKey(bytes(range(KEY_BYTES))))
    yield
    sealing.use(None)


@pytest.mark.usefixtures("device")
def test_terms_of_a_device_with_a_key_name_nobody_without_it(tmp_path: Path) -> None:
    terms.write(tmp_path, NAME, TERMS)
    (path,) = tmp_path.iterdir()
    raw = path.read_bytes()
    assert sealing.is_sealed(raw)
    assert b"arm-1" not in raw
    assert terms.read(tmp_path, NAME) == TERMS
    sealing.use(None)
    with pytest.raises(SealedError, match="the device's key"):
        terms.read(tmp_path, NAME)
    assert path.read_bytes() == raw


@pytest.mark.usefixtures("device")
def test_terms_that_were_written_before_there_was_a_key_count(tmp_path: Path) -> None:
    key = DeviceKey(bytes(range(KEY_BYTES)))
    sealing.use(None)
    terms.write(tmp_path, NAME, TERMS)
    sealing.use(key)
    assert terms.read(tmp_path, NAME) == TERMS


@pytest.mark.usefixtures("device")
def test_damaged_sealed_terms_raise_episode_terms_error(tmp_path: Path) -> None:
    terms.write(tmp_path, NAME, TERMS)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(EpisodeTermsError, match="changed or cut off"):
        terms.read(tmp_path, NAME)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (b"{", b"", "strict JSON"),
        (b'"schema_version":1', b'"schema_version":2', "schema_version to be 1"),
        (b'"granted":true', b'"granted":"yes"', "granted to be true or false"),
        (b',"granted":true', b"", "field consent.granted"),
        (b'"keyid":"ab', b'"keyid":"xx', "keyid to be 64"),
        (b"{", b" " * 70_000 + b"{", "at most 65536 bytes"),
    ],
)
def test_malformed_terms_raise_episode_terms_error_with_a_remedy(
    tmp_path: Path, old: bytes, new: bytes, match: str
) -> None:
    terms.write(tmp_path, NAME, TERMS)
    (path,) = tmp_path.iterdir()
    changed = path.read_bytes().replace(old, new, 1)
    path.write_bytes(changed)
    with pytest.raises(EpisodeTermsError, match=match) as caught:
        terms.read(tmp_path, NAME)
    assert str(path) in str(caught.value)
    assert "remove this file" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == changed
