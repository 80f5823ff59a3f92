"""A ring of records in shared memory, from one process that must not wait to another.

    header   what the ring is; how far the reader is; how much the writer dropped
    slots    each one record: sequence number, kind, length, payload, checksum

One process writes, one reads, and neither waits for the other. A record counts when its
slot holds the next sequence number and the right checksum, so a writer that is killed
in the middle of a slot leaves nothing that looks like a record, and no order of stores
can show half of one. A number of the header lies in two places, which are written in
turn, each with a checksum: while one is being written, the other is whole. A reader
that is killed before it has released a record finds it again. When the ring is full the
writer drops, and counts what it drops.

The file lies in `home/ring`, which a robot keeps in memory (tmpfs). It is mapped, so
what was written outlives both processes; a power cut loses it.

Whoever may write to the folder may cut the file off while it is mapped. A process
that touches a page that is gone dies of SIGBUS, in the middle of a motion. So nobody
here touches the mapping: the kernel copies from and to it, for which a page that is
gone is an error. The ring is then lost, and its writer makes another.
"""

import contextlib
import mmap
import os
import struct
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import google_crc32c

from base import durable_file
from base.errors import DiskError
from edge.errors import RingError

SLOTS: Final = 4096
"""82 s of steps at 50 Hz, 20 s at 200 Hz: time in which a recorder shares a long
episode, or dies and is started again."""
RESERVED: Final = 16
"""Slots that take no droppable record, so that the begin and the end of an episode find
room where its steps do not."""
_OPEN: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_MAGIC: Final = b"ctn-ring"
_VERSION: Final = 2
_HEADER: Final = struct.Struct("<8sIIII")  # magic, version, slots, payload, checksum
_HEADER_BYTES: Final = 4096
_COUNT: Final = struct.Struct("<QI")  # a number and its checksum
_READ_AT: Final = 64
_DROPPED_AT: Final = 128
_COUNT_OFFSETS: Final = (0, 32)  # of the even and of the odd numbers
_SLOT: Final = struct.Struct("<QIII")  # sequence, kind, length, checksum
_SLOT_FRONT: Final = struct.Struct("<QII")  # with the payload under the checksum


@dataclass(frozen=True)
class Record:
    """One record of a ring.

    Attributes:
        sequence: its number since the ring was made, from 0.
        kind: a small number that writer and reader agree on.
        payload: its content.
    """

    sequence: int
    kind: int
    payload: bytes


