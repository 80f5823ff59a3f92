"""Names that lead to no plain file, or to one that cannot be read.

And a limit on the time that a reader of them may take.
"""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

KINDS = (
    *("pipe", "link to a pipe", "link loop", "folder", "socket", "device"),
    "file of a failing disk",
)
FAILING = "/proc/self/mem"
"""A plain file whose first read Linux answers with EIO, as a failing disk does."""
_AT_ONCE_S = 5  # a reader that hangs does so for ever


def make(path: Path, kind: str) -> None:
    """Makes a name of one of `KINDS`."""
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "link to a pipe":
            os.mkfifo(path.with_name(f".{path.name}-pipe"))
            path.symlink_to(f".{path.name}-pipe")
        case "link loop":
            path.symlink_to(path.name)
        case "folder":
            path.mkdir()
        case "socket":
            with socket.socket(socket.AF_UNIX) as bound:
                # The address of a socket is short, so it is relative to the folder.
                before = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
                os.chdir(path.parent)
                try:
                    bound.bind(path.name)
                finally:
                    os.fchdir(before)
                    os.close(before)
        case "file of a failing disk":
            path.symlink_to(FAILING)
        case "device":
            path.symlink_to("/dev/zero")
        case _:
            raise ValueError(f"expected one of {KINDS}, got {kind!r}")


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Fails a block that does not end within some seconds, even one that hangs."""

    def fail(*_: object) -> None:
        raise AssertionError(f"still running after {_AT_ONCE_S} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(_AT_ONCE_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
