"""Which loop may run now, decided without IO.

| mode | package from the factory or an operator | package from a channel |
|---|---|---|
| driving | fast | none |
| idle | medium | none |
| asleep | slow | slow |

The mode is chosen in `mode.py`. Its loop runs if nothing speaks against it. These are
asked in turn, and the first that does is the reason:

| asked | no loop if |
|---|---|
| package | there is none yet, or it has no such loop |
| memories | nothing new to learn from; no second episode to judge by (slow) |
| ledger | what was spent today is not known |
| budgets | one is used up, or less is left than the loop took the last time |
| firmware | it slows the processor down, or the voltage is too low |
| heat | above the limit, or less than 5 degrees below it and no loop runs yet |
| battery | below its limit, or less than 5 percent above and no loop runs yet |
| memory | the learner would need more than its budget, or than there is (not fast) |
| load | other programs keep the cores busy |

A loop that runs is asked about again and again, and stops when the answer is another:
so it ends when the robot is needed, because then the mode is another. What a machine
does not measure, such as the heat of a virtual one, speaks against nothing.

Source of the tables: "When a loop may run" in the architecture. A package that came
from a channel was judged as a whole, and only the loop that is judged on the robot's
own episodes before it counts may change it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from base import text_forms
from edge.loops.budgets import (
    AWAKE_SHARE,
    CHARGED_BY_PERCENT,
    COOLED_BY_C,
    FAST,
    MEDIUM,
    SLOW,
    Budgets,
    Spent,
    Usage,
)
from edge.loops.machine import MachineReadings
from edge.loops.mode import Mode
from edge.ota.decide import Origin as Origin

LOOK_AGAIN_S: Final = 0.5
"""Time after which to ask about a running loop again, at most."""
STOP_S: Final = 0.2
"""Longest time in which a loop stops."""
LEARNER_BYTES: Final = 225_000_000
"""Resident memory of the learner before it has loaded a package: Python, numpy, and jax
that has compiled a first small program (223 MB, measured on x86-64)."""
KEPT_FREE_BYTES: Final = 100_000_000
"""Memory that learning leaves to whatever else begins meanwhile: an episode, an
update."""
FIRST_DISK_BYTES: Final = 20_000_000
"""What a loop is expected to write that never came to its end here: vectors, a record,
and functions that were compiled for this machine."""
SLOW_EPISODES: Final = 2
"""Local episodes that the slow loop needs: one to learn from and one to judge by."""
_MANY_CORES: Final = 8
"""Cores that a learner might use at once where nobody knows how many there are."""


_LOOPS: Final = {
    (Mode.DRIVING, Origin.SEED): FAST,
    (Mode.IDLE, Origin.SEED): MEDIUM,
    (Mode.ASLEEP, Origin.SEED): SLOW,
    (Mode.ASLEEP, Origin.CHANNEL): SLOW,
}


@dataclass(frozen=True)
class Situation:
    """All that the choice of a loop depends on.

    Attributes:
        mode: what the robot is doing.
        origin: where its package came from.
        loops: the loops that the package has.
        new_episodes: local episodes to learn from that no loop has been given yet.
        local_episodes: all local episodes.
        package_memory_bytes: memory that the package's loops need, which it says.
        machine: what the machine says.
        spent: what learning has used since noon.
        took: what each loop used when it last came to its end.
        running: the loop that runs now; None for none.
        has_package: whether there is a package at all.
    """

    mode: Mode
    origin: Origin
    loops: frozenset[str]
    new_episodes: int = 0
    local_episodes: int = 0
    package_memory_bytes: int = 0
    machine: MachineReadings = field(default_factory=MachineReadings)
    spent: Spent = field(default_factory=Spent)
    took: Mapping[str, Usage] = field(default_factory=dict)
    running: str | None = None
    has_package: bool = True


@dataclass(frozen=True)
class Decision:
    """Which loop may run.

    Attributes:
        loop: `fast`, `medium` or `slow`; None for none.
        reason: why, for people.
        at_most_s: the longest time after which to ask again: whatever the loop does
            until then and while it stops, no budget of time is passed. Ask sooner to
            stop when the robot is needed: every `LOOK_AGAIN_S`.
    """

    loop: str | None
    reason: str
    at_most_s: float = math.inf


def may_change(loop: str, origin: Origin) -> bool:
    """Whether a loop may ever change a package from there, whatever the robot does."""
    return any(allowed == loop and of == origin for (_, of), allowed in _LOOPS.items())


def decide(situation: Situation, budgets: Budgets) -> Decision:
    """Says which loop may run now, and why."""
    if not situation.has_package:
        return Decision(None, "no package yet that could learn")
    loop = _LOOPS.get((situation.mode, situation.origin))
    if loop is None:
        return Decision(
            None,
            f"{situation.mode.value}: a package from a channel is changed only while "
            "the robot is asleep",
        )
    accounts = _accounts(loop, situation, budgets)
    against = (
        _lacks(loop, situation)
        or _used_up(loop, situation, budgets, accounts)
        or _too_hot(situation, budgets)
        or _on_battery(situation, budgets)
        or (None if loop == FAST else _lacks_memory(situation, budgets))
        or _is_busy(situation, budgets)
    )
    if against:
        return Decision(None, against)
    left_s = min(account.left_s for account in accounts)
    return Decision(loop, _reason_for(loop, situation), left_s)


def _reason_for(loop: str, situation: Situation) -> str:
    if loop == FAST:
        return "driving: from one step to the next"
    new = text_forms.count(situation.new_episodes, "new episode")
    return f"{situation.mode.value}: {new} to learn from"


def _lacks(loop: str, situation: Situation) -> str | None:
    if not situation.loops:
        return "this package does not learn on the robot"
    if loop not in situation.loops:
        return f"this package has no {loop} loop"
    if loop == FAST:
        return None  # it learns from the steps of the episode that runs
    if not situation.new_episodes:
        return "no new episode to learn from"
    if loop == SLOW and situation.local_episodes < SLOW_EPISODES:
        return (
            f"{text_forms.count(situation.local_episodes, 'local episode')}, below "
            f"{SLOW_EPISODES}: one to learn from and one to judge by"
        )
    return None


@dataclass(frozen=True)
class _Account:
    """What one budget allows a loop.

    Attributes:
        name: what is used.
        allowed, used, took: in seconds or bytes; the last is what the loop used when it
            last came to its end.
        rate: the most that a loop can use of it in a second; 0 if nobody can say.
    """

    name: str
    allowed: float
    used: float
    took: float
    rate: float

    @property
    def left_s(self) -> float:
        """How long a loop may go on unasked, if it stops in `STOP_S`."""
        left = self.allowed - self.used
        if self.rate:
            return left / self.rate - STOP_S
        return math.inf if left > 0 else 0.0

    def show(self, amount: float) -> str:
        """An amount of it for people."""
        return _duration(amount) if self.rate else f"{amount / 1e6:.1f} MB"


def _accounts(loop: str, situation: Situation, budgets: Budgets) -> list[_Account]:
    used, awake = situation.spent.used, situation.spent.awake
    first = Usage(disk_bytes=0.0 if loop == FAST else FIRST_DISK_BYTES)
    took = situation.took.get(loop, first)
    cores = situation.machine.processors or _MANY_CORES
    time, disk = budgets.processor_s_per_day, budgets.disk_bytes_per_day
    accounts = [
        _Account("processor time", time, used.processor_s, took.processor_s, cores),
        _Account("disk writes", disk, used.disk_bytes, took.disk_bytes, 0.0),
    ]
    if loop == SLOW:
        wall = budgets.wall_s_per_night
        return [_Account("wall time", wall, used.wall_s, took.wall_s, 1.0), *accounts]
    time, disk = AWAKE_SHARE * time, AWAKE_SHARE * disk
    return [
        *accounts,
        _Account(
            "processor time by day", time, awake.processor_s, took.processor_s, cores
        ),
        _Account("disk writes by day", disk, awake.disk_bytes, took.disk_bytes, 0.0),
    ]


def _used_up(
    loop: str, situation: Situation, budgets: Budgets, accounts: list[_Account]
) -> str | None:
    spent = situation.spent
    if spent.lost:
        return "what was used since noon is not known; learning resumes at noon"
    if loop == SLOW and spent.nights >= budgets.nights_per_day:
        return (
            f"{text_forms.count(spent.nights, 'slow loop')} since noon, "
            f"{budgets.nights_per_day} allowed"
        )
    for one in accounts:
        if one.left_s <= 0:
            return (
                f"{one.show(one.used)} of {one.show(one.allowed)} {one.name} used "
                "since noon"
            )
        left = one.allowed - one.used
        # A time that no day allows is what another package or machine took, and a loop
        # stops in time. Writes come at its end and are not taken back.
        tries = one.rate > 0 and one.took > one.allowed
        if situation.running != loop and left < one.took and not tries:
            return (
                f"{one.show(left)} of {one.name} left until noon, a {loop} loop takes "
                f"{one.show(one.took)}"
            )
    return None


def _too_hot(situation: Situation, budgets: Budgets) -> str | None:
    machine, limit = situation.machine, budgets.temperature_c
    if machine.throttled:
        return f"the firmware says: {', '.join(machine.throttled)}"
    heat = machine.temperature_c
    if heat is None:
        return None
    if heat > limit:
        return f"{heat:.1f} °C, above {limit:.0f} °C"
    if situation.running is None and heat > limit - COOLED_BY_C:
        return f"{heat:.1f} °C, a loop begins below {limit - COOLED_BY_C:.0f} °C"
    return None


def _on_battery(situation: Situation, budgets: Budgets) -> str | None:
    machine, limit = situation.machine, budgets.battery_percent
    charge = machine.battery_percent
    if charge is None or machine.on_mains:
        return None
    if charge < limit:
        return f"battery at {charge:.3g} %, below {limit:.0f} %"
    begins = min(100.0, limit + CHARGED_BY_PERCENT)
    if situation.running is None and charge < begins:
        return f"battery at {charge:.3g} %, a loop begins at {begins:.0f} %"
    return None


def _lacks_memory(situation: Situation, budgets: Budgets) -> str | None:
    needed = LEARNER_BYTES + situation.package_memory_bytes
    if needed > budgets.memory_bytes:
        allowed = f"{budgets.memory_mb:.0f} MB allowed"
        return f"{needed / 1e6:.0f} MB of memory needed, {allowed}"
    there = situation.machine.memory_available_bytes
    if there is None:
        return None
    # A loop that runs has taken its part already.
    wanted = KEPT_FREE_BYTES + (needed if situation.running is None else 0)
    if there < wanted:
        return f"{there / 1e6:.0f} MB of memory free, {wanted / 1e6:.0f} MB needed"
    return None


def _is_busy(situation: Situation, budgets: Budgets) -> str | None:
    load = situation.machine.load
    if load is None:
        return None
    if situation.running is not None:
        load -= 1.0  # at most: the learner keeps its cores busy itself
    if load > budgets.load:
        return f"load of {load:.1f} per core by other programs, above {budgets.load:g}"
    return None


def _duration(time_s: float) -> str:
    if time_s < 120:
        return f"{time_s:.0f} s"
    if time_s < 7200:
        return f"{time_s / 60:.0f} min"
    return f"{time_s / 3600:.1f} h"