class _Ring:
    """The mapped file, as both sides see it.

    Attributes:
        is_lost: whether a part of it was found to be gone, or its header another.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        """Maps an open file, which this closes.

        Raises:
            RingError: it is not a ring.
            OSError: it cannot be mapped.
        """
        self.path = path
        self.is_lost = False
        try:
            found = os.fstat(descriptor)
            self.identity = found.st_dev, found.st_ino
            if found.st_size < _HEADER_BYTES:
                raise RingError(path, "a ring", f"{found.st_size} bytes")
            self._memory = mmap.mmap(descriptor, found.st_size)
        finally:
            os.close(descriptor)
        # What is copied passes here: only the kernel may touch what can be cut off.
        self._scratch = os.memfd_create("ring")
        self._close_scratch = weakref.finalize(self, os.close, self._scratch)
        self._view = memoryview(self._memory)
        self._front = self._read(0, _HEADER.size)
        magic, version, self.slots, self.payload_bytes, checksum = _HEADER.unpack(
            self._front
        )
        self._stride = _SLOT.size + self.payload_bytes
        self._counts = {_READ_AT: -1, _DROPPED_AT: -1}  # as they were last seen
        if (
            (magic, version) != (_MAGIC, _VERSION)
            or checksum != google_crc32c.value(self._front[:-4])
            or found.st_size != _size_bytes(self.slots, self.payload_bytes)
            or any(self.read_count(at) < 0 for at in self._counts)
        ):
            self.close()
            raise RingError(path, "a ring of this version", "other bytes")

    def _read(self, at: int, size_bytes: int) -> bytes:
        """Bytes of the file; zeros, and the ring is lost, where it was cut off."""
        with contextlib.suppress(OSError):
            there = self._view[at : at + size_bytes]
            if os.pwrite(self._scratch, there, 0) == size_bytes:
                return os.pread(self._scratch, size_bytes, 0)
        self.is_lost = True
        return bytes(size_bytes)

    def _write(self, at: int, raw: bytes) -> None:
        """Writes into the file; the ring is lost where that was cut off."""
        with contextlib.suppress(OSError):
            os.pwrite(self._scratch, raw, 0)
            there = self._view[at : at + len(raw)]
            if os.preadv(self._scratch, [there], 0) == len(raw):
                return
        self.is_lost = True

    def look(self) -> bool:
        """Whether the ring is there as it was made: its size and its header."""
        if (
            self._memory.size() != len(self._memory)  # of the file, and as mapped
            or self._read(0, _HEADER.size) != self._front
        ):
            self.is_lost = True
        return not self.is_lost

    def read_slot(self, sequence: int) -> Record | None:
        """The record with this number; None if its slot holds none, or another."""
        at = _HEADER_BYTES + sequence % self.slots * self._stride
        front = self._read(at, _SLOT.size)
        found, kind, length, checksum = _SLOT.unpack(front)
        if found != sequence + 1 or length > self.payload_bytes:
            return None
        payload = self._read(at + _SLOT.size, length)
        if checksum != google_crc32c.value(front[: _SLOT_FRONT.size] + payload):
            return None
        return Record(sequence, kind, payload)

    def write_slot(self, sequence: int, kind: int, payload: bytes) -> None:
        """Writes a record into its slot."""
        at = _HEADER_BYTES + sequence % self.slots * self._stride
        front = _SLOT_FRONT.pack(sequence + 1, kind, len(payload))
        checksum = google_crc32c.value(front + payload).to_bytes(4, "little")
        self._write(at, b"".join((front, checksum, payload)))

    def read_count(self, at: int) -> int:
        """A number of the header: the last one, or the one before while it is written.

        `struct` clears the bytes and then stores one after the other. So half a number
        shows, and for as long as its writer waits for the processor.
        """
        both = self._read(at, _COUNT_OFFSETS[-1] + _COUNT.size)
        for offset in _COUNT_OFFSETS:
            raw = both[offset : offset + _COUNT.size]
            number, _ = _COUNT.unpack(raw)
            if raw == _encode_count(number):
                self._counts[at] = max(self._counts[at], number)
        return self._counts[at]

    def write_count(self, at: int, number: int) -> None:
        """Writes the next number of the header, which leaves the one before whole."""
        self._write(at + _COUNT_OFFSETS[number % 2], _encode_count(number))

    def close(self) -> None:
        """Unmaps the file, which stays."""
        self._view.release()
        self._memory.close()
        self._close_scratch()


class RingWriter:
    """The side that must not wait."""

    def __init__(
        self, path: Path, payload_bytes: int, slots: int = SLOTS, dropped: int = 0
    ) -> None:
        """Carries on with the ring at `path`, or makes one if it has another form.

        Args:
            path: of its file; its folder is made when absent.
            payload_bytes: largest payload of a record.
            slots: number of records that it holds.
            dropped: records that were dropped before it was made.

        Raises:
            RingError: it cannot be made: the disk is full, or not writable.
        """
        self._ring = _open_or_make(path, payload_bytes, slots)
        self._next = self._ring.read_count(_READ_AT)
        while self._ring.read_slot(self._next) is not None:
            self._next += 1
        self._dropped = self._ring.read_count(_DROPPED_AT)
        if self._dropped < dropped:
            self._dropped = dropped
            self._ring.write_count(_DROPPED_AT, dropped)

    @classmethod
    def carry_on(cls, path: Path) -> Self:
        """Carries on with the ring at `path`, whatever its form, for a dead writer.

        Raises:
            RingError: there is none.
        """
        with contextlib.closing(RingReader(path)) as there:
            form = there.form
        return cls(path, *form)

    @property
    def is_lost(self) -> bool:
        """Whether somebody cut off its file or wrote into it; it takes no more."""
        return not self._ring.look()

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of its file."""
        return self._ring.identity

    @property
    def dropped(self) -> int:
        """Records dropped since the ring was made, and in those before it."""
        return self._dropped

    @property
    def waiting(self) -> int:
        """Records that the reader has not released."""
        return self._next - self._ring.read_count(_READ_AT)

    @property
    def slots(self) -> int:
        """Number of records that the ring holds."""
        return int(self._ring.slots)

    def write(self, kind: int, payload: bytes, *, droppable: bool = True) -> bool:
        """Writes a record if there is room; False if there is none, or no ring.

        A record that finds no room is counted with `drop`, if it is given up.

        Args:
            kind: of the record.
            payload: its content.
            droppable: whether it leaves the reserved slots alone.

        Raises:
            ValueError: the payload is larger than a slot.
        """
        if len(payload) > self._ring.payload_bytes:
            raise ValueError(
                f"{len(payload)} bytes in a slot of {self._ring.payload_bytes}"
            )
        if not self._ring.look():
            return False
        if self.waiting >= self._ring.slots - (RESERVED if droppable else 0):
            return False
        self._ring.write_slot(self._next, kind, payload)
        if self._ring.is_lost:
            return False
        self._next += 1
        return True

    def drop(self) -> None:
        """Counts one record that is given up."""
        self._dropped += 1
        if self._ring.look():
            self._ring.write_count(_DROPPED_AT, self._dropped)

    def close(self) -> None:
        """Unmaps the ring; what is in it stays for the reader."""
        self._ring.close()


