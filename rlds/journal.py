"""The file into which an episode is recorded: a header, then one record per step.

Header and records are TFRecord frames; on a device with a key they are sealed ones
instead (`sealing.py`). The header is canonical JSON (spec and
metadata). A step is its numbers in table order, little-endian and without gaps, then
its pictures in table order, behind the length of each but the last one (u32). Every
whole frame is a recorded step; bytes after the last whole frame are the step that was
being written when the process died or the power failed.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from base import canonical_json, durable_file, plain_file
from base.errors import CanonicalJsonError
from rlds import sealing, tfrecord
from rlds.episode import Array, EpisodeMetadata
from rlds.errors import (
    CorruptRecordError,
    DamagedJournalError,
    MalformedEpisodeError,
)
from rlds.spec import EpisodeSpec

SUFFIX = ".journal"

_FORMAT = "continuon-journal-1"
_LENGTH_BYTES = 4
MAX_HEADER_BYTES = 1024 * 1024
_READ_SIZE_BYTES = 4 * 1024 * 1024
# Twice what an episode's file may have: a writer ends an episode before.
_MAX_STEPS_BYTES = 512 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class JournalContent:
    """The content of a journal.

    Attributes:
        spec: sizes of the fields.
        metadata: fields of the episode, as known when it began.
        steps: the steps as `rlds.episode.Episode` takes them; there may be none.
        num_steps: number of whole steps.
        whole_size_bytes: size of the header and the whole steps.
        torn_size_bytes: size of the bytes after them; a journal beyond any writer's
            has steps among them.
    """

    spec: EpisodeSpec
    metadata: EpisodeMetadata
    steps: Mapping[str, Any]
    num_steps: int
    whole_size_bytes: int
    torn_size_bytes: int

    def first(self, num_steps: int) -> "JournalContent":
        """Returns the same content with its first steps only."""
        steps = {name: values[:num_steps] for name, values in self.steps.items()}
        return dataclasses.replace(self, steps=steps, num_steps=num_steps)


def step_dtype(spec: EpisodeSpec) -> np.dtype[np.void]:
    """Returns the layout of a step's numbers: vectors first, then scalars."""
    fields = [field for field in spec.step_fields() if field.dtype != "jpeg"]
    names = {"float32": "<f4", "int64": "<i8", "bool": "?"}
    # Vectors come first; vectors and scalars are each in table order.
    return np.dtype(
        [
            (field.name, names[field.dtype], field.shape)
            for field in sorted(fields, key=lambda field: not field.shape)
        ]
    )


def join_pictures(pictures: Sequence[bytes]) -> bytes:
    """Returns what stands behind the numbers of a step; `split_pictures` inverts it."""
    lengths = b"".join(
        len(one).to_bytes(_LENGTH_BYTES, "little") for one in pictures[:-1]
    )
    return b"".join((lengths, *pictures))


def split_pictures(raw: bytes, count: int) -> list[bytes] | None:
    """Returns the pictures of a step; None if the bytes are not those of `count`."""
    if not count:
        return None if raw else []
    at = _LENGTH_BYTES * (count - 1)
    found = []
    for number in range(count - 1):
        begin = _LENGTH_BYTES * number
        length = int.from_bytes(raw[begin : begin + _LENGTH_BYTES], "little")
        found.append(raw[at : at + length])
        at += length
    return None if at > len(raw) else [*found, raw[at:]]


def header(spec: EpisodeSpec, metadata: EpisodeMetadata) -> bytes:
    """Returns the header of a new journal, not yet framed or sealed."""
    return canonical_json.encode(
        {
            "format": _FORMAT,
            "spec": dataclasses.asdict(spec),
            "metadata": dataclasses.asdict(metadata),
        }
    )


def read(path: Path) -> JournalContent | None:
    """Reads the whole steps of a journal, or returns None if the header is incomplete.

    Raises:
        DiskError: the file cannot be read.
        DamagedJournalError: the header does not have this format.
        SealedError: it is sealed with a key that this process does not have.
    """
    try:
        with plain_file.open_stream(path) as stream:
            size_bytes = os.fstat(stream.fileno()).st_size
            front = stream.read(sealing.HEADER.size)
            framing, begin = _find_framing(front, path)
            if framing is None:
                return None
            frames = _whole_frames(framing, front[begin:], stream.read, size_bytes)
            first = next(frames, None)
            if first is None:
                return None
            spec, metadata = _parse_header(path, first)
            found = _Steps(spec, framing.overhead_bytes)
            for record in frames:
                if found.size_bytes > _MAX_STEPS_BYTES or not found.add(record):
                    break
    except OSError as e:
        raise durable_file.disk_error(path, "to read the journal", e) from e
    whole = begin + len(first) + framing.overhead_bytes + found.size_bytes
    return JournalContent(
        spec, metadata, found.arrays(), found.count, whole, size_bytes - whole
    )


