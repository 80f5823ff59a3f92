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
# Modes of new files, less the umask: whoever shares a folder decides with the umask
# who may read and write there. Keys and whatever is not redacted are PRIVATE.
SHARED = 0o666
PRIVATE = 0o600
READABLE = 0o644
"""Of what one program writes and others read, whatever group they share."""
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)
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


def write(
    path: Path, data: bytes, mode: int = SHARED, group: int | None = None
) -> None:
    """Writes `data` to `path`, replacing any existing file atomically.

    Args:
        path: target; its folder exists.
        data: the whole content.
        mode: permission bits of the file, less the umask.
        group: id of the group of the file, where this user may choose it; None for the
            one that the folder gives.

    Raises:
        DiskError: the system refused; the old content stays and no half-written file
            is left.
    """
    try:
        with _open_temporary(path.parent, mode) as (temporary, descriptor):
            write_all(descriptor, data)
            if group is not None:
                give_group(descriptor, group)
            os.fsync(descriptor)
            temporary.replace(path)
    except OSError as e:
        raise disk_error(path, f"to write {len(data)} bytes", e) from e
    fsync_folder(path.parent)


def write_record(
    path: Path, data: bytes, mode: int = SHARED, group: int | None = None
) -> None:
    """Writes a record of the robot's own as `write` does, whatever is in its place.

    Whoever reads such a record takes a damaged one for none, and a folder of its name
    is damage as well. A rename replaces everything but a folder, which is set aside: no
    record stays unwritten for ever.

    Raises:
        DiskError: as `write`, or the folder cannot be set aside.
    """
    if path.is_dir() and not path.is_symlink():
        set_aside(path)
    write(path, data, mode, group)


def give_group(descriptor: int, group: int) -> None:
    """Gives an open file to a group; one that this user is not in stays without it."""
    if os.fstat(descriptor).st_gid != group:
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, -1, group)


def create(path: Path, data: bytes, mode: int = SHARED) -> None:
    """Writes a new file, which appears whole under its name or not at all.

    Of several programs that create it at once, one succeeds. Where the file system has
    no hard links, the others may see the file before it is whole.

    Raises:
        FileExistsError: there is something at `path`; it stays unchanged.
        DiskError: the system refused; nothing is left.
    """
    try:
        with _open_temporary(path.parent, mode) as (temporary, descriptor):
            write_all(descriptor, data)
            os.fsync(descriptor)
            try:
                os.link(temporary, path)
            except OSError as e:
                if e.errno not in _NO_LINKS:
                    raise
                _write_in_place(path, data, mode)
    except FileExistsError:
        raise
    except OSError as e:
        raise disk_error(path, f"to create it with {len(data)} bytes", e) from e
    fsync_folder(path.parent)


def make_folder(parent: Path, prefix: str) -> Path:
    """Makes a folder of a new name, open to others as far as the umask lets it.

    It is for what is renamed to its final name once it is whole; `tempfile` makes
    folders that only their owner may enter.

    Raises:
        OSError: the system refused.
    """
    while True:
        path = parent / f"{prefix}{secrets.token_hex(8)}"
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path


def set_aside_non_folder(path: Path) -> Path | None:
    """Sets aside what stands in the place of a folder that a program makes itself.

    A folder stays, and so does a link: what it leads to may be a disk that is not there
    yet.

    Returns:
        Where it is now; None if there was nothing to set aside.

    Raises:
        DiskError: the system refused.
    """
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as e:
        raise disk_error(path, "to look what stands there", e) from e
    if stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
        return None
    return set_aside(path)


def make_own_folder(path: Path, mode: int = 0o777) -> Path | None:
    """Makes a folder of the robot's own, whatever is in its place.

    Returns:
        Where that is now, as `set_aside_non_folder`; None if nothing was there.

    Raises:
        DiskError: the system refused.
    """
    aside = set_aside_non_folder(path)
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as e:
        raise disk_error(path, "to make the folder", e) from e
    return aside


def make_file(folder: Path, prefix: str, mode: int = SHARED) -> tuple[Path, int]:
    """Makes a file of a new name and opens it for writing.

    Raises:
        OSError: the system refused.
    """
    while True:
        path = folder / f"{prefix}{secrets.token_hex(8)}"
        with contextlib.suppress(FileExistsError):
            return path, _open_new(path, mode)


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
        with _open_temporary(path.parent, PRIVATE):
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


def set_aside(path: Path, *, sync: bool = True) -> Path:
    """Renames a damaged file, whatever kind it is, so that nothing reads it again.

    Its bytes stay for inspection, and so do those of one that was set aside earlier.

    Args:
        path: what is damaged.
        sync: whether the new name survives a power cut; False for many files, whose
            folder the caller syncs.

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
    if sync:
        fsync_folder(path.parent)
    return target


def make_way(path: Path, *, keeps_file: bool = True) -> Path | None:
    """Takes away what stands in the place of something that a program makes itself.

    What holds nothing is removed: an empty folder, a link, a pipe, a socket, a device.
    A folder that holds something is set aside.

    Args:
        path: where something is to be made that need not last, such as a lock.
        keeps_file: whether a plain file is what is to be there.

    Returns:
        Where a folder is now that was set aside; None if none was.

    Raises:
        DiskError: the system refused; it stays where it is.
    """
    try:
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) and keeps_file:
            return None
        if not stat.S_ISDIR(mode):
            path.unlink(missing_ok=True)
            return None
        path.rmdir()
    except FileNotFoundError:
        return None
    except OSError as e:
        if e.errno == errno.ENOTEMPTY:
            return set_aside(path, sync=False)
        raise disk_error(path, "to take away what stands there", e) from e
    return None


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
        path, descriptor = make_file(folder, LEFTOVER_PREFIX, mode)
        try:
            # Somebody may have taken it for a leftover before it was locked.
            if not (_try_lock(descriptor) and _is_at(path, descriptor)):
                continue
            yield path, descriptor
            return
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            os.close(descriptor)


def _open_new(path: Path, mode: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return os.open(path, flags, mode)


def _write_in_place(path: Path, data: bytes, mode: int) -> None:
    descriptor = _open_new(path, mode)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    except BaseException:
        path.unlink()
        raise
    finally:
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
