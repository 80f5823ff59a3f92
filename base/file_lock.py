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


def open_file(path: Path) -> int:
    """Opens a lock file, creating it if it does not exist.

    Raises:
        OSError: it cannot be opened.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


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
