import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from base.errors import MalformedError
from cloud.errors import EnrolmentError
from cloud.ingest import enrolment
from rlds import sidecar


def _file(tmp_path: Path, name: str = "robot.json", **changes: str) -> Path:
    key = Ed25519PrivateKey.generate().public_key()
    value = {
        "keyid": sidecar.compute_keyid(key),
        "public": base64.b64encode(key.public_bytes_raw()).decode(),
        "robot_hash": "a" * 64,
    }
    path = tmp_path / name
    path.write_text(json.dumps(value | changes))
    return path


def test_files_of_several_robots_are_read_together(tmp_path: Path) -> None:
    paths = [_file(tmp_path, "a"), _file(tmp_path, "b", robot_hash="b" * 64)]
    enrolled = enrolment.read(paths)
    assert sorted(enrolled.robots.values()) == ["a" * 64, "b" * 64]
    assert set(enrolled.keys) == set(enrolled.robots)


def test_all_keys_of_a_robot_that_changes_them_are_enrolled(tmp_path: Path) -> None:
    keys = [json.loads(_file(tmp_path, robot_hash=h * 64).read_text()) for h in "abc"]
    path = tmp_path / "rotating.json"
    path.write_text(json.dumps({"keys": keys}))
    enrolled = enrolment.read([path, _file(tmp_path, robot_hash="d" * 64)])
    assert sorted(enrolled.robots.values()) == [h * 64 for h in "abcd"]


def test_words_of_a_robots_own_are_those_of_its_key(tmp_path: Path) -> None:
    key = json.loads(_file(tmp_path).read_text())
    paths = [tmp_path / name for name in "ab"]
    paths[0].write_text(json.dumps(key | {"words": ["frob"]}))
    paths[1].write_text(json.dumps(key | {"words": ["wuzzle"]}))
    enrolled = enrolment.read([*paths, _file(tmp_path, robot_hash="b" * 64)])
    assert enrolled.words[key["keyid"]] == {"frob", "wuzzle"}
    assert sorted(map(len, enrolled.words.values())) == [0, 2]


@pytest.mark.parametrize(
    "words", ["frob", {"frob": 1}, ["Ada Lovelace"], ["frob"] * 65, [""], [1]]
)
def test_words_that_are_no_short_list_are_refused(
    tmp_path: Path, words: object
) -> None:
    path = _file(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"words": words}))
    with pytest.raises(MalformedError, match=r"robot\.json"):
        enrolment.read([path])


@pytest.mark.parametrize("keys", [[], {}, None, [1], [{"keyid": "a" * 64}]])
def test_a_list_that_holds_no_keys_is_refused(tmp_path: Path, keys: object) -> None:
    path = tmp_path / "robot.json"
    path.write_text(json.dumps({"keys": keys}))
    with pytest.raises(MalformedError, match=r"robot\.json"):
        enrolment.read([path])


@pytest.mark.parametrize(
    "public", ["not base64!", "c2hvcnQ=", "\u00e9" * 44, "\u0660" * 44]
)
def test_bytes_that_are_not_a_key_are_refused(tmp_path: Path, public: str) -> None:
    with pytest.raises(EnrolmentError, match=r"robot\.json.*--enrol"):
        enrolment.read([_file(tmp_path, public=public)])


@pytest.mark.parametrize(
    "changes", [{"robot_hash": "abc"}, {"private": "x"}, {"keyid": ""}]
)
def test_a_malformed_file_is_refused(tmp_path: Path, changes: dict[str, str]) -> None:
    with pytest.raises(MalformedError, match=r"robot\.json"):
        enrolment.read([_file(tmp_path, **changes)])


def test_one_key_for_two_robots_is_refused(tmp_path: Path) -> None:
    first = _file(tmp_path, "a")
    second = tmp_path / "b"
    second.write_text(first.read_text().replace("a" * 64, "b" * 64))
    with pytest.raises(EnrolmentError, match="one robot"):
        enrolment.read([first, second])


def test_a_key_under_another_keys_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnrolmentError, match=r"keyid.*of the public key"):
        enrolment.read([_file(tmp_path, keyid="c" * 64)])


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        enrolment.read([tmp_path / "none.json"])
