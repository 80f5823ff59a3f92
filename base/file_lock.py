"""Locks between processes: one holder per file or folder, freed when it dies.

The kernel holds the lock (`flock(2)`) for an open descriptor and frees it when the
last process that has it closes it or ends, so that a crash leaves nothing to clean up.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def open_file(path: Path) -> int:
    """Opens the file that stands for a lock; makes it if it is absent.

    Raises:
        OSError: it cannot be opened.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def open_folder(path: Path) -> int:
    """Opens a folder that is its own lock.

    Raises:
        OSError: it is not there, not a folder, or not readable.
    """
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def take(descriptor: int) -> None:
    """Waits until no other process holds the lock, then holds it."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def try_take(descriptor: int) -> bool:
    """Holds the lock and returns True, or returns False if another process has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def hold(path: Path) -> Iterator[None]:
    """Holds the lock of the file at `path`, waiting for it, while the block runs.

    Raises:
        OSError: the file cannot be opened.
    """
    descriptor = open_file(path)
    try:
        take(descriptor)
        yield
    finally:
        os.close(descriptor)
