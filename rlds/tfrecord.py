"""TFRecord framing: length and payload, each with a masked CRC-32C.

Source of the format: tensorflow/core/lib/io/record_writer.h. Every change of up to
32 neighbouring bits is detected, in the length as in the payload.
"""

import functools
import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import google_crc32c

from base import durable_file, plain_file
from base.errors import OversizedError
from rlds.errors import RAISE_LIMIT, CorruptRecordError

HEADER_SIZE_BYTES = 12
FOOTER_SIZE_BYTES = 4
OVERHEAD_SIZE_BYTES = HEADER_SIZE_BYTES + FOOTER_SIZE_BYTES

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8
_IN_MEMORY = "TFRecord in memory"


class BytesReader(Protocol):
    """A stream of bytes."""

    def read(self, size_bytes: int, /) -> bytes:
        """Returns the next `size_bytes` bytes, or fewer at the end of the stream."""


def frame(record: bytes) -> bytes:
    """Returns `record` as it is stored in a TFRecord file."""
    return b"".join((_header(len(record)), record, checksum(record)))


def checksum(data: bytes) -> bytes:
    """Returns the masked CRC-32C of `data` as four bytes."""
    crc: int = google_crc32c.value(data)
    masked = ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF
    return _CRC.pack(masked)


def read_records(path_or_bytes: Path | bytes, limit_bytes: int) -> Iterator[bytes]:
    """Yields each record after checking its checksums.

    Args:
        path_or_bytes: a TFRecord file or its content.
        limit_bytes: size of the largest record that is accepted.

    Raises:
        CorruptRecordError: a record is cut short or fails a checksum.
        OversizedError: a record says it is larger than `limit_bytes`.
        DiskError: the file cannot be read.
    """
    if isinstance(path_or_bytes, bytes):
        yield from read_stream(io.BytesIO(path_or_bytes), _IN_MEMORY, limit_bytes)
        return
    try:
        with plain_file.open_stream(path_or_bytes) as stream:
            yield from read_stream(stream, str(path_or_bytes), limit_bytes)
    except OSError as e:
        raise durable_file.disk_error(path_or_bytes, "to read the file", e) from e


def read_stream(stream: BytesReader, source: str, limit_bytes: int) -> Iterator[bytes]:
    """Yields each record of an open stream; `source` names it in errors.

    Raises:
        CorruptRecordError, OversizedError: as `read_records`.
    """
    offset = 0
    while header := stream.read(HEADER_SIZE_BYTES):
        if len(header) < HEADER_SIZE_BYTES:
            raise CorruptRecordError(
                source,
                f"a header of {HEADER_SIZE_BYTES} bytes",
                f"{len(header)}",
                offset=offset,
            )
        if checksum(header[:8]) != header[8:]:
            raise CorruptRecordError(
                source, "the checksum of the length", "another", offset=offset
            )
        size: int = _LENGTH.unpack_from(header)[0]
        if size > limit_bytes:
            raise OversizedError(
                source,
                f"a record of at most {limit_bytes} bytes",
                f"{size}",
                RAISE_LIMIT,
            )
        record = stream.read(size)
        footer = stream.read(FOOTER_SIZE_BYTES)
        if len(record) < size or len(footer) < FOOTER_SIZE_BYTES:
            raise CorruptRecordError(
                source,
                f"a record of {size} bytes and its checksum",
                f"{len(record) + len(footer)} bytes",
                offset=offset,
            )
        if checksum(record) != footer:
            raise CorruptRecordError(
                source, "the checksum of the record", "another", offset=offset
            )
        yield record
        offset += OVERHEAD_SIZE_BYTES + size


@functools.lru_cache(maxsize=16)  # the steps of an episode have the same size
def _header(size: int) -> bytes:
    length = _LENGTH.pack(size)
    return length + checksum(length)
