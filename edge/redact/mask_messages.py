"""What a masker and its child say to each other, over two pipes.

A message is a header in JSON, with a length before it, and a picture, likewise. Both
are programs of this runtime; the lengths bound what a wrong one can cost.
"""

import json
import os
import select
import struct
import time
from typing import Any, BinaryIO, Final

Header = dict[str, Any]

LOOK: Final = "look"
MASK: Final = "mask"
_LENGTHS: Final = struct.Struct("<II")
_LIMIT_BYTES: Final = 1 << 27


def encode(header: Header, picture: bytes = b"") -> bytes:
    """Returns the bytes of a message."""
    raw = json.dumps(header).encode()
    return _LENGTHS.pack(len(raw), len(picture)) + raw + picture


def read(stream: BinaryIO) -> tuple[Header, bytes] | None:
    """Waits for a message; None at the end of the stream."""
    head = stream.read(_LENGTHS.size)
    if len(head) < _LENGTHS.size:
        return None
    sizes = _LENGTHS.unpack(head)
    return _parse(sizes, stream.read(sum(sizes)))


class Late(Exception):  # noqa: N818 - an event, which its only caller handles
    """No whole message came in time, or the stream ended."""


def read_until(descriptor: int, end_s: float) -> tuple[Header, bytes]:
    """Waits for a message until a time of `time.monotonic`.

    Raises:
        Late: it did not come, or not whole.
    """
    sizes = _LENGTHS.unpack(_read_exactly(descriptor, _LENGTHS.size, end_s))
    if sum(sizes) > _LIMIT_BYTES:
        raise Late("a message that is too long")
    return _parse(sizes, _read_exactly(descriptor, sum(sizes), end_s))


def _parse(sizes: tuple[int, ...], raw: bytes) -> tuple[Header, bytes]:
    return json.loads(raw[: sizes[0]]), raw[sizes[0] :]


def _read_exactly(descriptor: int, size: int, end_s: float) -> bytes:
    found = bytearray()
    while len(found) < size:
        wait_s = end_s - time.monotonic()
        if wait_s <= 0 or not select.select([descriptor], [], [], wait_s)[0]:
            raise Late("it took too long")
        part = os.read(descriptor, size - len(found))
        if not part:
            raise Late("it ended")
        found += part
    return bytes(found)
