"""Opens a file that somebody else may have put there: a plain one, or an error at once.

A name in a shared folder or in a flag can lead to anything. A named pipe blocks the
program that opens it until somebody writes into it, a device has no end, and a link can
lead to itself. Whatever is not a plain file is an OSError here, before a byte is read.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from base.errors import OversizedError

# O_NONBLOCK: a pipe is opened without waiting for its writer, and then refused.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def name_kind(mode: int) -> str:
    """Says what a file is by its mode (`stat.st_mode`), such as "a folder"."""
    return _KINDS.get(stat.S_IFMT(mode), "a special file")


def open_descriptor(path: Path, follow_links: bool = True) -> int:
    """Opens a plain file for reading; the caller closes the descriptor.

    Args:
        path: any path.
        follow_links: whether a symbolic link to a plain file is as good as the file.

    Raises:
        OSError: the file cannot be opened, or is no plain file.
    """
    descriptor = os.open(path, _FLAGS | (0 if follow_links else os.O_NOFOLLOW))
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    named = f"{name_kind(mode)}, not a plain file"
    raise OSError(errno.EMEDIUMTYPE, named, str(path))


def open_stream(path: Path, follow_links: bool = True) -> BinaryIO:
    """Opens a plain file as a stream; arguments and errors as `open_descriptor`."""
    return os.fdopen(open_descriptor(path, follow_links), "rb")


def read(path: Path, limit_bytes: int, follow_links: bool = True) -> bytes:
    """Returns the content of a plain file.

    Raises:
        OversizedError: there are more than `limit_bytes`; reading stopped there.
        OSError: as `open_descriptor`, or reading failed; it names the file.
    """
    with open_stream(path, follow_links) as stream:
        try:
            raw = stream.read(limit_bytes + 1)
        except OSError as e:
            e.filename = str(path)  # the system names no file for an open one
            raise
    if len(raw) > limit_bytes:
        raise OversizedError(path, f"at most {limit_bytes} bytes", "more")
    return raw