class RingReader:
    """The side that takes its time."""

    def __init__(self, path: Path) -> None:
        """Opens the ring where the last reader stopped.

        Raises:
            RingError: there is none, or it is not a ring.
        """
        try:
            self._ring = _Ring(path, os.open(path, _OPEN))
        except OSError as e:
            raise RingError(path, "a ring", e.strerror or type(e).__name__) from e
        # Where its writing was cut, the last record is found again, as in `release`.
        self._next = self._ring.read_count(_READ_AT)
        self.damaged = 0

    @property
    def dropped(self) -> int:
        """Records that the writer dropped since the ring was made."""
        return self._ring.read_count(_DROPPED_AT)

    @property
    def form(self) -> tuple[int, int]:
        """Largest payload of a record, in bytes, and the number of records."""
        return self._ring.payload_bytes, self._ring.slots

    @property
    def is_lost(self) -> bool:
        """Whether a part of it was found to be gone; open it again once it is back."""
        return self._ring.is_lost

    def peek(self) -> Record | None:
        """The next record, which stays until `release`; None if there is none yet."""
        found = self._ring.read_slot(self._next)
        if found is not None or self._ring.read_slot(self._next + 1) is None:
            return found
        # The one after it is whole: look again, since stores may be seen late.
        found = self._ring.read_slot(self._next)
        if found is None:
            self.damaged += 1
            self.release()
            return self.peek()
        return found

    def release(self) -> None:
        """Frees the slot of the record that `peek` returned, which is dealt with."""
        self._next += 1
        if self._ring.look():
            self._ring.write_count(_READ_AT, self._next)

    def pass_damage(self) -> bool:
        """Passes over slots that hold no record though there are records after them.

        `peek` passes over one. More of them in a row are no writer's doing; call this
        when nothing has come for a while, since it looks at all slots.

        Returns:
            Whether there is a record now.
        """
        slots = range(self._next, self._next + self._ring.slots)
        if not any(self._ring.read_slot(number) for number in slots):
            return False
        # Look again: a writer may have filled the first slots while the others were
        # looked at, and it fills them in order.
        for number in slots:
            if self._ring.read_slot(number) is not None:
                if number > self._next:
                    self.damaged += number - self._next
                    self._next = number - 1
                    self.release()
                return True
        return False

    def is_replaced(self) -> bool:
        """Whether the path names another ring by now, which a new writer made."""
        try:
            found = self._ring.path.stat()
        except OSError:
            return True
        return (found.st_dev, found.st_ino) != self._ring.identity

    def close(self) -> None:
        """Unmaps the ring, which stays."""
        self._ring.close()


def _encode_count(number: int) -> bytes:
    return _COUNT.pack(number, google_crc32c.value(number.to_bytes(8, "little")))


def _open_or_make(path: Path, payload_bytes: int, slots: int) -> _Ring:
    with contextlib.suppress(OSError, RingError):
        ring = _Ring(path, os.open(path, _OPEN))
        if (ring.payload_bytes, ring.slots) == (payload_bytes, slots):
            return ring
        ring.close()
    size_bytes = _size_bytes(slots, payload_bytes)
    front = _HEADER.pack(_MAGIC, _VERSION, slots, payload_bytes, 0)[:-4]
    header = bytearray(_HEADER_BYTES)
    header[: _HEADER.size] = front + google_crc32c.value(front).to_bytes(4, "little")
    for at in (_READ_AT, _DROPPED_AT):
        header[at : at + _COUNT.size] = _encode_count(0)
    draft: Path | None = None
    try:
        durable_file.make_own_folder(path.parent, 0o770)
        durable_file.remove_leftovers(path.parent)
        draft, descriptor = durable_file.make_file(
            path.parent, durable_file.LEFTOVER_PREFIX, mode=0o660
        )
        try:
            # Every block is allocated now: a full disk is an error here, and not a
            # signal that kills the writer in the middle of a step.
            os.posix_fallocate(descriptor, 0, size_bytes)
            os.pwrite(descriptor, header, 0)
        finally:
            os.close(descriptor)
        durable_file.make_way(path)
        draft.replace(path)
        return _Ring(path, os.open(path, _OPEN))
    except (DiskError, OSError) as e:
        if draft is not None:
            draft.unlink(missing_ok=True)
        raise RingError(
            path,
            f"to make a ring of {size_bytes} bytes",
            e.got if isinstance(e, DiskError) else e.strerror or type(e).__name__,
            "free space; the robot drives, and nothing is recorded",
        ) from e


def _size_bytes(slots: int, payload_bytes: int) -> int:
    return _HEADER_BYTES + slots * (_SLOT.size + payload_bytes)
