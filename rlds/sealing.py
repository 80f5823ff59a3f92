"""Raw episodes at rest: encrypted with a key of the device, where it has one.

    sealed file    magic, id of the key, salt, checksum; then sealed records
    sealed record  length u32, attempt u32, checksum u32; the record encrypted, tag

AES-256-GCM, under a key of the file: HKDF-SHA256 (RFC 5869) of the device's key with
the salt of the file, 32 random bytes. The nonce is the number of the record in the
file, from 0, and of the attempt to write it [u64 u32]. So none is used twice, also not
when a full disk had half of a record; and a record that was changed, moved, left out or
taken from another file does not open. What was cut off at the end is not seen here: a
journal may end anywhere, and an episode says how long it is.

A program has one such key or none (`use`), as a device has. Without one files are
written as they are; what is not sealed is always read, so an older episode stays
readable. What is sealed with another key is a SealedError, and stays where it is.
"""

import hashlib
import hmac
import secrets
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import google_crc32c
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from rlds.errors import CorruptRecordError, SealedError

KEY_BYTES: Final = 32
MAGIC: Final = b"ctnseal1"  # as the length of a TFRecord it would be 3.5 exabytes
HEADER: Final = struct.Struct("<8s8s32sI")
RECORD: Final = struct.Struct("<III")
TAG_BYTES: Final = 16
RECORD_OVERHEAD_BYTES: Final = RECORD.size + TAG_BYTES
OVERHEAD_BYTES: Final = HEADER.size + RECORD_OVERHEAD_BYTES
"""By which a sealed file of one record is larger than what is in it."""
_ID_BYTES: Final = 8
_SALT_BYTES: Final = 32
_NONCE: Final = struct.Struct("<QI")
_PURPOSE: Final = b"continuon sealed file 1"
_NAME: Final = b"continuon name of a device key 1"


@dataclass(frozen=True)
class DeviceKey:
    """The key with which a device seals its raw episodes.

    Attributes:
        secret: 32 random bytes; kept out of `repr`.
    """

    secret: bytes = field(repr=False)

    @property
    def id(self) -> bytes:
        """Its name, 8 bytes from which nothing of it follows."""
        return hmac.digest(self.secret, _NAME, hashlib.sha256)[:_ID_BYTES]

    def derive(self, salt: bytes) -> AESGCM:
        """The cipher of the file with this salt."""
        kdf = HKDF(SHA256(), length=KEY_BYTES, salt=salt, info=_PURPOSE)
        return AESGCM(kdf.derive(self.secret))


class _Device:
    """The device on which this process runs."""

    key: DeviceKey | None = None


def use(key: DeviceKey | None) -> None:
    """Lets this process, and its forks, seal with a key from now on; None for none."""
    _Device.key = key


def is_used() -> bool:
    """Whether this process has a key."""
    return _Device.key is not None


class Sealer:
    """Seals the records of one new file, in their order."""

    def __init__(self, key: DeviceKey) -> None:
        """Makes the key of the file."""
        salt = secrets.token_bytes(_SALT_BYTES)
        self._cipher = key.derive(salt)
        self._number = self._attempt = 0
        front = HEADER.pack(MAGIC, key.id, salt, 0)[:-4]
        self.header = front + _checksum(front)

    def seal(self, record: bytes) -> bytes:
        """Returns a record as it is to be written; `keep` it before the next one."""
        nonce = _NONCE.pack(self._number, self._attempt)
        length = len(record) + TAG_BYTES
        front = RECORD.pack(length, self._attempt, 0)[:-4]
        self._attempt += 1  # whatever becomes of this one
        return b"".join(
            (front, _checksum(front), self._cipher.encrypt(nonce, record, None))
        )

    def keep(self) -> None:
        """Notes that the last record was written, so that the next one follows it."""
        self._number += 1


def begin_file() -> Sealer | None:
    """Returns what seals the records of a new file; None without a key."""
    return None if _Device.key is None else Sealer(_Device.key)


