"""Tells whether a read failed because of this machine or because of the content.

Orbax and the libraries below it raise different types for the same cause: an `OSError`
from Python's own files, a `ValueError` from TensorStore that begins with the name of a
status, a `JaxRuntimeError` from XLA that begins with one. An error that says that the
content is absent or broken counts as such. Every other system error counts as a failure
of the machine, because content that is wrongly taken for broken would be moved aside.

Source of the status names: the canonical error space, google.rpc.Code.
"""

import errno
import re
from collections.abc import Iterator

_FILES, _MEMORY, _RIGHTS, _DISK, _SYSTEM = (
    "let this process open more files (`ulimit -n`)",
    "free memory, or use a machine with more of it",
    "let this user read the folder and everything in it",
    "check the disk or the connection to it",
    "read the system's message",
)
"""The remedy of each kind of failure."""

_OF_CONTENT = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
_BY_ERRNO = {
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.ENOMEM: _MEMORY,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EIO: _DISK,
    errno.ESTALE: _DISK,
    errno.ETIMEDOUT: _DISK,
}
_BY_STATUS = {
    "RESOURCE_EXHAUSTED": _MEMORY,
    "PERMISSION_DENIED": _RIGHTS,
    "UNAUTHENTICATED": _RIGHTS,
    "UNAVAILABLE": _DISK,
    "DEADLINE_EXCEEDED": _DISK,
    "UNKNOWN": _DISK,  # TensorStore's status for EIO
    "INTERNAL": _SYSTEM,
    "ABORTED": _SYSTEM,
    "CANCELLED": _SYSTEM,
}
_STATUS = re.compile(r"([A-Z_]+): ")
_FILES_TEXT = "Too many open files"
_THREADS_TEXT = "can't start new thread"


def remedy(error: BaseException) -> str | None:
    """Returns the remedy of a failure of this machine, None for broken content."""
    for cause in _causes(error):
        found = _remedy_of_cause(cause)
        if found is not None:
            return found
    return None


def _remedy_of_cause(error: BaseException) -> str | None:
    text = str(error)
    if isinstance(error, MemoryError):
        return _MEMORY
    if isinstance(error, OSError) and error.errno is not None:
        if error.errno in _OF_CONTENT:
            return None
        return _BY_ERRNO.get(error.errno, _SYSTEM)
    if _THREADS_TEXT in text:
        return _SYSTEM
    status = _STATUS.match(text)
    if status is None or status[1] not in _BY_STATUS:
        return None
    return _FILES if _FILES_TEXT in text else _BY_STATUS[status[1]]


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields the error, its causes and contexts, and the members of groups."""
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        waiting += [e for e in (one.__cause__, one.__context__) if e is not None]
