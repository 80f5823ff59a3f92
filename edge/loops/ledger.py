"""What learning used since noon; no crash and no wrong clock makes it less.

    ledger    canonical JSON; see `Ledger`

**A crash.** Before anything is used, the ledger notes on the disk what may be used
until it is asked next: the advance, a hundredth of each budget (`meter.py`). What was
really used replaces it when half of it is gone. So there are at most some hundred
writes a day, whatever the budgets are; and whoever opens the ledger after a crash
counts the advance as used: never less than was used, and at most one advance more.

**A wrong clock.** A day ends when the clock passes noon, but the clock is not believed
alone. A day has at least 12 hours, and after 36 it ends whatever the clock says. Hours
count if this machine ran in them, by the kernel's clock, which nobody can set. Hours in
which it was off are known from the wall clock alone: these are believed once after each
start, and only beyond the newest time that was seen. So a clock that jumps to and fro,
by a day or a year, gives at most one budget for every 12 hours in which the machine ran
and one for each of its starts; and no clock keeps a robot from learning for longer than
36 hours of running.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from base import canonical_json, durable_file, plain_file
from base.errors import ContinuonError
from base.json_fields import Fields, decode_canonical
from edge.loops.budgets import LOOPS, SLOW, Spent, Usage

FILE: Final = "ledger"
"""Its name in a robot's home."""
SCHEMA_VERSION: Final = 1
SHORTEST_DAY_S: Final = 12 * 3600.0
LONGEST_DAY_S: Final = 36 * 3600.0
BELIEVED_S: Final = 600.0
"""A clock that is ahead by less was set a little; it says nothing of hours in which the
machine was off."""
JOURNAL_BYTES: Final = 32 << 10
"""What the file system itself writes for one durable replacement of a small file, which
no process is charged with: eight blocks of 4 KiB in the journal of ext4, for inode,
folder, bitmaps and commit, twice."""
_NOON_S: Final = 12 * 3600.0
_DAY_S: Final = 24 * 3600.0
_LIMIT_BYTES: Final = 16384
_USAGE: Final = ("disk_bytes", "processor_s", "wall_s")


