"""Writes a file so that a power cut leaves the old content or the new, whole.

The order is the one ext4 and btrfs keep promises for: write beside, fsync the file,
rename over the target, fsync the folder.
"""

import contextlib
import os
import secrets
from pathlib import Path

from rlds.errors import DiskError

LEFTOVER_PREFIX = ".tmp-"


def write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Puts `data` at `path`, replacing what is there in one step.

    Args:
        path: target; its folder exists.
        data: the whole content.
        mode: permission bits of the file, whatever the umask.

    Raises:
        DiskError: the system refused; the old content stays and nothing half-written
            is left.
    """
    beside = path.parent / f"{LEFTOVER_PREFIX}{secrets.token_hex(8)}"
    try:
        _write_new(beside, data, mode)
        beside.replace(path)
    except OSError as e:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise disk_error(path, f"to write {len(data)} bytes", e) from e
    fsync_folder(path.parent)


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
    """Removes what interrupted writes left in `folder`; call it before writing there.

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
    """Writes every byte to an open file, however many calls that takes."""
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])


def disk_error(path: Path, wanted: str, error: OSError) -> DiskError:
    """Returns the typed error that says what the system refused, and why."""
    return DiskError(path, wanted, error.strerror or type(error).__name__)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        os.fchmod(descriptor, mode)
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
