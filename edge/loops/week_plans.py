"""What a simulated week is made of: a robot's days, its machine, what loops cost."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Final

from edge.loops.budgets import FAST, MEDIUM, SLOW
from edge.loops.decide import Origin

Hours = tuple[tuple[float, float], ...]
"""Times of a day, each from an hour after noon to another."""


@dataclass(frozen=True)
class Plan:
    """One day of a robot, from noon to noon.

    Attributes:
        drives: hours in which it drives, one episode after the other.
        charges: hours in which it stands on its charger.
        air_c: mean temperature of the air, in degrees Celsius; it swings by 4 degrees,
            highest at three in the afternoon.
        origin: where its package came from.
        kills: hours at which its learning process is killed, and starts again.
    """

    drives: Hours = ((1.0, 5.0), (21.0, 23.0))
    charges: Hours = ((10.0, 19.0),)
    air_c: float = 22.0
    origin: Origin = Origin.SEED
    kills: tuple[float, ...] = ()


@dataclass(frozen=True)
class Body:
    """The machine; the defaults are those of a Raspberry Pi 5 with a heat sink.

    Attributes:
        cores: of the processor.
        rest_w, core_w: power at rest, and of each busy core more.
        rise_c_per_w, heat_s: how far a watt heats it in the end, and the time constant.
        motors_w: power of the motors while it drives.
        charger_w: power of the charger.
        battery_wh: energy of the full battery; 0 for a robot without one.
        memory_bytes: free memory.
    """

    cores: float = 4.0
    rest_w: float = 3.0
    core_w: float = 1.3
    rise_c_per_w: float = 6.0
    heat_s: float = 180.0
    motors_w: float = 6.0
    charger_w: float = 30.0
    battery_wh: float = 100.0
    memory_bytes: int = 2_000_000_000


@dataclass(frozen=True)
class Cost:
    """What a loop needs.

    Attributes:
        work_s: processor time until it is done; infinite for one without an end.
        cores: that it keeps busy.
        disk_bytes: that it writes at its end.
    """

    work_s: float
    cores: float
    disk_bytes: float


COSTS: Final = {
    FAST: Cost(math.inf, 0.25, 0.0),
    MEDIUM: Cost(250.0, 1.0, 400_000.0),
    SLOW: Cost(1720.0, 1.0, 400_000.0),
}
"""Fast: an update of 5 ms at 50 steps a second. Slow: ten times the 172 s of a
processor that a night of the `seed` package takes here (docs/benchmarks.md, Learner).
Medium: its 100 of the 900 gradient steps, and the start of the learner. A delta of the
seed model is 300 kB."""
DRIVING_CORES: Final = 0.8
EPISODE_S: Final = 60.0

_EVERY: Final = Plan()
DAYS: Final = (
    ("package from the factory", _EVERY),
    ("drives in the evening too", Plan(drives=((1, 5), (6, 9.5), (21, 23)))),
    ("a hot day", Plan(air_c=40.0)),
    ("not put on its charger, and driven until late", Plan(((1, 5), (7, 11)), ())),
    ("nobody drives it", Plan(drives=())),
    ("a package from a channel", dataclasses.replace(_EVERY, origin=Origin.CHANNEL)),
    (
        "a package from a channel; the learner is killed every six minutes for an hour",
        dataclasses.replace(
            _EVERY,
            origin=Origin.CHANNEL,
            kills=tuple(10 + 0.1 * n for n in range(1, 11)),
        ),
    ),
)
"""What is said of each day of the week, and its plan."""