def seal(raw: bytes) -> bytes:
    """Returns a file's content as this process writes it: sealed if it has a key."""
    sealer = begin_file()
    return raw if sealer is None else sealer.header + sealer.seal(raw)


def measure(head: bytes) -> int | None:
    """The size of a sealed record with this head, with all that is around it.

    Returns:
        None if it is no head of a record.
    """
    length = int.from_bytes(head[:4], "little")
    if _checksum(head[:-4]) != head[-4:] or length < TAG_BYTES:
        return None
    return RECORD.size + length


def count_records(raw: bytes) -> int:
    """How many whole records there are, by their heads, which need no key."""
    count = position = 0
    while len(head := raw[position : position + RECORD.size]) == RECORD.size:
        size_bytes = measure(head)
        if size_bytes is None or position + size_bytes > len(raw):
            break
        count, position = count + 1, position + size_bytes
    return count


class Opener:
    """Opens the records of one sealed file, in their order."""

    head_bytes: int = RECORD.size
    overhead_bytes: int = RECORD_OVERHEAD_BYTES

    def __init__(self, header: bytes, source: str | Path) -> None:
        """Finds the key of a file.

        Args:
            header: the first bytes of the file.
            source: names it in errors.

        Raises:
            CorruptRecordError: it is no header.
            SealedError: this process has no key, or another one.
        """
        magic, name, salt, _ = HEADER.unpack(header)
        if magic != MAGIC or _checksum(header[:-4]) != header[-4:]:
            raise CorruptRecordError(source, "the header of a sealed file", "damage")
        key = _Device.key
        if key is None or key.id != name:
            got = "none" if key is None else f"the key {key.id.hex()}"
            raise SealedError(source, f"the device's key {name.hex()}", got)
        self._cipher = key.derive(salt)
        self._number = 0

    def measure(self, head: bytes) -> int | None:
        """The function of this name."""
        return measure(head)

    def open(self, sealed: bytes | memoryview) -> bytes | None:
        """The record that is next in the file; None if this is not it."""
        _, attempt, _ = RECORD.unpack_from(sealed)
        nonce = _NONCE.pack(self._number, attempt)
        try:
            record = self._cipher.decrypt(nonce, sealed[RECORD.size :], None)
        except InvalidTag:
            return None
        self._number += 1
        return record


def is_sealed(raw: bytes) -> bool:
    """Whether a file that begins like this is sealed."""
    return raw[: len(MAGIC)] == MAGIC


def is_torn(raw: bytes) -> bool:
    """Whether a sealed file ends within its header, or within its first record."""
    if len(raw) < HEADER.size:
        return True
    if _checksum(raw[: HEADER.size - 4]) != raw[HEADER.size - 4 : HEADER.size]:
        return False
    head = raw[HEADER.size : HEADER.size + RECORD.size]
    if len(head) < RECORD.size:
        return True
    length = int.from_bytes(head[:4], "little")
    whole = OVERHEAD_BYTES - TAG_BYTES + length
    return _checksum(head[:-4]) == head[-4:] and len(raw) < whole


def unseal(raw: bytes, source: str | Path) -> bytes:
    """Returns the content of a file that `seal` made, or of one that is not sealed.

    Raises:
        SealedError: this process has no key, or another one.
        CorruptRecordError: it was changed or cut off.
    """
    if not is_sealed(raw):
        return raw
    if len(raw) < OVERHEAD_BYTES:
        raise CorruptRecordError(source, "a sealed file", f"{len(raw)} bytes")
    opener = Opener(raw[: HEADER.size], source)
    rest = memoryview(raw)[HEADER.size :]
    size_bytes = opener.measure(bytes(rest[: RECORD.size]))
    opened = opener.open(rest) if size_bytes == len(rest) else None
    if opened is None:
        raise CorruptRecordError(
            source,
            "what was sealed",
            "a file that was changed or cut off",
            offset=HEADER.size,
        )
    return opened


def _checksum(raw: bytes) -> bytes:
    """The CRC-32C of bytes, which tells damage from what was cut off or forged."""
    return int(google_crc32c.value(raw)).to_bytes(4, "little")
