"""Writes an episode step by step; a crash loses at most the step being written.

    append  writes one frame to `<episode_id>.journal` with one system call per step;
            a thread syncs the file every `fsync_period_s`
    close   turns the journal into `<episode_id>.tfrecord`, durably, then removes it
    recover does the same for the journals that a crash left

Whatever is written here can be read: an episode takes no step with which it would be
larger than readers accept.

A killed process loses no step for which `append` has returned; a power cut loses at
most the last `fsync_period_s`.
"""

import contextlib
import dataclasses
import errno
import hashlib
import os
import stat
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from base import durable_file, file_lock, plain_file
from base.errors import ContinuonError, DiskError, OversizedError
from rlds import example_codec, journal, reader, tfrecord
from rlds.episode import EpisodeMetadata
from rlds.episode_size import EpisodeSize
from rlds.errors import (
    DamagedJournalError,
    EpisodeExistsError,
    EpisodeFullError,
    MalformedEpisodeError,
    WriterClosedError,
)
from rlds.journal import JournalContent
from rlds.spec import EpisodeSpec
from rlds.step_packer import StepPacker

EPISODE_SUFFIX = ".tfrecord"
_IMAGE = "observation/image"
RECOVERED_TAG = "recovered"


@dataclasses.dataclass(frozen=True)
class ClosedEpisode:
    """A whole episode on disk.

    Attributes:
        path: its file.
        sha256: digest of the file's bytes.
        size_bytes: size of the file.
        num_steps: number of steps in it.
    """

    path: Path
    sha256: str
    size_bytes: int
    num_steps: int


class EpisodeWriter:
    """Records one episode. Each episode has its own writer, used by one thread."""

    def __init__(
        self,
        folder: Path,
        spec: EpisodeSpec,
        metadata: EpisodeMetadata,
        fsync_period_s: float = 1.0,
        limit_bytes: int = reader.LIMIT_BYTES,
    ) -> None:
        """Creates the journal, durably.

        Args:
            folder: existing folder of the journal and the episode.
            spec: sizes of the step fields.
            metadata: fields of the episode; `close` sets its `success`.
            fsync_period_s: longest time that a power cut loses.
            limit_bytes: largest size of the episode's file.

        Raises:
            EpisodeExistsError: the folder has an episode or journal of this id.
            DiskError: the journal cannot be written.
        """
        self._folder = folder
        self._spec = spec
        self._metadata = metadata
        self._path = folder / f"{metadata.episode_id}{journal.SUFFIX}"
        self._packer = StepPacker(spec)
        self._size = EpisodeSize(spec, metadata, limit_bytes)
        self._count = 0
        episode = _episode_path(self._path)
        if episode.exists():
            raise EpisodeExistsError(episode, "no episode of this id", "one")
        self._file = _create(self._path)
        try:
            if not file_lock.try_take(self._file):
                raise BlockingIOError(errno.EAGAIN, "another process holds it")
            raw = journal.header(spec, metadata)
            durable_file.write_all(self._file, raw)
            os.fsync(self._file)
            durable_file.fsync_folder(folder)
        except (OSError, DiskError) as e:
            os.close(self._file)
            with contextlib.suppress(OSError):
                self._path.unlink()
            if isinstance(e, DiskError):
                raise
            raise durable_file.disk_error(self._path, "to begin a journal", e) from e
        self._size_bytes = len(raw)
        self._syncer = _Syncer(self._file, fsync_period_s)
        self._open = True

    def append(self, step: Mapping[str, Any]) -> None:
        """Appends one step; once this returns, killing the process cannot lose it.

        Args:
            step: one value per step field of the spec; the last step has `is_last`.

        Raises:
            MalformedEpisodeError: the step does not match the spec or is out of
                order; the episode is unchanged.
            EpisodeFullError: with this step the episode would be larger than readers
                take; it is unchanged, and may be closed.
            OversizedError: no episode can take the step, since its image is too large.
            DiskError: the disk is full or failed; the steps before this one are kept.
            WriterClosedError: the episode is closed.
        """
        self._check_open()
        frame = tfrecord.frame(self._packer.pack(step))
        image_bytes = len(step[_IMAGE]) if self._spec.image else 0
        if not self._size.fits(image_bytes):
            kind = EpisodeFullError if self._count else OversizedError
            raise kind(
                self._path,
                "an episode that readers take",
                f"{self._count} steps and one more, of {len(frame)} bytes",
            )
        if self._syncer.error is not None:
            raise self._disk_error("to sync the journal", self._syncer.error)
        try:
            durable_file.write_all(self._file, frame)
        except OSError as e:
            # Cut the incomplete frame, so that a later append follows a whole one.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size_bytes)
                os.lseek(self._file, self._size_bytes, os.SEEK_SET)
            raise self._disk_error("to append a step", e) from e
        self._packer.mark_kept(step)
        self._size.add(image_bytes)
        self._size_bytes += len(frame)
        self._count += 1
        self._syncer.dirty = True

    def close(self, success: bool | None) -> ClosedEpisode:
        """Turns the journal into a whole episode and removes the journal.

        The last step gets `is_last`, even if it was appended without it.

        Args:
            success: whether the task succeeded; None if unknown.

        Raises:
            MalformedEpisodeError: there is no step, or another process changed the
                journal; the journal stays.
            DiskError: the disk is full or failed; the journal stays, and another
                `close` or `recover` can finish the episode.
            WriterClosedError: the episode is closed.
        """
        self._check_open()
        if not self._count:
            raise MalformedEpisodeError(
                self._path, "at least one step", "none", "abort() an empty episode"
            )
        content = journal.read(self._path)
        if content is None or content.num_steps != self._count:
            kept = content.num_steps if content else 0
            raise MalformedEpisodeError(
                self._path, f"{self._count} steps", f"{kept}", "check the disk"
            )
        metadata = dataclasses.replace(self._metadata, success=success)
        closed = _finish(self._path, content, metadata)
        _remove(self._path)
        self._release()
        return closed

    def rest(self) -> None:
        """Syncs the journal once more, in its thread, which then ends.

        For an episode that takes no more steps and is closed later.
        """
        self._syncer.end()

    def abort(self) -> None:
        """Removes the journal and so the episode; does nothing after `close`.

        Raises:
            DiskError: the journal cannot be removed.
        """
        if self._open:
            self._release()
            _remove(self._path)

    def _release(self) -> None:
        self._open = False
        self._syncer.stop()
        os.close(self._file)

    def _check_open(self) -> None:
        if not self._open:
            raise WriterClosedError(self._path, "an open episode", "a closed one")

    def _disk_error(self, wanted: str, error: OSError) -> DiskError:
        return DiskError(
            self._path,
            wanted,
            error.strerror or type(error).__name__,
            f"{self._count} steps are kept: make room, then close or recover it",
        )


