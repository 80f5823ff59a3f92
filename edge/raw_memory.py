"""Keeps what a process holds of raw episodes out of core dumps, swap and other sight.

A unit of systemd does the same from outside (`LimitCORE=0`, `MemorySwapMax=0`, a user
of its own); this holds on a desk as well. Nothing here needs root, and what the system
refuses, it refuses without a word: the robot drives all the same.

| | Keeps away | Costs |
|---|---|---|
| `forbid_dumps` | a core dump, also one that a program of the system takes | none |
| `hide` | programs of the same user: memory, environment, files | its own `/proc` |
| `try_lock` | swap | what is locked cannot be given back |

A process that is hidden cannot be measured by its parent, nor change how soon it dies
when memory is short. So the learner, which is measured and dies first, only forbids
dumps (`edge/loops/meter.py`).
"""

import contextlib
import ctypes
import os
import resource
from pathlib import Path
from typing import Final

_PR_SET_DUMPABLE: Final = 4
_MCL_CURRENT: Final = 1
_MCL_FUTURE: Final = 2
_MCL_ONFAULT: Final = 4
_CAP_IPC_LOCK: Final = 14
_STATUS: Final = Path("/proc/self/status")
_DUMPED: Final = Path("/proc/self/coredump_filter")


def forbid_dumps() -> None:
    """Lets no core of this process and its children be written.

    The limit keeps the kernel from writing one. A program to which the kernel pipes
    cores (core(5)) is not bound by it; that gets a core without any memory in it.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        _DUMPED.write_text("0")


def hide() -> None:
    """Forbids dumps, and keeps other processes from looking into this one.

    Whoever has the same user can then read neither memory nor environment of it, and
    cannot trace it; root can. A program that this one starts is not hidden: it calls
    this itself.
    """
    forbid_dumps()
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def try_lock() -> str:
    """Keeps this process in memory from now on, page by page as it is touched.

    So a process that maps much and uses little stays small.

    Returns:
        Why not, if the system refuses; "" if nothing is swapped any more.
    """
    limit, highest = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if highest == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (highest, highest))
    elif not _may_lock_all():
        # With a limit, it could be granted now and end this process when it grows.
        return f"a limit of {limit // 1024} KiB"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        return os.strerror(ctypes.get_errno())
    return ""


def _may_lock_all() -> bool:
    """Whether this process has CAP_IPC_LOCK, for which no limit counts."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_IPC_LOCK & 1)
    return False
