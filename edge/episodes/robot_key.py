"""A robot's secrets: the key that signs sidecars and the key that hides its name.

A real robot keeps both in one file of mode 0600 that is made on first use. A simulated
robot has no privacy to lose: its secrets are derived from its robot id, so that
recording it twice gives the same bytes. Anyone who knows the id can compute them, so a
simulated robot's enrolment does not prove who recorded.

What leaves a real robot is signed and named with secrets of the month in which it was
recorded, derived from these two: without them nobody can tell that two months are of
one robot. A simulated robot has the same ones always.

A shared folder holds the public half of each month, `keys/<key id>.json`, in the form
that enrols the robot. With it the uploader checks what it is about to send. It also
states the words that the operator lets leave beside the closed list: of its key, all
that were ever named, since episodes with them may wait to be sent.
"""

import base64
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from base import canonical_json, durable_file, plain_file
from base.errors import ContinuonError, MalformedError, OversizedError
from base.json_fields import Fields, decode
from base.text_forms import parse_base64
from edge.errors import KeyFileError
from rlds.known_words import MAX_OWN, NO_WORDS, parse_own

SCHEMA_VERSION = 1
PUBLIC_FOLDER = "keys"
ENROLLED_MONTHS = 12
"""Months before and after the present one that a robot is enrolled for at once."""
_MONTH_LENGTH = len("2026-01")
_SECRET_BYTES = 32
_LIMIT_BYTES = 4096
_KEYS = {"schema_version", "signing", "hashing"}


@dataclass(frozen=True)
class RobotKey:
    """The two secrets of one robot.

    Attributes:
        signing: Ed25519 key that signs sidecars; kept out of `repr`.
        hashing: 32-byte HMAC key that turns the robot's id into its public hash.
        rotates: whether each month has secrets of its own.
    """

    signing: Ed25519PrivateKey = field(repr=False)
    hashing: bytes = field(repr=False)
    rotates: bool = True

    @property
    def keyid(self) -> str:
        """Id of the public half: sha256 of its 32 bytes, in hex."""
        return hashlib.sha256(self.signing.public_key().public_bytes_raw()).hexdigest()

    def of_month(self, time: str) -> "RobotKey":
        """The secrets for what was recorded in the month of a time, `YYYY-MM…` in UTC.

        Each is the HMAC-SHA256 of the month under one of these (RFC 2104), so that
        they can be had again from the key file alone.
        """
        if not self.rotates:
            return self
        text = f"continuon robot {time[:_MONTH_LENGTH]}".encode()

        def derive(secret: bytes) -> bytes:
            return hmac.new(secret, text, hashlib.sha256).digest()

        signing = derive(self.signing.private_bytes_raw())
        return RobotKey(
            Ed25519PrivateKey.from_private_bytes(signing),
            derive(self.hashing),
            rotates=False,
        )

    def robot_hash(self, robot_id: str) -> str:
        """HMAC-SHA256 of the robot's id, 64 hex digits (RFC 2104)."""
        return hmac.new(self.hashing, robot_id.encode(), hashlib.sha256).hexdigest()

    def enrolment(self, robot_id: str, words: Set[str] = NO_WORDS) -> bytes:
        """The public half as JSON, which the cloud is given.

        Args:
            robot_id: the robot's name.
            words: those of the operator that may leave, beside the closed list.
        """
        return canonical_json.encode(self._describe(robot_id, words))

    def enrolments(
        self,
        robot_id: str,
        now: datetime,
        find_words: Callable[[str], Set[str]] = lambda _: NO_WORDS,
    ) -> bytes:
        """The public halves of a year before and after `now`, as one JSON object.

        Whoever has it can tell that they are of one robot. A robot that does not rotate
        has one, in the form of `enrolment`.

        Args:
            robot_id: the robot's name.
            now: the present time.
            find_words: returns the operator's words of a key id.
        """
        if not self.rotates:
            return self.enrolment(robot_id, find_words(self.keyid))
        this = now.year * 12 + now.month - 1
        months = range(this - ENROLLED_MONTHS, this + ENROLLED_MONTHS + 1)
        names = [f"{month // 12:04}-{month % 12 + 1:02}" for month in months]
        keys = [self, *map(self.of_month, names)]  # receipts are signed with the first
        return canonical_json.encode(
            {"keys": [k._describe(robot_id, find_words(k.keyid)) for k in keys]}
        )

    def _describe(self, robot_id: str, words: Set[str]) -> dict[str, object]:
        public = base64.b64encode(self.signing.public_key().public_bytes_raw())
        return {
            "keyid": self.keyid,
            "public": public.decode(),
            "robot_hash": self.robot_hash(robot_id),
            **({"words": sorted(words)} if words else {}),
        }


@dataclass(frozen=True)
class PublicRecord:
    """What a shared folder says of one key of its robot.

    Attributes:
        key: the public half.
        robot_hash: the robot's name under this key.
        words: those of the operator that may leave, beside the closed list.
    """

    key: Ed25519PublicKey
    robot_hash: str
    words: frozenset[str]


def derive_simulated(robot_id: str) -> RobotKey:
    """Derives the key of a simulated robot from its id."""

    def derive(purpose: str) -> bytes:
        text = f"continuon simulated robot {purpose}:{robot_id}"
        return hashlib.sha256(text.encode()).digest()

    return RobotKey(
        Ed25519PrivateKey.from_private_bytes(derive("signing")),
        derive("hashing"),
        rotates=False,
    )


