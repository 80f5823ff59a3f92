"""The part of the protocol buffer wire format that `tf.train.Example` uses.

Lists of numbers are packed; numpy converts a whole list at once.
Source: protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from rlds.errors import MalformedEpisodeError

type Int64Array = np.ndarray[Any, np.dtype[np.int64]]
type Octets = np.ndarray[Any, np.dtype[np.uint8]]

WIRE_VARINT = 0
WIRE_FIXED32 = 5
WIRE_BYTES = 2

# Fields of one message. A reader takes a microsecond for each and 200 bytes while it
# holds it, and a field can be as small as two bytes.
MAX_FIELDS = 262_144

_MAX_VARINT_BYTES = 10
_CHUNK_BYTES = 65_536  # of varints decoded at once, in 40 times as much memory
_SOURCE = "protocol buffer"


def encode_bytes_field(number: int, payload: bytes) -> bytes:
    """Returns a length-delimited field with its tag; `number` is at most 15."""
    return bytes((number << 3 | WIRE_BYTES,)) + encode_varint(len(payload)) + payload


def encode_varint(value: int) -> bytes:
    """Returns a non-negative value of at most 64 bits as a varint."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def read_fields(
    data: memoryview, most: int = MAX_FIELDS
) -> Iterator[tuple[int, int, memoryview]]:
    """Yields (number, wire type, payload) of each field.

    The payload of a varint field is the bytes of the varint.

    Raises:
        MalformedEpisodeError: the bytes end early, have an unknown wire type, or hold
            more than `most` fields.
    """
    position = 0
    count = 0
    while position < len(data):
        count += 1
        if count > most:
            raise malformed(f"at most {most} fields in one message", "more")
        tag, position = _read_varint(data, position)
        number, wire = tag >> 3, tag & 7
        start = position
        if wire == WIRE_BYTES:
            size, start = _read_varint(data, position)
            position = start + size
        elif wire == WIRE_FIXED32:
            position = start + 4
        elif wire == WIRE_VARINT:
            _, position = _read_varint(data, position)
        else:
            raise malformed("a known wire type", wire)
        if number == 0 or position > len(data):
            raise malformed("a whole field", "a field that runs past its end")
        yield number, wire, data[start:position]


def encode_int64s(values: Int64Array) -> bytes:
    """Returns the values as packed varints; a negative value takes ten bytes."""
    unsigned = values.astype(np.int64).view(np.uint64)
    if not (unsigned > 0x7F).any():
        return unsigned.astype(np.uint8).tobytes()
    shifts = np.arange(0, 7 * _MAX_VARINT_BYTES, 7, dtype=np.uint64)
    groups = unsigned[:, None] >> shifts
    last = np.maximum((groups != 0).sum(axis=1), 1) - 1
    columns = np.arange(_MAX_VARINT_BYTES)
    octets = (groups & np.uint64(0x7F)).astype(np.uint8)
    octets |= np.where(columns < last[:, None], 0x80, 0).astype(np.uint8)
    kept: bytes = octets[columns <= last[:, None]].tobytes()
    return kept


def decode_int64s(data: memoryview, most: int) -> Int64Array:
    """Returns the values of packed varints.

    Raises:
        MalformedEpisodeError: the bytes end early, a value exceeds 64 bits, or there
            are more than `most` values.
    """
    if len(data) > most * _MAX_VARINT_BYTES:
        raise malformed(f"at most {most} integers", f"{len(data)} bytes of them")
    octets = np.frombuffer(data, np.uint8)
    count = int(np.count_nonzero(octets < 0x80))
    if count > most:
        raise malformed(f"at most {most} integers", count)
    if count == len(octets):
        return octets.astype(np.int64)
    if octets[-1] & 0x80:
        raise malformed("a whole varint", "one that runs past its end")
    found = np.empty(count, np.int64)
    filled = 0
    while len(octets):
        chunk = octets[: _end_of_varints(octets)]
        values = _decode_chunk(chunk)
        found[filled : filled + len(values)] = values
        filled += len(values)
        octets = octets[len(chunk) :]
    return found


def _end_of_varints(octets: Octets) -> int:
    """Returns where the last varint ends that is whole in the first chunk."""
    end = min(_CHUNK_BYTES, len(octets))
    last = np.flatnonzero(octets[max(0, end - _MAX_VARINT_BYTES) : end] < 0x80)
    if not len(last):
        raise malformed("integers of 64 bits", "a longer one")
    return max(0, end - _MAX_VARINT_BYTES) + int(last[-1]) + 1


def _decode_chunk(octets: Octets) -> Int64Array:
    ends = np.flatnonzero(octets < 0x80)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    longest = int(lengths.max())
    tenth = octets[starts[lengths == _MAX_VARINT_BYTES] + _MAX_VARINT_BYTES - 1]
    if longest > _MAX_VARINT_BYTES or (tenth > 1).any():
        raise malformed("integers of 64 bits", "a longer one")
    positions = np.arange(len(octets)) - np.repeat(starts, lengths)
    parts = (octets & np.uint8(0x7F)).astype(np.uint64) << (
        positions.astype(np.uint64) * np.uint64(7)
    )
    return np.bitwise_or.reduceat(parts, starts).view(np.int64)


def malformed(expected: str, got: object) -> MalformedEpisodeError:
    """Returns the error that says what the bytes should have been."""
    return MalformedEpisodeError(_SOURCE, expected, got)


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if position + index >= len(data):
            raise malformed("a whole varint", "the end of the bytes")
        octet = data[position + index]
        value |= (octet & 0x7F) << 7 * index
        if octet < 0x80:
            return value, position + index + 1
    raise malformed("a varint of 64 bits", "a longer one")
