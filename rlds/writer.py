"""Writes an episode step by step; a crash loses at most the step being written.

    append  writes one frame to `<episode_id>.journal` with one system call per step;
            a thread syncs the file every `fsync_period_s`
    close   turns the journal into `<episode_id>.tfrecord`, durably, then removes it

`recovery.recover` does the same for the journals that a crash left. Whatever is written
here can be read: an episode takes no step with which it would be larger than readers
accept.

A killed process loses no step for which `append` has returned; a power cut loses at
most the last `fsync_period_s`.
"""

import contextlib
import dataclasses
import errno
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from base import durable_file, file_lock
from base.errors import DiskError, OversizedError
from rlds import closed_episode, journal, reader, sealing, tfrecord
from rlds.closed_episode import ClosedEpisode
from rlds.episode import EpisodeMetadata
from rlds.episode_size import EpisodeSize
from rlds.errors import (
    EpisodeExistsError,
    EpisodeFullError,
    MalformedEpisodeError,
    WriterClosedError,
)
from rlds.spec import EpisodeSpec
from rlds.step_packer import StepPacker


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
            metadata: fields of the episode; `close` sets its `success` and may add
                tags.
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
        episode = closed_episode.episode_path(self._path)
        if episode.exists():
            raise EpisodeExistsError(episode, "no episode of this id", "one")
        self._sealer = sealing.begin_file()
        self._file = _create(self._path)
        try:
            if not file_lock.try_take(self._file):
                raise BlockingIOError(errno.EAGAIN, "another process holds it")
            raw = self._begin(journal.header(spec, metadata))
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
        record = self._packer.pack(step)
        image_bytes = sum(len(step[name]) for name in self._spec.picture_fields)
        if not self._size.fits(image_bytes):
            kind = EpisodeFullError if self._count else OversizedError
            raise kind(
                self._path,
                "an episode that readers take",
                f"{self._count} steps and one more, of {len(record)} bytes",
            )
        if self._syncer.error is not None:
            raise self._disk_error("to sync the journal", self._syncer.error)
        frame = self._frame(record)
        try:
            durable_file.write_all(self._file, frame)
        except OSError as e:
            # Cut the incomplete frame, so that a later append follows a whole one.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size_bytes)
                os.lseek(self._file, self._size_bytes, os.SEEK_SET)
            raise self._disk_error("to append a step", e) from e
        self._packer.mark_kept(step)
        if self._sealer is not None:
            self._sealer.keep()
        self._size.add(image_bytes)
        self._size_bytes += len(frame)
        self._count += 1
        self._syncer.dirty = True

    def close(self, success: bool | None, tags: tuple[str, ...] = ()) -> ClosedEpisode:
        """Turns the journal into a whole episode and removes the journal.

        The last step gets `is_last`, even if it was appended without it.

        Args:
            success: whether the task succeeded; None if unknown.
            tags: what is known of the episode only at its end, after its other tags.

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
        metadata = dataclasses.replace(
            self._metadata, success=success, tags=(*self._metadata.tags, *tags)
        )
        closed = closed_episode.finish(self._path, content, metadata)
        closed_episode.remove_journal(self._path)
        self._release()
        return closed

    def rest(self) -> None:
        """Syncs the journal once more, in its thread, which then ends.

        For an episode that takes no more steps and is closed later.
        """
        self._syncer.end()

    def leave(self) -> None:
        """Lets go of the journal, which stays for `recovery.recover`."""
        if self._open:
            self._release()

    def abort(self) -> None:
        """Removes the journal and so the episode; does nothing after `close`.

        Raises:
            DiskError: the journal cannot be removed.
        """
        if self._open:
            self._release()
            closed_episode.remove_journal(self._path)

    def _begin(self, header: bytes) -> bytes:
        """The first bytes of the journal, with its header."""
        if self._sealer is None:
            return tfrecord.frame(header)
        raw = self._sealer.header + self._sealer.seal(header)
        self._sealer.keep()
        return raw

    def _frame(self, record: bytes) -> bytes:
        if self._sealer is None:
            return tfrecord.frame(record)
        return self._sealer.seal(record)

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


def _create(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as e:
        raise EpisodeExistsError(
            path, "no journal of this id", "one", "recover() the folder first"
        ) from e
    except OSError as e:
        raise durable_file.disk_error(path, "to create the journal", e) from e


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
