"""Whether reading failed because of this machine, and not because of what was read.

Orbax and what lies below it raise many types for one cause: an `OSError` from Python's
own files, a `ValueError` that begins with the name of a status from TensorStore, a
`JaxRuntimeError` that begins with one from XLA. What says that content is absent or
broken is counted as such; every other refusal of the system is the machine's, because
content that is wrongly thought to be broken would be put aside.

Source of the names: the canonical error space, google.rpc.Code.
"""

import errno
import re
from collections.abc import Iterator

_FILES, _MEMORY, _RIGHTS, _DISK, _SYSTEM = (
    "let this process open more files (`ulimit -n`)",
    "free memory, or use a machine with more of it",
    "let this user read the folder and all that is in it",
    "check the disk or the connection to it",
    "see what the system says",
)
"""What to do about each kind of failure."""

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
    "UNKNOWN": _DISK,  # as TensorStore has EIO
    "INTERNAL": _SYSTEM,
    "ABORTED": _SYSTEM,
    "CANCELLED": _SYSTEM,
}
_STATUS = re.compile(r"([A-Z_]+): ")
_FILES_TEXT = "Too many open files"
_THREADS_TEXT = "can't start new thread"


def remedy(error: BaseException) -> str | None:
    """What to do about a failure of this machine; None where the content is broken."""
    for cause in _causes(error):
        found = _of_one(cause)
        if found is not None:
            return found
    return None


def _of_one(error: BaseException) -> str | None:
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
    """The error, those it was raised from or while handling, and those it groups."""
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