def count_sealed_steps(path: Path) -> int:
    """Number of whole steps in a journal that this process cannot open.

    Raises:
        OSError: it cannot be read.
    """
    with plain_file.open_stream(path) as stream:
        stream.seek(sealing.HEADER.size)
        return max(0, sealing.count_records(stream.read()) - 1)  # one is the header


class _Steps:
    """Collects the steps of a journal without an object per number."""

    def __init__(self, spec: EpisodeSpec, overhead_bytes: int) -> None:
        self._overhead_bytes = overhead_bytes
        self._dtype = step_dtype(spec)
        self._numbers = bytearray()
        self._pictures: dict[str, list[bytes]] = {
            name: [] for name in spec.picture_fields
        }
        self.count = 0
        self.size_bytes = 0

    def add(self, record: bytes) -> bool:
        """Adds a step; returns False if the record is not a step."""
        numbers = self._dtype.itemsize
        if len(record) < numbers:
            return False
        pictures = split_pictures(record[numbers:], len(self._pictures))
        if pictures is None:
            return False
        self._numbers += record[:numbers]
        for kept, picture in zip(self._pictures.values(), pictures, strict=True):
            kept.append(picture)
        self.count += 1
        self.size_bytes += len(record) + self._overhead_bytes
        return True

    def arrays(self) -> dict[str, Any]:
        table: Array = np.frombuffer(self._numbers, self._dtype)
        steps: dict[str, Any] = {
            name: np.ascontiguousarray(table[name]) for name in self._dtype.names or ()
        }
        return steps | self._pictures


class _Framing(Protocol):
    """How records lie in a journal, one after the other."""

    head_bytes: int
    overhead_bytes: int

    def measure(self, head: bytes) -> int | None:
        """The size of the frame with this head; None if it is no head."""

    def open(self, framed: bytes) -> bytes | None:
        """The record in a frame; None if it was changed."""


class _Plain:
    """TFRecord frames."""

    head_bytes = tfrecord.HEADER_SIZE_BYTES
    overhead_bytes = tfrecord.OVERHEAD_SIZE_BYTES

    def measure(self, head: bytes) -> int | None:
        if tfrecord.checksum(head[:8]) != head[8:]:
            return None
        return int.from_bytes(head[:8], "little") + tfrecord.OVERHEAD_SIZE_BYTES

    def open(self, framed: bytes) -> bytes | None:
        record = framed[tfrecord.HEADER_SIZE_BYTES : -tfrecord.FOOTER_SIZE_BYTES]
        is_whole = tfrecord.checksum(record) == framed[-tfrecord.FOOTER_SIZE_BYTES :]
        return record if is_whole else None


def _find_framing(front: bytes, path: Path) -> tuple[_Framing | None, int]:
    """How the records lie in a file that begins like this, and where they begin.

    None if the header of a sealed file is incomplete or damaged.
    """
    if not sealing.is_sealed(front):
        return _Plain(), 0
    if len(front) < sealing.HEADER.size:
        return None, 0
    try:
        return sealing.Opener(front, path), sealing.HEADER.size
    except CorruptRecordError:
        return None, 0


def _whole_frames(
    framing: _Framing, front: bytes, read: Callable[[int], bytes], size_bytes: int
) -> Iterator[bytes]:
    """Yields the records before the first frame that is cut short or corrupt.

    Args:
        framing: how they lie in the file.
        front: bytes that were read already.
        read: reads more.
        size_bytes: of the file: no frame is larger.
    """
    pending = bytearray(front)
    position = 0
    while True:
        head = bytes(pending[position : position + framing.head_bytes])
        if len(head) == framing.head_bytes:
            frame_bytes = framing.measure(head)
            if frame_bytes is None or frame_bytes > size_bytes:
                return
            end = position + frame_bytes
            if end <= len(pending):
                record = framing.open(bytes(pending[position:end]))
                if record is None:
                    return
                yield record
                position = end
                continue
        more = read(_READ_SIZE_BYTES)
        if not more:
            return
        del pending[:position]  # moves at most what was read last
        pending += more
        position = 0


def _parse_header(path: Path, raw: bytes) -> tuple[EpisodeSpec, EpisodeMetadata]:
    if len(raw) > MAX_HEADER_BYTES:
        raise DamagedJournalError(path, "a header", f"{len(raw)} bytes")
    try:
        value: Any = canonical_json.decode(raw)
        if value["format"] != _FORMAT:
            raise DamagedJournalError(path, f"format {_FORMAT}", value["format"])
        return EpisodeSpec(**value["spec"]), EpisodeMetadata(**value["metadata"])
    except (
        CanonicalJsonError,
        MalformedEpisodeError,
        KeyError,
        TypeError,
        ValueError,
    ) as e:
        raise DamagedJournalError(path, "a journal's header", e) from e
