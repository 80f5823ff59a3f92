"""Measures what a loop uses while it runs, and charges the ledger for it.

with Meter(ledger, "slow", budgets, lambda: read_usage([child.pid])) as meter:
    while …:
        decision = decide(replace(situation, spent=meter.spent()), budgets)
"""

import contextlib
import dataclasses
import os
import re
import resource
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from base import plain_file
from base.errors import ContinuonError
from edge.loops.budgets import SLOW, Budgets, Spent, Usage
from edge.loops.ledger import Ledger

ADVANCE_SHARE: Final = 0.01
"""Share of each budget that is noted as used before it is: what a crash costs at most,
and with it the number of writes, at most 200 for each budget and day."""
_SHORTEST_ADVANCE_S: Final = 2.0
"""However small a budget is, its advance lasts until the loop is looked at again."""
_LIMIT_BYTES: Final = 4096
_BLOCK_BYTES: Final = 512  # the unit of `ru_oublock`, getrusage(2)


def read_usage(pids: Iterable[int] = (), root: Path = Path("/")) -> Usage:
    """What this process, its children that ended, and these that run have used so far.

    Two readings are subtracted; alone they mean nothing.

    Args:
        pids: children that run, or that nobody has waited for yet.
        root: folder that stands for `/`.
    """
    total = Usage(wall_s=time.monotonic())
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        found = resource.getrusage(who)
        total += Usage(
            processor_s=found.ru_utime + found.ru_stime,
            disk_bytes=float(found.ru_oublock * _BLOCK_BYTES),
        )
    for pid in pids:
        total += _read_process(root / "proc" / str(pid))
    return total


def read_resident_bytes(pids: Iterable[int], root: Path = Path("/")) -> int:
    """Resident memory of these processes now; 0 for one that is gone.

    It counts pages of files too, as the figures of `docs/benchmarks.md` do.
    """
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, ContinuonError):
            path = root / "proc" / str(pid) / "status"
            status = plain_file.read(path, _LIMIT_BYTES).decode("ascii", "replace")
            found = re.search(r"^VmRSS:\s+([0-9]{1,15}) kB$", status, re.MULTILINE)
            total += int(found[1]) * 1024 if found else 0
    return total


def _read_process(folder: Path) -> Usage:
    """What a process and its children that ended have used; nothing if it is gone."""
    try:
        stat = plain_file.read(folder / "stat", _LIMIT_BYTES).decode("ascii", "replace")
        io = plain_file.read(folder / "io", _LIMIT_BYTES).decode("ascii", "replace")
    except (OSError, ContinuonError):
        return Usage()
    # The name of the program stands in brackets and may hold anything.
    ticks = [x for x in stat.rpartition(")")[2].split()[11:15] if x.isdigit()]
    wrote = re.search(r"^write_bytes: ([0-9]{1,18})$", io, re.MULTILINE)
    return Usage(
        processor_s=sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"),
        disk_bytes=float(wrote[1]) if wrote else 0.0,
    )


class Meter:
    """Charges a ledger for one run of a loop, as a context manager."""

    def __init__(
        self,
        ledger: Ledger,
        loop: str,
        budgets: Budgets,
        read: Callable[[], Usage] = read_usage,
        cores: float = 4.0,
    ) -> None:
        """Makes a meter; nothing is charged before the block begins.

        Args:
            ledger: is charged.
            loop: the loop that runs.
            budgets: of which the advance is a hundredth.
            read: what has been used so far; only differences count.
            cores: how many the loop may keep busy.
        """
        self._ledger, self._loop, self._read = ledger, loop, read
        least = _SHORTEST_ADVANCE_S
        night_s = ADVANCE_SHARE * budgets.wall_s_per_night
        self._advance = Usage(
            max(least, night_s) if loop == SLOW else 0.0,
            max(least * cores, ADVANCE_SHARE * budgets.processor_s_per_day),
            ADVANCE_SHARE * budgets.disk_bytes_per_day,
        )
        self._newest = Usage()
        self._begun = self._charged = self._newest

    def __enter__(self) -> Self:
        """Notes the advance, before the loop uses anything.

        Raises:
            DiskError: the disk refused, so no loop may begin.
        """
        self._newest = self._begun = self._charged = self._read()
        self._ledger.charge(Usage(), self._loop, self._advance)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._charge(Usage())

    def spent(self) -> Spent:
        """What was used since noon, this loop until now included.

        Call it at least every second: what is used beyond the advance until the next
        call would not be counted if the process died just then.

        Raises:
            DiskError: the disk refused, so the loop is to stop.
        """
        used = self._look() - self._charged
        halves = zip(
            dataclasses.astuple(used), dataclasses.astuple(self._advance), strict=True
        )
        if any(mine >= all_of_it / 2 for mine, all_of_it in halves if all_of_it):
            self._charge(self._advance)
            return self._ledger.spent()
        return self._ledger.spent().add(used, self._loop)

    def total(self) -> Usage:
        """What this run has used."""
        return self._look() - self._begun

    def _look(self) -> Usage:
        # A child that just ended is in neither list for an instant.
        pairs = zip(
            dataclasses.astuple(self._read()),
            dataclasses.astuple(self._newest),
            strict=True,
        )
        self._newest = Usage(*map(max, pairs))
        return self._newest

    def _charge(self, advance: Usage) -> None:
        used = self._look() - self._charged
        self._charged = self._newest
        self._ledger.charge(used, self._loop, advance)
