"""Writes a file so that a power cut leaves the old content or the new, whole.

ext4 and btrfs guarantee this for one order: write a temporary file in the same folder,
fsync it, rename it over the target, fsync the folder.
"""

import contextlib
import errno
import os
import secrets
from pathlib import Path

from base.errors import DiskError

LEFTOVER_PREFIX = ".tmp-"
_WRONG_PATH = "check that the path is right and that its folder exists"
_NOT_ALLOWED = "let this user read and write there, or name another folder"
# Remedies of errors that do not come from the disk itself.
_REMEDIES = {
    errno.ENOENT: _WRONG_PATH,
    errno.ENOTDIR: _WRONG_PATH,
    errno.EISDIR: _WRONG_PATH,
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
    temporary = _temporary_path(path)
    try:
        _write_new(temporary, data, mode)
        temporary.replace(path)
    except OSError as e:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
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
        _write_new(temporary := _temporary_path(path), b"", 0o600)
        temporary.unlink()
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
    """Removes temporary files of interrupted writes; call it before writing there.

    Raises:
        DiskError: the system refused.
    """
    try:
        for path in folder.glob(f"{LEFTOVER_PREFIX}*"):
            if path.is_file():
                path.unlink(missing_ok=True)
    except OSError as e:
        raise disk_error(folder, "to remove leftovers", e) from e


def write_all(descriptor: int, data: bytes) -> None:
    """Writes every byte to an open file, with as many system calls as needed."""
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])


def disk_error(path: Path, wanted: str, error: OSError) -> DiskError:
    """Returns the error that says what was refused, why, and what to do."""
    reason = error.strerror or type(error).__name__
    return DiskError(path, wanted, reason, _REMEDIES.get(error.errno or 0))


def _temporary_path(path: Path) -> Path:
    return path.parent / f"{LEFTOVER_PREFIX}{secrets.token_hex(8)}"


def _write_new(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        os.fchmod(descriptor, mode)
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
