"""Turns the journals that a crash left into whole episodes, and keeps what is damaged.

A journal holds each step that was acknowledged, and at most one incomplete step after
them. What no crash leaves is damage: the steps before it are recovered, and the bytes
are kept under another name.
"""

import contextlib
import dataclasses
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from base import durable_file, file_lock, plain_file
from base.errors import ContinuonError, DiskError
from rlds import closed_episode, journal, reader, sealing, tfrecord
from rlds.closed_episode import ClosedEpisode
from rlds.episode_size import EpisodeSize
from rlds.errors import DamagedJournalError, SealedError
from rlds.journal import JournalContent
from rlds.spec import StopRule

RECOVERED_TAG = "recovered"
_HUNG = "hung"
_VIOLATION = "safety_violation"


def mark_hung(folder: Path) -> None:
    """Notes that a watchdog has killed the process whose journal is the newest one.

    `recover` then makes its last step a safety violation. Nothing is synced: a process
    died, and the machine did not.

    Raises:
        OSError: the note cannot be made.
    """
    (folder / _HUNG).touch(mode=0o600)


def recover(folder: Path, limit_bytes: int = reader.LIMIT_BYTES) -> list[ClosedEpisode]:
    """Turns the journals that a crash left in `folder` into whole episodes.

    A recovered episode holds every step that was kept, has the tag `recovered`, and
    its last step has `is_last`. After `mark_hung` the newest one also has the tag of
    `StopRule.WATCHDOG`, and its last step is a safety violation. Journals of running
    writers stay untouched. Journals without a whole step are removed, since no step in
    them was acknowledged. Calling this again changes nothing.

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
        SealedError: journals are sealed with a key that this process does not have;
            they stay. All others were recovered.
    """
    found: list[ClosedEpisode] = []
    damaged: list[str] = []
    sealed: list[SealedError] = []
    durable_file.remove_leftovers(folder)
    paths = sorted(folder.glob(f"*{journal.SUFFIX}"))
    hung = _find_hung(folder, paths)
    for path in paths:
        try:
            with _try_lock(path) as ours:
                if ours:
                    found += _recover_one(path, limit_bytes, damaged, path == hung)
        except DamagedJournalError as e:
            _set_aside(path, str(e), damaged)
        except SealedError as e:
            sealed.append(e)
    if hung is not None:
        (folder / _HUNG).unlink(missing_ok=True)
    if damaged:
        raise DamagedJournalError(
            folder, "steps and at most an incomplete last one", ", ".join(damaged)
        )
    if sealed:
        raise SealedError(
            folder, f"{sealed[0].expected} for {len(sealed)} journals", sealed[0].got
        )
    return found


def _find_hung(folder: Path, paths: list[Path]) -> Path | None:
    """Returns the journal of the process that a watchdog killed, if it did."""
    if not (folder / _HUNG).exists():
        return None
    return max(paths, key=lambda path: path.stat().st_mtime_ns, default=folder)


def _recover_one(
    path: Path, limit_bytes: int, damaged: list[str], hung: bool
) -> list[ClosedEpisode]:
    try:
        content = journal.read(path)
        torn = content is None and _is_torn_header(path)
    except DiskError as e:
        raise DamagedJournalError(path, "a readable journal", e.got) from e
    if content is None:
        if torn:
            closed_episode.remove_journal(path)
        else:
            _set_aside(path, f"{path.name} without a readable header", damaged)
        return []
    found = _read_finished(path)
    if found is not None:
        closed_episode.remove_journal(path)
        return [found]
    if content.num_steps:
        tags = (*content.metadata.tags, RECOVERED_TAG)
        if hung:
            content = _mark_violation(content)
            tags = (*tags, StopRule.WATCHDOG.tag)
        tags = tuple(dict.fromkeys(tags))
        metadata = dataclasses.replace(content.metadata, tags=tags, success=None)
        size = EpisodeSize(content.spec, metadata, limit_bytes)
        fits = size.count_fitting(
            [content.steps[name] for name in content.spec.picture_fields],
            content.num_steps,
        )
        found = closed_episode.finish(path, content.first(fits), metadata)
        if fits < content.num_steps:
            large = f"{path.name} with {content.num_steps} steps, {fits} of them kept"
            _set_aside(path, large, damaged)
            return [found]
    if content.torn_size_bytes > _largest_torn_bytes(content):
        unread = f"{path.name} with {content.torn_size_bytes} unread bytes"
        _set_aside(path, unread, damaged)
    else:
        closed_episode.remove_journal(path)
    return [found] if found else []


def _mark_violation(content: JournalContent) -> JournalContent:
    """Makes the last step a safety violation: it was the last before the hang."""
    marked = np.array(content.steps[_VIOLATION])
    marked[-1] = True
    return dataclasses.replace(content, steps={**content.steps, _VIOLATION: marked})


def _read_finished(path: Path) -> ClosedEpisode | None:
    """Returns the episode if an interrupted `close` had finished it, else None."""
    target = closed_episode.episode_path(path)
    if not target.exists():
        return None
    try:
        episode = reader.read_episode(target)
        raw = plain_file.read(target, reader.LIMIT_BYTES + sealing.OVERHEAD_BYTES)
    except (DiskError, SealedError):
        raise
    except ContinuonError:
        return None
    except OSError as e:
        raise durable_file.disk_error(target, "to read the episode", e) from e
    digest = hashlib.sha256(raw).hexdigest()
    return ClosedEpisode(target, digest, len(raw), episode.num_steps)


def _largest_torn_bytes(content: JournalContent) -> int:
    """Returns the largest size of unread bytes that can be one incomplete step."""
    if content.spec.picture_fields:
        return content.whole_size_bytes
    step = journal.step_dtype(content.spec).itemsize
    return step + max(tfrecord.OVERHEAD_SIZE_BYTES, sealing.RECORD_OVERHEAD_BYTES)


def _is_torn_header(path: Path) -> bool:
    """Returns whether a journal ends within its header, before any step."""
    try:
        with plain_file.open_stream(path) as stream:
            raw = stream.read(journal.MAX_HEADER_BYTES)
    except OSError as e:
        raise durable_file.disk_error(path, "to read the journal", e) from e
    if len(raw) < tfrecord.HEADER_SIZE_BYTES:
        return True
    if sealing.is_sealed(raw):
        return sealing.is_torn(raw)
    size = int.from_bytes(raw[:8], "little") + tfrecord.OVERHEAD_SIZE_BYTES
    return len(raw) <= size and tfrecord.checksum(raw[:8]) == raw[8:12]


def _set_aside(path: Path, reason: str, damaged: list[str]) -> None:
    """Renames a damaged journal and notes the reason; goes on if it cannot."""
    try:
        durable_file.set_aside(path)
    except DiskError as e:
        reason = f"{reason} ({e})"
    damaged.append(reason)


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
