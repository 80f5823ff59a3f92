"""The robots whose signatures count: one small JSON file per enrolled robot.

    {"keyid": "<64 hex>", "public": "<base64 of 32 bytes>", "robot_hash": "<64 hex>"}

A robot whose key and hash change each month lists those of two years:

    {"keys": [{"keyid": …, "public": …, "robot_hash": …}, …]}

A key whose operator lets words leave that are not on the closed list has `"words"`, an
array of them (`rlds/known_words.py`); no other word of its episodes counts as known.

A key belongs to one robot. An episode that names one robot but carries the valid
signature of another robot's key is not accepted.
"""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from base import plain_file
from base.errors import MalformedError
from base.json_fields import Fields, decode
from base.text_forms import parse_base64
from cloud.errors import EnrolmentError
from rlds import known_words, sidecar

_LIMIT_BYTES = 128 * 1024  # 25 keys, each with as many words as it may have
_PUBLIC_KEY_BYTES = 32


@dataclasses.dataclass(frozen=True)
class Enrolment:
    """Every enrolled robot's key, by key id.

    Attributes:
        keys: public key by key id.
        robots: hash of the robot that owns a key, by key id.
        words: what a robot has of its own beside the closed list, by key id.
    """

    keys: Mapping[str, Ed25519PublicKey]
    robots: Mapping[str, str]
    words: Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class EnrolledKey:
    """One key of a file.

    Attributes:
        keyid: its id.
        key: its public half.
        robot_hash: the robot that it belongs to.
        words: what that robot has of its own beside the closed list.
    """

    keyid: str
    key: Ed25519PublicKey
    robot_hash: str
    words: frozenset[str]


def read(paths: Iterable[pathlib.Path]) -> Enrolment:
    """Reads the files of all enrolled robots.

    Raises:
        EnrolmentError: a file holds no valid key, or two robots have the same key.
        MalformedError: a file is not such a JSON object.
        OSError: a file cannot be read.
    """
    keys: dict[str, Ed25519PublicKey] = {}
    robots: dict[str, str] = {}
    words: dict[str, frozenset[str]] = {}
    for path in paths:
        raw = plain_file.read(path, _LIMIT_BYTES)
        for one in parse(raw, str(path)):
            if robots.setdefault(one.keyid, one.robot_hash) != one.robot_hash:
                raise EnrolmentError(
                    path,
                    f"key {one.keyid} to belong to one robot",
                    f"{robots[one.keyid]} and {one.robot_hash}",
                    "enrol the second robot with a key of its own",
                )
            keys[one.keyid] = one.key
            words[one.keyid] = words.get(one.keyid, frozenset()) | one.words
    return Enrolment(keys, robots, words)


def parse(raw: bytes, where: str) -> list[EnrolledKey]:
    """Returns the keys of one file.

    Raises:
        EnrolmentError: a public key is not 32 bytes in base64, or does not have
            its key id.
        MalformedError: the bytes are not such a JSON object.
    """
    value = decode(raw, where, _LIMIT_BYTES)
    if not isinstance(value, dict) or "keys" not in value:
        return [_parse_key(value, where)]
    listed = Fields(value, where, ["keys"]).raw("keys")
    if not isinstance(listed, list) or not listed:
        raise MalformedError(where, "keys to be a list of keys", "another value")
    return [_parse_key(one, f"{where}, key {n}") for n, one in enumerate(listed, 1)]


def _parse_key(value: object, where: str) -> EnrolledKey:
    keys = ["keyid", "public", "robot_hash"]
    fields = Fields(value, where, keys, optional=["words"])
    text = fields.text("public")
    try:
        public = parse_base64(text, where, "public")
    except MalformedError:
        public = b""
    if len(public) != _PUBLIC_KEY_BYTES:
        raise EnrolmentError(
            where,
            f"public to be {_PUBLIC_KEY_BYTES} bytes in base64",
            f"{text[:60]!r}",
            "write the file again with //edge:record --enrol",
        )
    key = Ed25519PublicKey.from_public_bytes(public)
    if sidecar.compute_keyid(key) != fields.text("keyid"):
        raise EnrolmentError(
            where,
            f"keyid {sidecar.compute_keyid(key)} of the public key",
            fields.text("keyid"),
            "write the file again with //edge:record --enrol",
        )
    words = fields.raw("words") if fields.has("words") else []
    return EnrolledKey(
        sidecar.compute_keyid(key),
        key,
        fields.sha256("robot_hash"),
        known_words.parse_own(words, where),
    )
