"""What runs below a process, and waiting for what it does, for tests.

A test waits for a condition, never for a time, and never without end: after `LONGEST_S`
it fails with what the programs have said.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LONGEST_S: Final = 60.0
"""Ten times what the slowest of these conditions takes on a busy machine of 2 cores."""
_LOOK_S: Final = 0.02


@dataclass(frozen=True)
class Running:
    """A process that runs.

    Attributes:
        pid: its id.
        parent: id of its parent.
        words: its command line.
    """

    pid: int
    parent: int
    words: tuple[str, ...]


def wait_until(
    done: Callable[[], object],
    said: Callable[[], object] = lambda: "",
    longest_s: float = LONGEST_S,
) -> None:
    """Waits until `done` says so.

    Args:
        done: looks; whatever it returns counts as true or false.
        said: what to fail with, such as the log of a program.
        longest_s: time after which the test fails.
    """
    end_s = time.monotonic() + longest_s
    while not done():
        assert time.monotonic() < end_s, said()
        time.sleep(_LOOK_S)


def is_alive(pid: int) -> bool:
    """Whether a process runs, and is not only waiting to be buried."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def list_children(parent: int) -> list[Running]:
    """The processes whose parent this one is, and that have not ended."""
    return [one for one in _list_all() if one.parent == parent]


def list_descendants(ancestor: int) -> list[Running]:
    """The processes below this one, that have not ended, from the top down."""
    every = _list_all()
    known = {ancestor}
    found: list[Running] = []
    while new := [x for x in every if x.parent in known and x.pid not in known]:
        found += new
        known |= {one.pid for one in new}
    return found


def find_child(parent: int, module: str) -> int | None:
    """Id of a child that runs a module; None if there is none."""
    for one in list_children(parent):
        if module in one.words:
            return one.pid
    return None


def kill_all(pids: Iterable[int]) -> None:
    """Kills processes that may have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _list_all() -> list[Running]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            stat = (path / "stat").read_text().rpartition(")")[2].split()
            words = (path / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if stat[0] != "Z":
            parts = tuple(words.rstrip("\0").split("\0"))
            found.append(Running(int(path.name), int(stat[1]), parts))
    return found