def recover(folder: Path, limit_bytes: int = reader.LIMIT_BYTES) -> list[ClosedEpisode]:
    """Turns the journals that a crash left in `folder` into whole episodes.

    A recovered episode holds every step that was kept, has the tag `recovered`, and
    its last step has `is_last`. Journals of running writers stay untouched. Journals
    without a whole step are removed, since no step in them was acknowledged. Calling
    this again changes nothing.

    Args:
        folder: folder of the journals and of the episodes.
        limit_bytes: largest size of an episode's file; a larger journal gives an
            episode of its first steps, and is then treated as damaged.

    Returns:
        The episodes made, in the order of their ids.

    Raises:
        DiskError: an episode cannot be written, or a journal not removed; the journal
            stays.
        DamagedJournalError: a journal is not a file, cannot be read, or has bytes that
            are more than an incomplete last step. All others were recovered first; the
            damaged ones were renamed to end in `.damaged`, and the steps before the
            damage were recovered.
    """
    found: list[ClosedEpisode] = []
    damaged: list[str] = []
    durable_file.remove_leftovers(folder)
    for path in sorted(folder.glob(f"*{journal.SUFFIX}")):
        try:
            with _try_lock(path) as ours:
                if ours:
                    found += _recover_one(path, limit_bytes, damaged)
        except DamagedJournalError as e:
            _set_aside(path, str(e), damaged)
    if damaged:
        raise DamagedJournalError(
            folder, "steps and at most an incomplete last one", ", ".join(damaged)
        )
    return found


def _recover_one(
    path: Path, limit_bytes: int, damaged: list[str]
) -> list[ClosedEpisode]:
    try:
        content = journal.read(path)
        torn = content is None and _is_torn_header(path)
    except DiskError as e:
        raise DamagedJournalError(path, "a readable journal", e.got) from e
    if content is None:
        if torn:
            _remove(path)
        else:
            _set_aside(path, f"{path.name} without a readable header", damaged)
        return []
    found = _read_finished(path)
    if found is not None:
        _remove(path)
        return [found]
    if content.num_steps:
        tags = tuple(dict.fromkeys((*content.metadata.tags, RECOVERED_TAG)))
        metadata = dataclasses.replace(content.metadata, tags=tags, success=None)
        size = EpisodeSize(content.spec, metadata, limit_bytes)
        fits = size.count_fitting(content.steps.get(_IMAGE), content.num_steps)
        found = _finish(path, content.first(fits), metadata)
        if fits < content.num_steps:
            large = f"{path.name} with {content.num_steps} steps, {fits} of them kept"
            _set_aside(path, large, damaged)
            return [found]
    if content.torn_size_bytes > _largest_torn_bytes(content):
        unread = f"{path.name} with {content.torn_size_bytes} unread bytes"
        _set_aside(path, unread, damaged)
    else:
        _remove(path)
    return [found] if found else []


