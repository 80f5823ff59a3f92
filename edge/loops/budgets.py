"""What learning on a robot may use, and what it has used.

Every limit is a flag of the programs that learn, with the text, unit and default that
stand here: `record_flags.define(Budgets)`. A day, here and in the ledger, runs from
noon to noon, local time, so that one night has one budget.
"""

import dataclasses
from dataclasses import dataclass
from typing import Final, Self

from base import record_flags
from base.record_flags import setting

FAST, MEDIUM, SLOW = LOOPS = ("fast", "medium", "slow")
"""Between two control steps; while the robot is idle; while it sleeps."""
AWAKE_SHARE: Final = 0.5
"""Share of the day's processor time and disk writes that the loops of the waking hours
may use together; the rest is kept for the night, which learns the most."""
COMPILING_TIMES: Final = 1.5
"""A function may take so many times the learner's memory while it is compiled. The
default package's largest takes 370 to 389 MB of 400, more where an emulator or an old
kernel gives nothing back. It runs alone, before a night, and is stopped sooner if the
machine has less."""
COOLED_BY_C: Final = 5.0
"""Learning begins again this far below the limit, so that it does not start and stop
every few seconds. A Raspberry Pi 5 without load cools by as much within two minutes."""
CHARGED_BY_PERCENT: Final = 5.0
"""The same for the battery."""


@dataclass(frozen=True)
class Budgets:
    """What learning may use on this robot.

    Attributes:
        wall_s_per_night: longest time of the slow loop from one noon to the next, in
            seconds.
        processor_s_per_day: processor time of all loops from one noon to the next, in
            seconds of one core.
        nights_per_day: slow loops that may come to their end from one noon to the next.
        disk_mb_per_day: what learning may write to the disk from one noon to the next,
            in MB.
        memory_mb: largest resident memory of the learner, in MB; half as much more
            while it does nothing but compile a function.
        temperature_c: highest temperature of the processor while a loop runs, in
            degrees Celsius; one begins 5 degrees below.
        battery_percent: lowest charge of a battery that is not being charged while a
            loop runs, in percent; one begins 5 percent above.
        load: highest load by other programs at which a loop runs, in waiting programs
            per core.

    Raises:
        ValueError: a number is out of its range.
    """

    # A night of the seed model takes 172 s of a processor (docs/benchmarks.md,
    # Learner), and 29 minutes at a tenth of that speed. Another package may ask for
    # four times as much.
    wall_s_per_night: float = setting(
        7200.0, flag="learning_wall_s_per_night", minimum=0
    )
    # Two cores for the two hours of the night.
    processor_s_per_day: float = setting(
        14400.0, flag="learning_processor_s_per_day", minimum=0
    )
    # A nap on the charger, and a night.
    nights_per_day: int = setting(2, flag="learning_nights_per_day", minimum=0)
    # A card of 32 GB that bears 300 full writes lasts for 130 years of this, and
    # recording, which writes more, is what wears it.
    disk_mb_per_day: float = setting(200.0, flag="learning_disk_mb_per_day", minimum=0)
    # Leaves three quarters of the smallest robot computer, 2 GB, to everything else.
    memory_mb: float = setting(400.0, flag="learning_memory_mb", minimum=0)
    # A Raspberry Pi 5 slows down its cores from 80 degrees on (Raspberry Pi
    # documentation, frequency management and thermal control).
    temperature_c: float = setting(70.0, flag="learning_temperature_c", minimum=0)
    # Half a battery is left to drive with.
    battery_percent: float = setting(50.0, flag="learning_battery_percent", minimum=0)
    # Three quarters of the cores busy: control, recorder and camera of a robot at work.
    load: float = setting(0.75, flag="learning_load", minimum=0)

    def __post_init__(self) -> None:
        record_flags.require_limits(self)

    @property
    def disk_bytes_per_day(self) -> float:
        """What learning may write to the disk in a day."""
        return self.disk_mb_per_day * 1e6

    @property
    def memory_bytes(self) -> float:
        """Largest resident memory of the learner."""
        return self.memory_mb * 1e6


@dataclass(frozen=True)
class Usage:
    """What some work used, or may use.

    Attributes:
        wall_s: time that passed, in seconds.
        processor_s: processor time of all its processes, in seconds of one core.
        disk_bytes: bytes that it wrote to the disk.
    """

    wall_s: float = 0.0
    processor_s: float = 0.0
    disk_bytes: float = 0.0

    def __add__(self, other: Self) -> Self:
        return self._each(other, 1)

    def __sub__(self, other: Self) -> Self:
        return self._each(other, -1)

    def _each(self, other: Self, sign: int) -> Self:
        mine, its = dataclasses.astuple(self), dataclasses.astuple(other)
        return type(self)(*(a + sign * b for a, b in zip(mine, its, strict=True)))


@dataclass(frozen=True)
class Spent:
    """What learning has used since noon.

    Attributes:
        used: by all loops together, but its wall time is that of the slow loop alone.
        awake: the part of it that the fast and the medium loop used.
        nights: slow loops that came to their end.
        lost: whether usage is unknown because the day's record was damaged.
    """

    used: Usage = dataclasses.field(default_factory=Usage)
    awake: Usage = dataclasses.field(default_factory=Usage)
    nights: int = 0
    lost: bool = False

    def add(self, used: Usage, loop: str | None) -> "Spent":
        """What is used when a loop, or something else (None), has used more."""
        if loop != SLOW:
            used = dataclasses.replace(used, wall_s=0.0)
        awake = self.awake + used if loop in (FAST, MEDIUM) else self.awake
        return dataclasses.replace(self, used=self.used + used, awake=awake)


def describe_left(budgets: Budgets, spent: Spent) -> str:
    """Says for people what learning may still use until noon."""
    if spent.lost:
        return "nothing until noon: what was used today is not known"
    used = spent.used
    nights = max(0, budgets.nights_per_day - spent.nights)
    wall_s = max(0.0, budgets.wall_s_per_night - used.wall_s)
    processor_s = max(0.0, budgets.processor_s_per_day - used.processor_s)
    disk_bytes = max(0.0, budgets.disk_bytes_per_day - used.disk_bytes)
    return (
        f"{nights} slow loop{'' if nights == 1 else 's'} ({wall_s:,.0f} s), "
        f"{processor_s:,.0f} s of processor time and {disk_bytes / 1e6:,.0f} MB of "
        "disk writes until noon"
    )
