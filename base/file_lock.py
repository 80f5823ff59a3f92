"""Locks between processes: one holder per file or folder, released when it dies.

The kernel holds the lock (`flock(2)`) for an open descriptor and releases it when the
last process that has the descriptor closes it or ends, so a crash leaves nothing to
clean up.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW  # a link could lead to anybody's file


def open_file(path: Path) -> int:
    """Opens a lock file, creating it if it does not exist.

    Whoever may write into the folder may take its lock: a new file is writable for
    them whatever the umask of its maker, and an old one that is not can be locked by
    who can read it.

    Raises:
        OSError: it cannot be opened.
    """
    try:
        made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o666)
    except FileExistsError:
        return _open_existing(path)
    folder_mode = path.parent.stat().st_mode
    mode = os.fstat(made).st_mode & 0o777 | 0o600
    for write, both in ((0o020, 0o060), (0o002, 0o006)):
        mode |= both if folder_mode & write else 0
    os.fchmod(made, mode)
    return made


def _open_existing(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | _FLAGS)
    except PermissionError:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | _FLAGS)


def open_folder(path: Path) -> int:
    """Opens a folder in order to lock the folder itself.

    Raises:
        OSError: it does not exist, is not a folder, or is not readable.
    """
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def take(descriptor: int) -> None:
    """Waits until no other process holds the lock, then takes it."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def try_take(descriptor: int) -> bool:
    """Takes the lock and returns True, or returns False if another process has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def hold(path: Path) -> Iterator[None]:
    """Waits for the lock of the file at `path` and holds it while the block runs.

    Raises:
        OSError: the file cannot be opened.
    """
    descriptor = open_file(path)
    try:
        take(descriptor)
        yield
    finally:
        os.close(descriptor)