def _finish(
    path: Path, content: JournalContent, metadata: EpisodeMetadata
) -> ClosedEpisode:
    """Writes the episode next to its journal, which stays."""
    steps = dict(content.steps)
    last = np.zeros(content.num_steps, np.bool_)
    last[-1] = True
    steps["is_last"] = last
    raw = tfrecord.frame(example_codec.encode_parts(content.spec, metadata, steps))
    target = _episode_path(path)
    durable_file.write(target, raw)
    digest = hashlib.sha256(raw).hexdigest()
    return ClosedEpisode(target, digest, len(raw), content.num_steps)


def _read_finished(path: Path) -> ClosedEpisode | None:
    """Returns the episode if an interrupted `close` had finished it, else None."""
    target = _episode_path(path)
    if not target.exists():
        return None
    try:
        episode = reader.read_episode(target)
        raw = plain_file.read(target, reader.LIMIT_BYTES)
    except DiskError:
        raise
    except ContinuonError:
        return None
    except OSError as e:
        raise durable_file.disk_error(target, "to read the episode", e) from e
    digest = hashlib.sha256(raw).hexdigest()
    return ClosedEpisode(target, digest, len(raw), episode.num_steps)


def _largest_torn_bytes(content: JournalContent) -> int:
    """Returns the largest size of unread bytes that can be one incomplete step."""
    if content.spec.image:
        return content.whole_size_bytes
    step = journal.step_dtype(content.spec).itemsize
    return step + tfrecord.OVERHEAD_SIZE_BYTES


def _is_torn_header(path: Path) -> bool:
    """Returns whether a journal ends within its header, before any step."""
    try:
        with plain_file.open_stream(path) as stream:
            raw = stream.read(journal.MAX_HEADER_BYTES)
    except OSError as e:
        raise durable_file.disk_error(path, "to read the journal", e) from e
    if len(raw) < tfrecord.HEADER_SIZE_BYTES:
        return True
    size = int.from_bytes(raw[:8], "little") + tfrecord.OVERHEAD_SIZE_BYTES
    return len(raw) <= size and tfrecord.checksum(raw[:8]) == raw[8:12]


def _set_aside(path: Path, reason: str, damaged: list[str]) -> None:
    """Renames a damaged journal and notes the reason; goes on if it cannot."""
    try:
        durable_file.set_aside(path)
    except DiskError as e:
        reason = f"{reason} ({e})"
    damaged.append(reason)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as e:
        raise durable_file.disk_error(path, "to remove the journal", e) from e
    durable_file.fsync_folder(path.parent)


def _episode_path(journal_path: Path) -> Path:
    return journal_path.with_name(
        journal_path.name.removesuffix(journal.SUFFIX) + EPISODE_SUFFIX
    )


def _create(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as e:
        raise EpisodeExistsError(
            path, "no journal of this id", "one", "recover() the folder first"
        ) from e
    except OSError as e:
        raise durable_file.disk_error(path, "to create the journal", e) from e


@contextlib.contextmanager
def _try_lock(path: Path) -> Iterator[bool]:
    """Yields whether the journal is abandoned; if so, this process has its lock.

    Raises:
        DamagedJournalError: it is not a file, or cannot be opened.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise DamagedJournalError(path, "a file", "a folder, link or pipe")
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        yield False
        return
    except OSError as e:
        raise DamagedJournalError(path, "a readable journal", e.strerror) from e
    try:
        # Another recovery may have removed the journal meanwhile.
        yield file_lock.try_take(file) and path.exists()
    finally:
        os.close(file)


class _Syncer:
    """Syncs a file once per period in its own thread, so that no step waits for it."""

    def __init__(self, file: int, period_s: float) -> None:
        self.dirty = False
        self.error: OSError | None = None
        self._file = file
        self._period_s = period_s
        self._syncs_last = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Lets the thread sync once more, and does not wait for it."""
        self._syncs_last = True
        self._stop.set()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._period_s):
            self._sync()
        if self._syncs_last:
            self._sync()

    def _sync(self) -> None:
        if self.dirty:
            self.dirty = False
            try:
                os.fdatasync(self._file)
            except OSError as e:
                self.error = e
