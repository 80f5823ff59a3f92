"""The file into which an episode is recorded: a header, then one record per step.

Header and records are TFRecord frames. The header is canonical JSON (spec and
metadata). A step is its numbers in table order, little-endian and without gaps, then
its pictures in table order, behind the length of each but the last one (u32). Every
whole frame is a recorded step; bytes after the last whole frame are the step that was
being written when the process died or the power failed.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from base import canonical_json, durable_file, plain_file
from base.errors import CanonicalJsonError
from rlds import tfrecord
from rlds.episode import Array, EpisodeMetadata
from rlds.errors import DamagedJournalError, MalformedEpisodeError
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
    """Returns the framed header of a new journal."""
    return tfrecord.frame(
        canonical_json.encode(
            {
                "format": _FORMAT,
                "spec": dataclasses.asdict(spec),
                "metadata": dataclasses.asdict(metadata),
            }
        )
    )


def read(path: Path) -> JournalContent | None:
    """Reads the whole steps of a journal, or returns None if the header is incomplete.

    Raises:
        DiskError: the file cannot be read.
        DamagedJournalError: the header does not have this format.
    """
    try:
        with plain_file.open_stream(path) as stream:
            size_bytes = os.fstat(stream.fileno()).st_size
            frames = _whole_frames(stream.read, size_bytes)
            first = next(frames, None)
            if first is None:
                return None
            spec, metadata = _parse_header(path, first)
            found = _Steps(spec)
            for record in frames:
                if found.size_bytes > _MAX_STEPS_BYTES or not found.add(record):
                    break
    except OSError as e:
        raise durable_file.disk_error(path, "to read the journal", e) from e
    whole = len(first) + tfrecord.OVERHEAD_SIZE_BYTES + found.size_bytes
    return JournalContent(
        spec, metadata, found.arrays(), found.count, whole, size_bytes - whole
    )


class _Steps:
    """Collects the steps of a journal without an object per number."""

    def __init__(self, spec: EpisodeSpec) -> None:
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
        self.size_bytes += len(record) + tfrecord.OVERHEAD_SIZE_BYTES
        return True

    def arrays(self) -> dict[str, Any]:
        table: Array = np.frombuffer(self._numbers, self._dtype)
        steps: dict[str, Any] = {
            name: np.ascontiguousarray(table[name]) for name in self._dtype.names or ()
        }
        return steps | self._pictures


def _whole_frames(read: Callable[[int], bytes], size_bytes: int) -> Iterator[bytes]:
    """Yields the records before the first frame that is cut short or corrupt."""
    pending = bytearray()
    position = 0
    while True:
        head = bytes(pending[position : position + tfrecord.HEADER_SIZE_BYTES])
        if len(head) == tfrecord.HEADER_SIZE_BYTES:
            if tfrecord.checksum(head[:8]) != head[8:]:
                return
            end = position + tfrecord.OVERHEAD_SIZE_BYTES
            end += int.from_bytes(head[:8], "little")
            if end - position > size_bytes:
                return
            if end <= len(pending):
                record = bytes(pending[position + tfrecord.HEADER_SIZE_BYTES : end - 4])
                if tfrecord.checksum(record) != pending[end - 4 : end]:
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
