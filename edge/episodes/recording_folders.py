"""The two folders of a recording: made, locked, and what does not belong in them.

    output    redacted episodes, which may be shared
    private   raw episodes, mode 0700

A file that is damaged, foreign or too large is set aside under another name and told
of; it keeps no robot from driving.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from base import durable_file, file_lock
from base.errors import ContinuonError, DiskError, one_line, reason
from edge.errors import OutputFolderError
from rlds.errors import MalformedEpisodeError


@contextlib.contextmanager
def hold(output: Path, private: Path) -> Iterator[Callable[[], None]]:
    """Makes the folders and locks them, until the process ends at the latest.

    A start that is refused leaves no folder that it made: empty ones are removed again
    when an error ends the block before it has called what this yields.

    Raises:
        OutputFolderError: another recording writes there, or other users can read
            `private`.
        DiskError, OSError: the folders cannot be made.
    """
    made = {*_list_absent(private), *_list_absent(output)}
    try:
        _make_private(private)
        _make(output)
        with _lock(private), _lock(output):
            yield made.clear
    except BaseException:
        for folder in sorted(made, key=lambda path: len(path.parts), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _list_absent(folder: Path) -> list[Path]:
    """Lists the folder and those above it that do not exist yet."""
    return [path for path in (folder, *folder.parents) if not os.path.lexists(path)]


def set_aside(error: ContinuonError, tell: Callable[[str], None], *paths: Path) -> None:
    """Renames what is there of these files, tells why, and goes on where that fails."""
    done = []
    for path in paths:
        if os.path.lexists(path):
            try:
                done.append(one_line(durable_file.set_aside(path).name))
            except DiskError as e:
                done.append(f"nothing, {e.got}")
    tell(f"{reason(error)}; set aside as {', '.join(done)}")


def require_file(path: Path) -> None:
    """Refuses a folder, link, pipe or device, which a reader might wait for.

    Raises:
        MalformedEpisodeError: it is not a plain file.
        DiskError: there is nothing, or it cannot be looked at.
    """
    try:
        mode = path.lstat().st_mode
    except OSError as e:
        raise durable_file.disk_error(path, "to find the file", e) from e
    if not stat.S_ISREG(mode):
        raise MalformedEpisodeError(path, "a file", "a folder, link, pipe or device")


def _make(folder: Path, mode: int = 0o777) -> None:
    """Makes a folder if it is not there.

    Raises:
        OutputFolderError: a file is in its place, or in that of one above it.
        OSError: it cannot be made.
    """
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as e:
        raise OutputFolderError(
            folder,
            "a folder for episodes",
            "something else in its place",
            "move that away; the folder is made by itself",
        ) from e


def _make_private(folder: Path) -> None:
    """Makes a folder that only its owner can enter.

    Raises:
        OutputFolderError: the folder exists and other users can enter it, or a file is
            in its place.
        OSError: it cannot be made.
    """
    _make(folder, 0o700)
    mode = folder.stat().st_mode & 0o777
    if mode & 0o077:
        raise OutputFolderError(
            folder,
            "mode 0700 for raw episodes",
            f"{mode:04o}",
            "chmod 700 it or name another --private_dir",
        )


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Locks a folder against other recordings, until the process ends at the latest.

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
