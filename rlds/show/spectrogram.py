"""The sound of many steps as a small picture: time to the right, pitch upwards.

A column has the loudest of the steps that share it, so that a bang of one step in
10,000 is seen. A step without sound stays white, which no sound is.
"""

import struct
import zlib
from typing import Final

import numpy as np

from rlds.episode import Array
from rlds.show import curves

_QUIET, _LOUD = np.array([238, 242, 247.0]), np.array([122, 24, 78.0])
_NOTHING: Final = 255
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


def draw(powers: Array, low: float, high: float) -> bytes:
    """Returns the PNG of powers [T M] from `low` to `high`: M rows, lowest band below.

    It has at most `curves.BUCKETS` columns.
    """
    heard = np.any(powers != 0, axis=1)
    filled = np.where(heard[:, None], powers, -np.inf)
    loudest = [curves.find_extremes(band)[2] for band in filled.T]
    rows = np.stack(loudest[::-1])  # [M B]
    share = np.clip((rows - low) / (high - low or 1.0), 0.0, 1.0)
    pixels = np.rint(_QUIET + share[..., None] * (_LOUD - _QUIET)).astype(np.uint8)
    pixels[np.isneginf(rows)] = _NOTHING
    return _encode(pixels)


def _encode(pixels: Array) -> bytes:
    """The PNG of pixels [h w 3] u8, of the simplest kind that there is."""
    height, width, _ = pixels.shape
    lines = np.zeros((height, 1 + 3 * width), np.uint8)  # each begins with no filter
    lines[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes())), (b"IEND", b"")
    return _SIGNATURE + b"".join(_pack(name, content) for name, content in parts)


def _pack(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return (
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
    )
