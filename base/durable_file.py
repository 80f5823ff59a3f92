"""Writes a file so that a power cut leaves the old content or the new, whole.

ext4 and btrfs guarantee this for one order: write a temporary file in the same folder,
fsync it, rename it over the target, fsync the folder.

A temporary file is locked for as long as it is being written. Several programs may
therefore write in one folder, and any of them may remove the leftovers of a crash
there: what another one is writing is not a leftover.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from base import file_lock
from base.errors import DiskError

LEFTOVER_PREFIX = ".tmp-"
DAMAGED_SUFFIX = ".damaged"
_WRONG_PATH = "check that the path is right and that its folder exists"
_NOT_ALLOWED = "let this user read and write there, or name another folder"
# Remedies of errors that do not come from the disk itself.
_REMEDIES = {
    errno.ENOENT: _WRONG_PATH,
    errno.ENOTDIR: _WRONG_PATH,
    errno.EISDIR: _WRONG_PATH,
    errno.ELOOP: _WRONG_PATH,
    errno.EMEDIUMTYPE: "replace it by a plain file",  # of `plain_file`
    errno.EACCES: _NOT_ALLOWED,
    errno.EPERM: _NOT_ALLOWED,
    errno.EROFS: _NOT_ALLOWED,
}


def write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Writes `data` to `path`, replacing any existing file atomically.

    Args:
        path: target; its folder exists.
        data: the whole content.
        mode: permission bits of the file, whatever the umask.

    Raises:
        DiskError: the system refused; the old content stays and no half-written file
            is left.
    """
    try:
        with _open_temporary(path.parent, mode) as (temporary, descriptor):
            write_all(descriptor, data)
            os.fsync(descriptor)
            temporary.replace(path)
    except OSError as e:
        raise disk_error(path, f"to write {len(data)} bytes", e) from e
    fsync_folder(path.parent)


def check_writable(path: Path) -> None:
    """Checks that `write` can create or replace `path`, before work begins.

    A program calls it when it starts, so that hours of work are not lost because the
    folder of the result does not exist.

    Raises:
        DiskError: the folder is absent or not writable, or `path` is a folder.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with _open_temporary(path.parent, 0o600):
            pass
    except OSError as e:
        raise disk_error(path, "to be able to write it", e) from e


def fsync_folder(path: Path) -> None:
    """Makes the folder's entries (new names, renames, removals) survive a power cut.

    Raises:
        DiskError: the system refused.
    """
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as e:
        raise disk_error(path, "to sync the folder", e) from e


def remove_leftovers(folder: Path) -> None:
    """Removes temporary files of interrupted writes, but none that is being written.

    Raises:
        DiskError: the system refused.
    """
    try:
        for path in folder.glob(f"{LEFTOVER_PREFIX}*"):
            _remove_leftover(path)
    except OSError as e:
        raise disk_error(folder, "to remove leftovers", e) from e


def set_aside(path: Path) -> Path:
    """Renames a damaged file, whatever kind it is, so that nothing reads it again.

    Its bytes stay for inspection, and so do those of one that was set aside earlier.

    Returns:
        The new path: the old one with `.damaged` and, if that is taken, a number.

    Raises:
        DiskError: the system refused; nothing was renamed.
    """
    target = path.with_name(path.name + DAMAGED_SUFFIX)
    number = 1
    while os.path.lexists(target):
        number += 1
        target = path.with_name(f"{path.name}{DAMAGED_SUFFIX}-{number}")
    try:
        path.rename(target)
    except OSError as e:
        raise disk_error(path, "to set it aside under another name", e) from e
    fsync_folder(path.parent)
    return target


def write_all(descriptor: int, data: bytes) -> None:
    """Writes every byte to an open file, with as many system calls as needed."""
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])


def disk_error(path: Path, wanted: str, error: OSError) -> DiskError:
    """Returns the error that says what was refused, why, and what to do."""
    reason = error.strerror or type(error).__name__
    return DiskError(path, wanted, reason, _REMEDIES.get(error.errno or 0))


@contextlib.contextmanager
def _open_temporary(folder: Path, mode: int) -> Iterator[tuple[Path, int]]:
    """Yields a new locked file, which is removed unless the block renames it."""
    while True:
        path = folder / f"{LEFTOVER_PREFIX}{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(path, flags, mode)
        try:
            # Somebody may have taken it for a leftover before it was locked.
            if not (_try_lock(descriptor) and _is_at(path, descriptor)):
                continue
            os.fchmod(descriptor, mode)
            yield path, descriptor
            return
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            os.close(descriptor)


def _remove_leftover(path: Path) -> None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as e:
        if e.errno == errno.ELOOP:  # a link, which nobody can be writing
            path.unlink(missing_ok=True)
        return
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and _try_lock(descriptor):
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    """Takes a file's lock; True as well where the file system has no locks."""
    try:
        return file_lock.try_take(descriptor)
    except OSError:
        return True


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