def find(keys: Iterable[RobotKey], keyid: str, time: str) -> RobotKey | None:
    """Finds the secrets of a key id among those that robots have for a time.

    Args:
        keys: of the robots that come into question.
        keyid: id of the key that is sought.
        time: begins with the month, `YYYY-MM`.
    """
    for key in keys:
        if (found := key.of_month(time)).keyid == keyid:
            return found
    return None


def load_or_create(path: Path) -> RobotKey:
    """Reads a robot's key file, or makes it if it does not exist.

    Raises:
        KeyFileError: the file is not a robot key, is a link, or can be read by others.
        OSError: the file cannot be read or written.
    """
    try:
        raw = _read_private(path)
    except FileNotFoundError:
        raw = _create(path)
    return _parse(raw, path)


def write_public(
    folder: Path, key: RobotKey, robot_id: str, words: Set[str] = NO_WORDS
) -> None:
    """Writes the public half of a key to a shared folder, unless all of it is there.

    Raises:
        KeyFileError: as `join_words`.
        DiskError: the file cannot be written.
    """
    path = _public_path(folder, key.keyid)
    if path.exists() and words <= _read_words(folder, key.keyid):
        return
    joined = join_words(folder, key.keyid, words)
    durable_file.make_own_folder(path.parent, 0o755)
    durable_file.write_record(
        path, key.enrolment(robot_id, joined), durable_file.READABLE
    )


def join_words(folder: Path, keyid: str, words: Set[str]) -> Set[str]:
    """Joins words of the operator with those that the key's record states already.

    Raises:
        KeyFileError: together there are more than a robot may have.
    """
    joined = words | _read_words(folder, keyid)
    if len(joined) > MAX_OWN:
        raise KeyFileError(
            _public_path(folder, keyid),
            f"at most {MAX_OWN} words of the robot's own",
            f"{len(joined)}, with those that were named before",
            "name fewer, or record into another folder",
        )
    return joined


def _read_words(folder: Path, keyid: str) -> frozenset[str]:
    """The words of a record; none if it cannot be read."""
    try:
        return read_enrolment(folder, keyid).words
    except KeyFileError:
        return frozenset()


def read_public(folder: Path, keyid: str) -> Ed25519PublicKey:
    """Reads the public key of this id that a shared folder holds.

    Raises:
        KeyFileError: as `read_enrolment`.
    """
    return read_enrolment(folder, keyid).key


def read_enrolment(folder: Path, keyid: str) -> PublicRecord:
    """Reads what a shared folder says of the key of this id.

    Raises:
        KeyFileError: there is none, or the file does not hold the key of this id.
    """
    path = _public_path(folder, keyid)
    remedy = "copy the robot's whole folder, or record one more episode into it"
    try:
        with plain_file.open_stream(path) as stream:
            raw = stream.read(_LIMIT_BYTES + 1)
        value = decode(raw, path, _LIMIT_BYTES)
        keys = ("keyid", "public", "robot_hash")
        fields = Fields(value, path, keys, optional=("words",))
        public = parse_base64(fields.text("public"), path, "public")
        key = Ed25519PublicKey.from_public_bytes(public)
        words = fields.raw("words") if fields.has("words") else []
        record = PublicRecord(key, fields.sha256("robot_hash"), parse_own(words, path))
    except OSError as e:
        raise KeyFileError(path, "the robot's public key", e.strerror, remedy) from e
    except (ContinuonError, ValueError) as e:
        raise KeyFileError(path, "a robot's public key", "another file", remedy) from e
    if hashlib.sha256(public).hexdigest() != keyid:
        raise KeyFileError(path, f"the key of id {keyid}", "another key", remedy)
    return record


def _public_path(folder: Path, keyid: str) -> Path:
    return folder / PUBLIC_FOLDER / f"{keyid}.json"


def _read_private(path: Path) -> bytes:
    try:
        descriptor = plain_file.open_descriptor(path, follow_links=False)
    except FileNotFoundError:
        raise
    except OSError as e:
        raise KeyFileError(
            path, "a readable robot key file", e.strerror, "name another --key_file"
        ) from e
    with os.fdopen(descriptor, "rb") as stream:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & 0o077:
            raise KeyFileError(
                path,
                "mode 0600",
                f"{mode:04o}",
                "others could have read this key: make a new one, or chmod 600 if "
                "you are sure that nobody did",
            )
        return stream.read(_LIMIT_BYTES)


def _create(path: Path) -> bytes:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    value = {
        "schema_version": SCHEMA_VERSION,
        "signing": base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode(),
        "hashing": base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode(),
    }
    raw = canonical_json.encode(value)
    try:
        durable_file.create(path, raw, mode=durable_file.PRIVATE)
    except FileExistsError:  # another program has just made it: that is the robot's key
        return _read_private(path)
    return raw


def _parse(raw: bytes, path: Path) -> RobotKey:
    wrong = KeyFileError(
        path,
        f"a robot key file of schema_version {SCHEMA_VERSION}",
        "another file",
        "name another --key_file, or remove this one to make a new robot",
    )
    try:
        value = decode(raw, path, _LIMIT_BYTES)
    except (MalformedError, OversizedError):
        # The text of the cause is left out because it could quote the key.
        raise wrong from None
    if not isinstance(value, dict) or set(value) != _KEYS:
        raise wrong
    if value["schema_version"] != SCHEMA_VERSION:
        raise wrong
    return RobotKey(
        Ed25519PrivateKey.from_private_bytes(_decode_secret(value["signing"], wrong)),
        _decode_secret(value["hashing"], wrong),
    )


def _decode_secret(value: object, wrong: KeyFileError) -> bytes:
    try:
        secret = parse_base64(value, wrong.source, "a secret")
    except MalformedError:
        raise wrong from None
    if len(secret) != _SECRET_BYTES:
        raise wrong
    return secret
