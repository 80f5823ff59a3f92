"""What the machine says of its heat, power, memory and load.

Everything comes from files of the kernel, and from `vcgencmd` where there is one. A
file that is not there means that this machine has no such sensor: the reading is None.
One that is there and cannot be read, or holds something else than it should, is None
too, and a note says so. Nothing here raises, waits or reads without end.

Sources: Linux kernel documentation, `ABI/testing/sysfs-class-thermal` and
`sysfs-class-power`, `admin-guide/cgroup-v2`, `proc(5)`; Raspberry Pi documentation,
`vcgencmd get_throttled`.
"""

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from base import plain_file
from base.errors import OversizedError, one_line

READ_AGAIN_S: Final = 2.0
"""Age at which readings are old. A program is started for one of them, and a Raspberry
Pi warms up by less than half a degree in this time."""
_LIMIT_BYTES: Final = 16384
_MOST_ENTRIES: Final = 64
_MOST_NOTES: Final = 8
_ANSWER_BYTES: Final = 64
_ANSWER_S: Final = 0.5
"""Longest time that `vcgencmd` may take; it answers within 10 ms."""
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}")
_THROTTLED: Final = re.compile(r"throttled=0x([0-9a-fA-F]{1,8})")
_WHY_THROTTLED: Final = (
    "under-voltage",
    "processor frequency capped",
    "processor throttled",
    "soft temperature limit",
)
"""Bits 0 to 3: what is so now. Bits 16 to 19 say that it was so since the start."""
_COLDEST_C, _HOTTEST_C = -60.0, 150.0
_PERIPHERAL: Final = "Device"
"""Scope of a battery that feeds something else, such as a gamepad."""
_FEEDS: Final = ("Mains", "USB", "Wireless")
_FED: Final = ("Charging", "Full", "Not charging")


@dataclass(frozen=True)
class MachineReadings:
    """What the machine says; None where it does not say.

    Attributes:
        temperature_c: of its hottest zone, in degrees Celsius.
        throttled: why the firmware slows the processor down now; empty if it does not.
        battery_percent: charge of its batteries together, in percent.
        on_mains: whether a charger or the mains feeds it.
        memory_available_bytes: what a new program can have before others are pushed
            out or a limit of this process is reached.
        memory_limit_bytes: the most that this process and its children can ever have.
        processors: cores that this process may use, 0.5 for half the time of one.
        load: programs that ran or waited to run over the last minute, per core.
        notes: what could not be read although it is there, and why.
    """

    temperature_c: float | None = None
    throttled: tuple[str, ...] | None = None
    battery_percent: float | None = None
    on_mains: bool | None = None
    memory_available_bytes: int | None = None
    memory_limit_bytes: int | None = None
    processors: float | None = None
    load: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def on_charger(self) -> bool:
        """Whether it has a battery and something feeds it."""
        return self.battery_percent is not None and self.on_mains is True


def read_machine(root: Path = Path("/")) -> MachineReadings:
    """Reads all there is to read; never raises.

    Args:
        root: folder that stands for `/`; tests fill one of their own.
    """
    files = _Files(root)
    percent, on_mains = _read_power(files)
    total, available = _read_memory(files)
    cores = _count_cores(files)
    running = files.text("proc/loadavg")
    load = None if running is None else _load(files, running, cores)
    limits = list(_limit_groups(files))
    for folder in limits:
        most, free = _read_memory_limit(files, folder)
        total, available = _least(total, most), _least(available, free)
    quotas = [_read_processor_limit(files, folder) for folder in limits]
    processors: float | None = cores
    for quota in quotas:
        processors = _least(processors, quota)
    return MachineReadings(
        temperature_c=_read_heat(files),
        throttled=_read_throttled(files),
        battery_percent=percent,
        on_mains=on_mains,
        memory_available_bytes=None if available is None else max(0, int(available)),
        memory_limit_bytes=None if total is None else int(total),
        processors=processors,
        load=load,
        notes=tuple(files.notes),
    )


