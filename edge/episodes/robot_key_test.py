import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge.episodes import robot_key
from edge.errors import KeyFileError
from release import dsse


def test_key_file_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "robot.json"
    first = robot_key.load_or_create(path)
    again = robot_key.load_or_create(path)
    other = robot_key.load_or_create(tmp_path / "other.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first.keyid == again.keyid != other.keyid
    assert first.robot_hash("arm-1") == again.robot_hash("arm-1")
    assert first.robot_hash("arm-1") != other.robot_hash("arm-1")


def test_robot_hash_does_not_show_the_robot_id() -> None:
    key = robot_key.derive_simulated("sim-00")
    assert len(key.robot_hash("sim-00")) == 64
    assert key.robot_hash("sim-00") != key.robot_hash("sim-01")


def test_simulated_robot_has_the_same_key_on_every_machine() -> None:
    one, two = (
        robot_key.derive_simulated("sim-00"),
        robot_key.derive_simulated("sim-00"),
    )
    assert one.enrolment("sim-00") == two.enrolment("sim-00")
    assert one.keyid != robot_key.derive_simulated("sim-01").keyid


def test_enrolment_holds_the_public_half_and_nothing_else() -> None:
    key = robot_key.derive_simulated("sim-00")
    value = json.loads(key.enrolment("sim-00"))
    assert set(value) == {"keyid", "public", "robot_hash"}
    assert value["keyid"] == dsse.compute_keyid(key.signing.public_key())
    assert isinstance(key.signing.public_key(), Ed25519PublicKey)


def test_repr_does_not_show_the_secrets() -> None:
    key = robot_key.derive_simulated("sim-00")
    assert key.hashing.hex() not in repr(key)
    assert repr(key.hashing) not in repr(key)


def test_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "robot.json"
    robot_key.load_or_create(path)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="expected mode 0600, got 0644"):
        robot_key.load_or_create(path)


def test_link_instead_of_a_key_file_is_refused(tmp_path: Path) -> None:
    robot_key.load_or_create(tmp_path / "real.json")
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "real.json")
    with pytest.raises(KeyFileError, match="expected a readable robot key file"):
        robot_key.load_or_create(link)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"\xff\xfe",
        b'{"schema_version":2,"signing":"","hashing":""}',
        b'{"schema_version":1,"signing":"AAAA","hashing":"AAAA"}',
        b'{"schema_version":1,"signing":"*","hashing":1}',
    ],
)
def test_malformed_key_file_is_refused_and_left_as_it_is(
    tmp_path: Path, raw: bytes
) -> None:
    path = tmp_path / "robot.json"
    path.write_bytes(raw)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="expected a robot key file"):
        robot_key.load_or_create(path)
    assert path.read_bytes() == raw
