"""What the kernel counts of a process and of this machine, read from `/proc`."""

import os
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_FIRST_FIELD: Final = 3  # number of the field that follows the name; proc(5)
_UTIME: Final = 14
_CSTIME: Final = 17
_STEAL: Final = 8  # of the line `cpu`; proc(5)


def resident_kb(process: int | str) -> int:
    """Resident memory of a process now, in KB; `self` for this one.

    Raises:
        OSError: it has ended.
    """
    for line in (_PROC / str(process) / "status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ProcessLookupError(process)  # dead, and nobody has asked for its end yet


def count_files(process: int | str) -> int:
    """Number of files that a process has open."""
    return len(list((_PROC / str(process) / "fd").iterdir()))


def read_sizes(process: int | str) -> tuple[int, int]:
    """Resident memory in KB and number of open files."""
    return resident_kb(process), count_files(process)


def processor_s(process: int) -> float:
    """Processor time of a process and of all that it started, in seconds.

    0 for a process that has just ended: whoever started it counts it.
    """
    try:
        return _own_processor_s(process) + sum(map(processor_s, _children(process)))
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def _own_processor_s(process: int) -> float:
    """That of a process and of its children that have ended."""
    stat = (_PROC / str(process) / "stat").read_text()
    fields = stat.rpartition(")")[2].split()
    counted = fields[_UTIME - _FIRST_FIELD : _CSTIME - _FIRST_FIELD + 1]
    return sum(map(int, counted)) / _TICKS_PER_S


def _children(process: int) -> list[int]:
    tasks = (_PROC / str(process) / "task").iterdir()
    return [
        int(one) for task in tasks for one in (task / "children").read_text().split()
    ]


def stolen_s() -> float:
    """Time that the host of this virtual machine took from it, of all processors."""
    fields = (_PROC / "stat").read_text().split(maxsplit=_STEAL + 1)
    return int(fields[_STEAL]) / _TICKS_PER_S