@dataclass(frozen=True)
class Moment:
    """What this machine's clocks say at one moment.

    Attributes:
        unix_s: the wall clock, which anybody may set.
        utc_offset_s: local time less UTC.
        boot_s: time since the machine started, suspended time included.
        boot_id: identity of this start.
    """

    unix_s: float
    utc_offset_s: float
    boot_s: float
    boot_id: str

    @property
    def noon(self) -> int:
        """Number of the day from noon to noon, local time."""
        return int((self.unix_s + self.utc_offset_s - _NOON_S) // _DAY_S)


def read_moment(root: Path = Path("/")) -> Moment:
    """Reads the clocks of this machine."""
    try:
        raw = plain_file.read(root / "proc/sys/kernel/random/boot_id", 64)
        boot_id = raw.decode("ascii", "replace").strip()
    except (OSError, ContinuonError):
        boot_id = ""  # then a start shows in a time since the start that went back
    unix_s = time.time()
    return Moment(
        unix_s,
        float(time.localtime(unix_s).tm_gmtoff),
        time.clock_gettime(time.CLOCK_BOOTTIME),
        boot_id,
    )


@dataclass(frozen=True)
class Day:
    """A day of the ledger, and how far it has come.

    Attributes:
        noon: number of the day, by the clock when it was last asked.
        elapsed_s: time since the day began that is believed.
        newest_unix_s: newest time of the wall clock that was seen in this day.
        boot_id, boot_s: start of the machine and time since then when last asked.
        believed_boot_id: start after which the wall clock was believed; None for none.
        spent: what was used in this day.
    """

    noon: int
    elapsed_s: float
    newest_unix_s: float
    boot_id: str
    boot_s: float
    believed_boot_id: str | None = None
    spent: Spent = field(default_factory=Spent)


def begin_day(now: Moment, spent: Spent | None = None) -> Day:
    """The first day of a new ledger."""
    day = Day(now.noon, 0.0, now.unix_s, now.boot_id, now.boot_s)
    return day if spent is None else dataclasses.replace(day, spent=spent)


def pass_time(day: Day, now: Moment) -> Day:
    """The day as it is now: the same one, a little later, or a new one."""
    same_start = day.boot_id == now.boot_id and now.boot_s >= day.boot_s
    ran_s = now.boot_s - day.boot_s if same_start else now.boot_s
    off_s = now.unix_s - day.newest_unix_s - ran_s
    believed = day.believed_boot_id
    elapsed_s = day.elapsed_s + ran_s
    if off_s > BELIEVED_S and believed != now.boot_id:
        elapsed_s += off_s
        believed = now.boot_id
    passed_noon = now.noon != day.noon and elapsed_s >= SHORTEST_DAY_S
    if passed_noon or elapsed_s >= LONGEST_DAY_S:
        # A clock that ran ahead once and was set right is believed again from here on.
        return dataclasses.replace(begin_day(now), believed_boot_id=believed)
    return dataclasses.replace(
        day,
        noon=now.noon,
        elapsed_s=elapsed_s,
        newest_unix_s=max(day.newest_unix_s, now.unix_s),
        boot_id=now.boot_id,
        boot_s=now.boot_s,
        believed_boot_id=believed,
    )


class Ledger:
    """What was used today; one process at a time writes it."""

    def __init__(
        self, path: Path, read_now: Callable[[], Moment] = read_moment
    ) -> None:
        """Opens a ledger; the advance of a process that died counts as used.

        A ledger that is damaged says so (`Spent.lost`) until its day is over.

        Args:
            path: its file, which need not exist.
            read_now: reads the clocks.
        """
        self._path, self._read_now = path, read_now
        self._advance: Usage = Usage()
        self._loop: str | None = None
        self.took: Mapping[str, Usage]
        """What each loop used when it last came to its end."""
        try:
            self._day, self.took, advance, loop = _read(path)
        except FileNotFoundError:
            self._day, self.took = begin_day(read_now()), {}
        except (OSError, ContinuonError):
            self._day, self.took = begin_day(read_now(), Spent(lost=True)), {}
        else:
            self._count(advance, loop)

    def spent(self) -> Spent:
        """What was used since noon, as far as it was charged."""
        self._day = pass_time(self._day, self._read_now())
        return self._day.spent

    def charge(
        self, used: Usage, loop: str | None = None, advance: Usage | None = None
    ) -> None:
        """Adds what was used, durably.

        Args:
            used: since the last charge.
            loop: the loop that used it; None for what belongs to none.
            advance: what may be used until the next charge.

        Raises:
            DiskError: the disk refused; this object has counted it all the same.
        """
        self.spent()
        self._count(used + Usage(disk_bytes=JOURNAL_BYTES), loop)
        self._advance, self._loop = advance or Usage(), loop
        self._write()

    def end_loop(self, loop: str, total: Usage) -> None:
        """Notes that a loop came to its end, with what it used from beginning to end.

        What it used is charged as always, and the advance stays until then.

        Raises:
            DiskError: the disk refused; this object has counted it all the same.
        """
        self.took = {**self.took, loop: total}
        spent = self.spent()
        if loop == SLOW:
            spent = dataclasses.replace(spent, nights=spent.nights + 1)
        self._day = dataclasses.replace(self._day, spent=spent)
        self._count(Usage(disk_bytes=JOURNAL_BYTES), loop)
        self._write()

    def _count(self, used: Usage, loop: str | None) -> None:
        spent = self._day.spent.add(used, loop)
        self._day = dataclasses.replace(self._day, spent=spent)

    def _write(self) -> None:
        day = self._day
        value = {
            "schema_version": SCHEMA_VERSION,
            **{
                name: getattr(day, name)
                for name in (*_DAY_NUMBERS, "noon", "boot_id", "believed_boot_id")
            },
            "used": dataclasses.asdict(day.spent.used),
            "awake": dataclasses.asdict(day.spent.awake),
            "nights": day.spent.nights,
            "lost": day.spent.lost,
            "advance": dataclasses.asdict(self._advance),
            "loop": self._loop,
            "took": {name: dataclasses.asdict(x) for name, x in self.took.items()},
        }
        durable_file.write_record(self._path, canonical_json.encode(value))


_DAY_NUMBERS: Final = ("elapsed_s", "newest_unix_s", "boot_s")
_KEYS: Final = (
    "schema_version",
    *_DAY_NUMBERS,
    "noon",
    "boot_id",
    "believed_boot_id",
    "used",
    "awake",
    "nights",
    "lost",
    "advance",
    "loop",
    "took",
)


def read_spent(path: Path) -> Spent:
    """What was used, as a ledger says, for display; writes nothing.

    Raises:
        ContinuonError, OSError: there is no ledger, or it is damaged.
    """
    return _read(path)[0].spent


def _read(path: Path) -> tuple[Day, dict[str, Usage], Usage, str | None]:
    raw = plain_file.read(path, _LIMIT_BYTES)
    fields = Fields(decode_canonical(raw, path, _LIMIT_BYTES), path, _KEYS)
    fields.version(SCHEMA_VERSION)
    noon = fields.raw("noon")  # before 1970 it is negative
    boot_id = fields.raw("boot_id")
    if not isinstance(noon, int) or not isinstance(boot_id, str):
        raise fields.fail("noon", "to be an integer beside a boot_id")
    elapsed_s, newest_unix_s, boot_s = map(fields.number, _DAY_NUMBERS)
    if elapsed_s < 0 or boot_s < 0:
        raise fields.fail("elapsed_s", "to be at least 0, and boot_s too")
    believed = fields.raw("believed_boot_id")
    day = Day(
        noon=noon,
        elapsed_s=elapsed_s,
        newest_unix_s=newest_unix_s,
        boot_id=boot_id,
        boot_s=boot_s,
        believed_boot_id=believed if isinstance(believed, str) else None,
        spent=Spent(
            _read_usage(fields.fields("used", _USAGE)),
            _read_usage(fields.fields("awake", _USAGE)),
            fields.count("nights"),
            fields.boolean("lost"),
        ),
    )
    took = fields.fields("took", (), LOOPS)
    usages = {
        name: _read_usage(took.fields(name, _USAGE)) for name in LOOPS if took.has(name)
    }
    loop = fields.one_of("loop", LOOPS) if fields.has("loop") else None
    return day, usages, _read_usage(fields.fields("advance", _USAGE)), loop


def _read_usage(fields: Fields) -> Usage:
    for name in _USAGE:
        if fields.number(name) < 0:
            raise fields.fail(name, "to be at least 0")
    return Usage(**{name: fields.number(name) for name in _USAGE})
