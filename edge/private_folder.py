"""Folders that belong to one recording at a time."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from base import file_lock
from edge.errors import OutputFolderError


def make_private(folder: Path) -> None:
    """Makes a folder that its owner alone can enter.

    Raises:
        OutputFolderError: the folder exists and others can enter it.
        OSError: it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = folder.stat().st_mode & 0o777
    if mode & 0o077:
        raise OutputFolderError(
            folder,
            "mode 0700 for raw episodes",
            f"{mode:04o}",
            "chmod 700 it or name another --private_dir",
        )


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a folder against other recordings; ends with the process at the latest.

    Raises:
        OutputFolderError: another process holds it.
        OSError: the folder cannot be opened.
    """
    descriptor = file_lock.open_folder(folder)
    try:
        if not file_lock.try_take(descriptor):
            raise OutputFolderError(
                folder,
                "to be the only recording here",
                "another process that is writing",
                "wait for it or name another folder",
            )
        yield
    finally:
        os.close(descriptor)
