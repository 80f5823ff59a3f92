"""What control asks of the system so that its steps come on time.

Each thing is asked for by itself and may be refused: a desk grants some of them, and
the robot is driven all the same. Whoever runs the program is told in one line what was
refused, what that costs and what to do. Nothing here needs root: a unit of systemd
grants it (`LimitRTPRIO=`, `LimitMEMLOCK=`).

| In an episode | Keeps away | Granted by |
|---|---|---|
| `SCHED_FIFO` | every ordinary program in a step | `RLIMIT_RTPRIO`, CAP_SYS_NICE |
| one processor | moves between processors | everybody; see `Grants.processor` |
| no garbage collection | pauses at moments that nobody chose | this process |

| In the whole process | Keeps away | Granted by |
|---|---|---|
| locked memory | waiting for a disk in a step | `RLIMIT_MEMLOCK`, CAP_IPC_LOCK |
| timer slack of 1 ns | 50 us that Linux adds to a sleep to save power | everybody |

Between two episodes the process is an ordinary one, since it then redacts, signs and
syncs what it recorded, and nobody waits for that.
"""

import contextlib
import ctypes
import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from edge import raw_memory

PRIORITY: Final = 40
"""Below the kernel's own threads at 50, which carry what a robot sends and receives."""
GARBAGE_BOUND: Final = 50_000
"""Containers that may pile up in an episode before they are collected all the same:
some 10 MB. A step leaves none behind, unless a driver or a policy does."""
_PR_SET_TIMERSLACK: Final = 29


@dataclass(frozen=True)
class Grants:
    """What the system granted.

    Attributes:
        priority: priority in an episode among real-time programs, 1 to 99; None for
            that of an ordinary program.
        processor: the only processor used in an episode; None for any. It goes with a
            priority: pinned without one, a step waits for whoever else is there.
        memory_locked: whether no page of this process waits for a disk.
        refusals: a line for the operator about each thing that was refused.
    """

    priority: int | None = None
    processor: int | None = None
    memory_locked: bool = False
    refusals: tuple[str, ...] = ()

    def describe(self) -> str:
        """Says in one line what was granted."""
        priority, processor = self.priority, self.processor
        return ", ".join(
            (
                "ordinary priority"
                if priority is None
                else f"real-time priority {priority}",
                "any processor" if processor is None else f"processor {processor}",
                "memory locked" if self.memory_locked else "memory not locked",
            )
        )


def prepare() -> Grants:
    """Asks for all of it; call it once, when everything is loaded.

    Memory stays locked from now on, page by page as it is touched (`MCL_ONFAULT`), so
    that a process which maps much and uses little stays small. The objects that exist
    now are never looked through again in search of garbage.
    """
    refusals: list[str] = []
    priority = PRIORITY if _is_priority_granted(refusals) else None
    locked = _lock_memory(refusals)
    _sleep_exactly()
    gc.collect()
    gc.freeze()
    return Grants(
        priority=priority,
        processor=None if priority is None else _choose_processor(),
        memory_locked=locked,
        refusals=tuple(refusals),
    )


@contextlib.contextmanager
def episode(grants: Grants) -> Iterator[None]:
    """Uses what was granted inside the block, for this thread.

    Garbage is collected at its end; `collect_if_much` bounds what piles up until then.
    """
    collects = gc.isenabled()
    before: set[int] = set()
    gc.disable()
    if grants.priority is not None:
        _set_priority(grants.priority)
    if grants.processor is not None:
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {grants.processor})
    try:
        yield
    finally:
        if before:
            os.sched_setaffinity(0, before)
        if grants.priority is not None:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        if collects:
            gc.enable()
        gc.collect()


def collect_if_much() -> None:
    """Collects garbage if more than `GARBAGE_BOUND` has piled up; for a pause."""
    if gc.get_count()[0] > GARBAGE_BOUND:
        gc.collect()


def rise_above_control() -> None:
    """Gives a watchdog a higher priority than control, if the system grants any."""
    with contextlib.suppress(OSError):
        _set_priority(PRIORITY + 1)
    _sleep_exactly()


def _set_priority(priority: int) -> None:
    """Sets the priority of this thread; its children do not get it."""
    os.sched_setscheduler(
        0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority)
    )


def _is_priority_granted(refusals: list[str]) -> bool:
    try:
        _set_priority(PRIORITY)
    except OSError as e:
        refusals.append(
            f"real-time priority {PRIORITY} was refused ({e.strerror}): other programs"
            " may delay a step; set LimitRTPRIO=50 in the unit, or ulimit -r 50"
        )
        return False
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return True


def _choose_processor() -> int | None:
    """The last processor: interrupts and most programs begin at the first."""
    allowed = os.sched_getaffinity(0)
    return max(allowed) if len(allowed) > 1 else None


def _lock_memory(refusals: list[str]) -> bool:
    text = (
        "locked memory was refused ({}): a step may wait for a disk; set"
        " LimitMEMLOCK=infinity in the unit, or ulimit -l unlimited"
    )
    if refused := raw_memory.try_lock():
        refusals.append(text.format(refused))
    return not refused


def _sleep_exactly() -> None:
    """Asks for sleeps that end on time; with a real-time priority they do anyway."""
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
