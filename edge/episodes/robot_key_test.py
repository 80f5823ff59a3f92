import json
import multiprocessing
import stat
from datetime import UTC, datetime
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
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


def test_months_of_a_robot_have_nothing_in_common(tmp_path: Path) -> None:
    key = robot_key.load_or_create(tmp_path / "robot.json")
    march, april = key.of_month("2026-03-31T23:00:00Z"), key.of_month("2026-04")
    assert march.of_month("2026-04-01") == march  # a month has none of its own
    for one, other in ((march, april), (march, key), (april, key)):
        assert one.keyid != other.keyid
        assert one.hashing != other.hashing
        assert one.robot_hash("arm-1") != other.robot_hash("arm-1")
    again = robot_key.load_or_create(tmp_path / "robot.json").of_month("2026-03-01")
    assert again.keyid == march.keyid
    assert again.robot_hash("arm-1") == march.robot_hash("arm-1")


def test_simulated_robot_keeps_its_key_in_every_month() -> None:
    key = robot_key.derive_simulated("sim-00")
    assert key.of_month("2026-03") is key
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert key.enrolments("sim-00", now) == key.enrolment("sim-00")


def test_enrolments_hold_the_public_halves_of_a_year_before_and_after(
    tmp_path: Path,
) -> None:
    key = robot_key.load_or_create(tmp_path / "robot.json")
    value = json.loads(key.enrolments("arm-1", datetime(2026, 3, 9, tzinfo=UTC)))
    assert set(value) == {"keys"}
    hashes = {one["keyid"]: one["robot_hash"] for one in value["keys"]}
    assert len(hashes) == len(set(hashes.values())) == 26
    for month in ("2025-03", "2025-12", "2026-03", "2027-01", "2027-03"):
        own = key.of_month(month)
        assert hashes[own.keyid] == own.robot_hash("arm-1")
    for month in ("2025-02", "2027-04"):
        assert key.of_month(month).keyid not in hashes
    assert hashes[key.keyid] == key.robot_hash("arm-1")


def test_record_of_a_key_states_every_word_that_was_ever_named(tmp_path: Path) -> None:
    key = robot_key.load_or_create(tmp_path / "robot.json")
    robot_key.write_public(tmp_path, key, "arm-1")
    (path,) = (tmp_path / "keys").iterdir()
    assert "words" not in json.loads(path.read_bytes())
    for words in ({"frob"}, {"wuzzle", "arm"}, set()):
        robot_key.write_public(tmp_path, key, "arm-1", words)
    assert json.loads(path.read_bytes())["words"] == ["arm", "frob", "wuzzle"]
    record = robot_key.read_enrolment(tmp_path, key.keyid)
    assert record.words == {"arm", "frob", "wuzzle"}
    assert record.robot_hash == key.robot_hash("arm-1")

    before = path.read_bytes()
    many = {f"{a}{b}" for a in "abcdefgh" for b in "abcdefgh"}
    with pytest.raises(KeyFileError, match=r"at most 64 words .*, got 67"):
        robot_key.write_public(tmp_path, key, "arm-1", many)
    assert path.read_bytes() == before
    path.write_bytes(before.replace(b'"arm"', b'"Ada Lovelace"'))
    with pytest.raises(KeyFileError, match="a robot's public key"):
        robot_key.read_enrolment(tmp_path, key.keyid)


def test_enrolments_state_the_words_of_each_month(tmp_path: Path) -> None:
    key = robot_key.load_or_create(tmp_path / "robot.json")
    march = key.of_month("2026-03").keyid
    raw = key.enrolments(
        "arm-1",
        datetime(2026, 4, 9, tzinfo=UTC),
        lambda keyid: {"arm", "frob"} if keyid == march else {"arm"},
    )
    words = {one["keyid"]: one["words"] for one in json.loads(raw)["keys"]}
    assert words.pop(march) == ["arm", "frob"]
    assert set(map(tuple, words.values())) == {("arm",)}


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


def _print_keyid(path: Path, start: Barrier, found: Queue[str]) -> None:
    start.wait()
    found.put(robot_key.load_or_create(path).keyid)


def test_processes_that_make_the_key_at_once_have_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for number in range(5):
        path = tmp_path / str(number) / "key.json"
        start, found = context.Barrier(4), context.Queue()
        processes = [
            context.Process(target=_print_keyid, args=(path, start, found))
            for _ in range(4)
        ]
        for process in processes:
            process.start()
        keyids = {found.get(timeout=60) for _ in processes}
        for process in processes:
            process.join(timeout=60)
        assert keyids == {robot_key.load_or_create(path).keyid}
        assert [entry.name for entry in path.parent.iterdir()] == ["key.json"]


@pytest.mark.parametrize(
    "secret", ["\u00e9" * 44, "====", "A" * 43, "A" * 44 + "\n", 7]
)
@pytest.mark.parametrize("name", ["signing", "hashing"])
def test_a_secret_that_is_not_base64_is_refused(
    tmp_path: Path, name: str, secret: object
) -> None:
    path = tmp_path / "key.json"
    robot_key.load_or_create(path)
    value = {**json.loads(path.read_bytes()), name: secret}
    path.write_text(json.dumps(value, ensure_ascii=False))
    with pytest.raises(KeyFileError, match="a robot key file") as e:
        robot_key.load_or_create(path)
    assert not isinstance(secret, str) or secret not in str(e.value)


@pytest.mark.parametrize("raw", [b"[" * 4000, b"\xff", b"{" + b"7" * 4000])
def test_a_key_file_of_other_bytes_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "key.json"
    path.write_bytes(raw)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="a robot key file"):
        robot_key.load_or_create(path)