def is_on_charger(root: Path = Path("/")) -> bool:
    """Tells whether the machine has a battery and something feeds it; never raises.

    It reads a few files and starts no program, unlike `read_machine`.
    """
    percent, on_mains = _read_power(_Files(root))
    return MachineReadings(battery_percent=percent, on_mains=on_mains).on_charger


class _Files:
    """Files below a root, read without raising; notes say what was wrong."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.notes: list[str] = []

    def note(self, path: str, expected: str, got: object) -> None:
        """Notes what is wrong with a file."""
        if len(self.notes) < _MOST_NOTES:
            self.notes.append(f"/{path}: expected {expected}, got {one_line(got)}")

    def names(self, path: str, prefix: str = "") -> list[str]:
        """Names in a folder, sorted; none if there is no such folder."""
        try:
            with os.scandir(self.root / path) as entries:
                found = []
                for entry in entries:
                    if entry.name.startswith(prefix):
                        found.append(entry.name)
                    if len(found) == _MOST_ENTRIES:
                        break
        except FileNotFoundError:
            return []
        except OSError as e:
            self.note(path, "a folder", e.strerror)
            return []
        return sorted(found)

    def text(self, path: str) -> str | None:
        """Content of a file; None if there is none, or it cannot be read."""
        try:
            raw = plain_file.read(self.root / path, _LIMIT_BYTES)
        except FileNotFoundError:
            return None
        except OversizedError:
            self.note(path, f"at most {_LIMIT_BYTES} bytes", "more")
            return None
        except OSError as e:
            self.note(path, "a readable file", e.strerror)
            return None
        return raw.decode("utf-8", "replace").strip()

    def number(self, path: str, lowest: float, highest: float) -> int | None:
        """The integer that a file holds; None if there is none in these limits."""
        text = self.text(path)
        if text is None:
            return None
        number = int(text) if _NUMBER.fullmatch(text) else None
        if number is None or not lowest <= number <= highest:
            self.note(path, f"an integer from {lowest:g} to {highest:g}", text)
            return None
        return number


def _read_heat(files: _Files) -> float | None:
    found = [
        files.number(
            f"sys/class/thermal/{zone}/temp", 1000 * _COLDEST_C, 1000 * _HOTTEST_C
        )
        for zone in files.names("sys/class/thermal", "thermal_zone")
    ]
    return max((x / 1000 for x in found if x is not None), default=None)


def _read_power(files: _Files) -> tuple[float | None, bool | None]:
    """Charge of the emptiest battery, and whether something feeds the machine."""
    charges: list[float] = []
    feeds: list[bool] = []
    states: list[str] = []
    for name in files.names("sys/class/power_supply"):
        folder = f"sys/class/power_supply/{name}"
        if files.text(f"{folder}/scope") == _PERIPHERAL:
            continue
        kind = files.text(f"{folder}/type")
        if kind == "Battery":
            charge = files.number(f"{folder}/capacity", 0, 100)
            charges += [] if charge is None else [float(charge)]
            states.append(files.text(f"{folder}/status") or "")
        elif kind in _FEEDS:
            online = files.number(f"{folder}/online", 0, 2)
            feeds += [] if online is None else [online > 0]
    on_mains: bool | None = None
    if "Discharging" in states:
        on_mains = False  # whatever is plugged in does not suffice
    elif feeds:
        on_mains = any(feeds)
    elif any(state in _FED for state in states):
        on_mains = True
    return min(charges, default=None), on_mains


def _read_memory(files: _Files) -> tuple[float | None, float | None]:
    """Bytes of the machine, and what a new program can have of them."""
    text = files.text("proc/meminfo")
    if text is None:
        return None, None
    fields = {
        name: int(number[1]) * 1024
        for name, _, rest in (line.partition(":") for line in text.splitlines())
        if (number := re.fullmatch(r" *([0-9]{1,15}) kB", rest))
    }
    wanted = ("MemTotal", "MemAvailable")
    for name in wanted:
        if name not in fields:
            files.note("proc/meminfo", f"a line {name}: NUMBER kB", "none")
    total, available = (fields.get(name) for name in wanted)
    return total, available


def _count_cores(files: _Files) -> int | None:
    path = "sys/devices/system/cpu/online"
    text = files.text(path)
    if text is None:
        return None
    cores = 0
    for part in text.split(","):
        ends = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", part)
        if not ends:
            files.note(path, "a list of cores such as 0-3", text)
            return None
        cores += int(ends[2] or ends[1]) - int(ends[1]) + 1
    return cores if cores > 0 else None


def _load(files: _Files, text: str, cores: int | None) -> float | None:
    first = text.split(" ")[0]
    if not re.fullmatch(r"[0-9]{1,7}\.[0-9]{2}", first):
        files.note("proc/loadavg", "a load such as 0.42", text)
        return None
    return float(first) / cores if cores else None


def _limit_groups(files: _Files) -> Iterator[str]:
    """Folders of the control groups (version 2) of this process, innermost first."""
    text = files.text("proc/self/cgroup") or ""
    for line in text.splitlines():
        if not line.startswith("0::/"):
            continue
        parts = [part for part in line.removeprefix("0::/").split("/") if part]
        if ".." in parts:
            parts = []  # a group outside of what this process can see
        for depth in range(len(parts), -1, -1):
            yield "/".join(["sys/fs/cgroup", *parts[:depth]])


def _read_memory_limit(files: _Files, folder: str) -> tuple[float | None, float | None]:
    most = _limit(files, f"{folder}/memory.max")
    if most is None:
        return None, None
    used = files.number(f"{folder}/memory.current", 0, 2**62)
    if used is None:
        return most, None
    # The kernel gives up file pages that nobody has used lately before it refuses.
    spare = re.search(
        r"^inactive_file ([0-9]{1,18})$",
        files.text(f"{folder}/memory.stat") or "",
        re.MULTILINE,
    )
    return most, most - used + (int(spare[1]) if spare else 0)


def _limit(files: _Files, path: str) -> float | None:
    text = files.text(path)
    if text is None or text == "max":
        return None
    if not _NUMBER.fullmatch(text):
        files.note(path, "max or a number of bytes", text)
        return None
    return float(text)


def _read_processor_limit(files: _Files, folder: str) -> float | None:
    path = f"{folder}/cpu.max"
    text = files.text(path)
    if text is None:
        return None
    parts = re.fullmatch(r"(max|[0-9]{1,15}) ([1-9][0-9]{0,14})", text)
    if not parts:
        files.note(path, "a quota and a period", text)
        return None
    return None if parts[1] == "max" else int(parts[1]) / int(parts[2])


def _read_throttled(files: _Files) -> tuple[str, ...] | None:
    path = "usr/bin/vcgencmd"
    program = files.root / path
    if not os.path.lexists(program):
        return None
    try:
        answer = _ask(program, "get_throttled")
    except OSError as e:
        files.note(path, "a program", e.strerror)
        return None
    found = _THROTTLED.fullmatch(answer.strip())
    if not found:
        files.note(path, "throttled=0x… within half a second", repr(answer))
        return None
    bits = int(found[1], 16)
    return tuple(why for bit, why in enumerate(_WHY_THROTTLED) if bits >> bit & 1)


def _ask(program: Path, argument: str) -> str:
    """The first bytes that a program writes within `_ANSWER_S`; it ends by then.

    Raises:
        OSError: it cannot be started.
    """
    ends_at = time.monotonic() + _ANSWER_S
    child = subprocess.Popen(
        [program, argument],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert child.stdout is not None
    answer = b""
    with child.stdout as stream:
        poller = select.poll()
        poller.register(stream, select.POLLIN)
        while len(answer) < _ANSWER_BYTES:
            left_s = max(0.0, ends_at - time.monotonic())
            if not poller.poll(1000 * left_s):
                break
            part = os.read(stream.fileno(), _ANSWER_BYTES - len(answer))
            if not part:
                break
            answer += part
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_ANSWER_S)
    return answer.decode("ascii", "replace")


def _least(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)
