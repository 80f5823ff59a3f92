"""A week of a robot's days and nights, in seconds: who learns when, and what it costs.

Decision, ledger, meter and budgets are those of the robot. Simulated are its habits and
the machine:

    heat      a first-order body: towards the air's temperature plus a rise per watt
    battery   energy in less energy out; nothing else
    load      busy cores, averaged over a minute as the kernel does
    a loop    keeps some cores busy for some time, and writes something at its end

A day goes from noon to noon, and all hours are counted from noon. A step lasts as long
as nothing can happen, but no budget is left unwatched for longer than the decision
allows, nor the heat for longer than it takes to change by a third of a degree.
"""

import contextlib
import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edge.loops import decide
from edge.loops.budgets import LOOPS, MEDIUM, SLOW, Budgets, Usage
from edge.loops.decide import Decision, Situation
from edge.loops.ledger import FILE, Ledger, Moment
from edge.loops.machine import READ_AGAIN_S, MachineReadings
from edge.loops.meter import Meter
from edge.loops.mode import Mode, ModeRules, NightHours, RobotFacts, choose_mode
from edge.loops.week_plans import (
    COSTS,
    DRIVING_CORES,
    EPISODE_S,
    Body,
    Cost,
    Hours,
    Plan,
)

HOUR_S: Final = 3600.0
_RULES: Final = ModeRules(NightHours())
DAY_S: Final = 24 * HOUR_S
_BEGIN_S: Final = 20_000 * DAY_S + 12 * HOUR_S  # some noon
_LONGEST_STEP_S: Final = 60.0
_HEAT_STEP_C: Final = 0.35
_BATTERY_STEP: Final = 0.001  # of the full battery: half of 1 % of a limit of 20 %
_LOAD_S: Final = 60.0
_SHORTEST_STEP_S: Final = 0.05  # the learner looks no oftener

_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?")


@dataclass
class Sample:
    """What was so at one moment; `time_s` counts from the first noon."""

    time_s: float
    mode: Mode
    loop: str | None
    temperature_c: float
    battery_percent: float | None
    reason: str


@dataclass
class DayRecord:
    """What one day came to, told by the simulation itself and not by the ledger.

    Attributes:
        used: by all loops; its wall time is that of the slow loop.
        ran_s: time in which each loop ran.
        ended: how often each came to its end.
        hottest_c, emptiest_percent: while a loop ran.
        reasons: for how long each reason, without its numbers, spoke against a loop, in
            seconds.
    """

    used: Usage = field(default_factory=Usage)
    ran_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(LOOPS, 0.0))
    ended: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LOOPS, 0))
    hottest_c: float = -math.inf
    emptiest_percent: float = math.inf
    reasons: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Week:
    """All that happened: a sample at every change, and a record of each day."""

    samples: tuple[Sample, ...]
    days: tuple[DayRecord, ...]


def simulate(
    folder: Path,
    plans: Iterable[Plan],
    budgets: Budgets,
    body: Body,
    costs: Mapping[str, Cost] = COSTS,
) -> Week:
    """Lives through some days.

    Args:
        folder: where the robot keeps its ledger.
        plans: the days.
        budgets: what learning may use.
        body: the machine.
        costs: what each loop needs.

    Raises:
        DiskError: the ledger could not be written.
    """
    return _Robot(folder, tuple(plans), budgets, body, costs).live()


class _Robot:
    def __init__(
        self,
        folder: Path,
        plans: tuple[Plan, ...],
        budgets: Budgets,
        body: Body,
        costs: Mapping[str, Cost],
    ) -> None:
        self._path = folder / FILE
        self._plans, self._budgets, self._body = plans, budgets, body
        self._costs = costs
        self._now_s = self._drove_s = 0.0
        self._heat_c = plans[0].air_c + body.rest_w * body.rise_c_per_w
        self._energy_wh = body.battery_wh
        self._load = 0.0
        self._new = dict.fromkeys(LOOPS, 0.0)
        self._episodes = 0.0
        self._used = Usage()
        self._running: str | None = None
        self._left_s = 0.0  # processor time until the running loop is done
        self._samples: list[Sample] = []
        self._days = [DayRecord() for _ in plans]
        self._stack = contextlib.ExitStack()
        self._meter: Meter | None = None
        self._ledger = Ledger(self._path, self._read_clocks)

    def live(self) -> Week:
        """Lives until the last plan is over."""
        with contextlib.closing(self._stack):
            for day, plan in enumerate(self._plans):
                self._live_day(day, plan)
        return Week(tuple(self._samples), tuple(self._days))

    def _live_day(self, day: int, plan: Plan) -> None:
        ends_s = (day + 1) * DAY_S
        kills = [day * DAY_S + hour * HOUR_S for hour in sorted(plan.kills)]
        edges = sorted(
            day * DAY_S + HOUR_S * hour
            for hour in {x for span in plan.drives + plan.charges for x in span}
        )
        while self._now_s < ends_s:
            if kills and self._now_s >= kills[0]:
                kills.pop(0)
                self._die()
            decision, mode = self._decide(plan)
            self._follow(decision)
            self._note(decision, mode)
            next_s = min(x for x in (*edges, *kills, ends_s) if x > self._now_s)
            step_s = min(self._step_s(plan, mode, decision), next_s - self._now_s)
            self._advance(plan, mode, decision, step_s)

    def _decide(self, plan: Plan) -> tuple[Decision, Mode]:
        hour = (self._now_s / HOUR_S) % 24
        driving = _within(plan.drives, hour)
        readings = self._read_machine(plan, hour)
        if driving:
            self._drove_s = self._now_s
        facts = RobotFacts(
            in_episode=driving,
            has_work=driving,
            hour=(hour + 12) % 24,
            on_charger=readings.on_charger,
            still_s=self._now_s - self._drove_s,
        )
        mode = choose_mode(facts, _RULES).mode
        loop = SLOW if mode is Mode.ASLEEP else MEDIUM
        new = int(self._new[loop]) or int(self._running is not None)
        situation = Situation(
            mode=mode,
            origin=plan.origin,
            loops=frozenset(LOOPS),
            new_episodes=new,
            local_episodes=int(self._episodes),
            package_memory_bytes=90_000_000,
            machine=readings,
            spent=self._ledger.spent() if self._meter is None else self._meter.spent(),
            took=self._ledger.took,
            running=self._running,
        )
        return decide.decide(situation, self._budgets), mode

    def _read_machine(self, plan: Plan, hour: float) -> MachineReadings:
        percent = on_mains = None
        if self._body.battery_wh:
            percent = 100 * self._energy_wh / self._body.battery_wh
            on_mains = _within(plan.charges, hour)
        return MachineReadings(
            temperature_c=self._heat_c,
            throttled=(),
            battery_percent=percent,
            on_mains=on_mains,
            memory_available_bytes=self._body.memory_bytes,
            processors=self._body.cores,
            load=self._load,
        )

    def _follow(self, decision: Decision) -> None:
        """Stops and begins what the decision says."""
        if decision.loop == self._running:
            return
        if self._running is not None:
            # It goes on until it has stopped.
            self._spend(decide.STOP_S)
            self._end()
        if decision.loop is not None:
            self._running = decision.loop
            self._left_s = self._costs[decision.loop].work_s
            self._meter = self._stack.enter_context(
                Meter(
                    self._ledger,
                    decision.loop,
                    self._budgets,
                    lambda: self._used,
                    self._body.cores,
                )
            )

    def _step_s(self, plan: Plan, mode: Mode, decision: Decision) -> float:
        """How long nothing can happen."""
        rate = abs(self._target_c(plan, mode) - self._heat_c) / self._body.heat_s
        step_s = min(_LONGEST_STEP_S, _HEAT_STEP_C / max(rate, 1e-6))
        if self._body.battery_wh:
            room_wh = _BATTERY_STEP * self._body.battery_wh
            step_s = min(step_s, room_wh / self._power_w(mode) * HOUR_S)
        step_s = max(step_s, READ_AGAIN_S)
        if self._running is None:
            return step_s
        done_s = self._left_s / self._costs[self._running].cores
        return max(min(step_s, decision.at_most_s, done_s), _SHORTEST_STEP_S)

    def _advance(
        self, plan: Plan, mode: Mode, decision: Decision, step_s: float
    ) -> None:
        """Lets time pass, and ends a loop that is done."""
        record = self._record
        target_c = self._target_c(plan, mode)
        share = -math.expm1(-step_s / self._body.heat_s)
        self._heat_c += (target_c - self._heat_c) * share
        busy = self._busy_cores(mode) / self._body.cores
        self._load += (busy - self._load) * -math.expm1(-step_s / _LOAD_S)
        hour = (self._now_s / HOUR_S) % 24
        power_w = -self._power_w(mode)
        if _within(plan.charges, hour):
            power_w += self._body.charger_w
        energy = self._energy_wh + power_w * step_s / HOUR_S
        self._energy_wh = min(max(energy, 0.0), self._body.battery_wh)
        if mode is Mode.DRIVING:
            self._episodes += step_s / EPISODE_S
            for loop in LOOPS:
                self._new[loop] += step_s / EPISODE_S
        if self._running is None:
            reason = _NUMBER.sub("…", decision.reason)
            record.reasons[reason] = record.reasons.get(reason, 0.0) + step_s
            self._now_s += step_s
            return
        record.hottest_c = max(record.hottest_c, self._heat_c)
        if self._body.battery_wh and not _within(plan.charges, hour):
            percent = 100 * self._energy_wh / self._body.battery_wh
            record.emptiest_percent = min(record.emptiest_percent, percent)
        self._spend(step_s)
        self._now_s += step_s
        if self._left_s <= 1e-6:
            self._finish()

    def _spend(self, time_s: float) -> None:
        """Counts what the running loop uses in this time."""
        loop = self._running
        assert loop is not None
        cost = self._costs[loop]
        self._left_s -= time_s * cost.cores
        self._use(Usage(time_s, time_s * cost.cores, 0.0))
        self._record.ran_s[loop] += time_s

    def _finish(self) -> None:
        loop = self._running
        assert loop is not None
        assert self._meter is not None
        self._use(Usage(disk_bytes=self._costs[loop].disk_bytes))
        self._ledger.end_loop(loop, self._meter.total())
        self._record.ended[loop] += 1
        self._new[loop] = 0.0
        if loop == SLOW:
            self._new[MEDIUM] = 0.0
        self._end()

    def _use(self, used: Usage) -> None:
        self._used += used
        record = self._record
        if self._running != SLOW:
            used = dataclasses.replace(used, wall_s=0.0)
        record.used += used

    @property
    def _record(self) -> DayRecord:
        return self._days[min(int(self._now_s // DAY_S), len(self._days) - 1)]

    def _end(self) -> None:
        self._running, self._meter = None, None
        self._stack.close()

    def _die(self) -> None:
        """The process is killed: nothing is closed, and the ledger is opened again."""
        if self._meter is not None:
            # The process looks every half second, the simulation less often.
            self._meter.spent()
        self._running, self._meter = None, None
        self._stack.pop_all()
        self._ledger = Ledger(self._path, self._read_clocks)

    def _read_clocks(self) -> Moment:
        return Moment(_BEGIN_S + self._now_s, 0.0, self._now_s, "one start")

    def _busy_cores(self, mode: Mode) -> float:
        busy = DRIVING_CORES if mode is Mode.DRIVING else 0.05
        if self._running is not None:
            busy += self._costs[self._running].cores
        return min(busy, self._body.cores)

    def _power_w(self, mode: Mode) -> float:
        motors_w = self._body.motors_w if mode is Mode.DRIVING else 0.0
        return self._body.rest_w + self._busy_cores(mode) * self._body.core_w + motors_w

    def _target_c(self, plan: Plan, mode: Mode) -> float:
        hour = (self._now_s / HOUR_S) % 24
        air_c = plan.air_c + 4 * math.cos(2 * math.pi * (hour - 3) / 24)
        power_w = self._body.rest_w + self._busy_cores(mode) * self._body.core_w
        return air_c + power_w * self._body.rise_c_per_w

    def _note(self, decision: Decision, mode: Mode) -> None:
        percent = None
        if self._body.battery_wh:
            percent = 100 * self._energy_wh / self._body.battery_wh
        self._samples.append(
            Sample(
                self._now_s,
                mode,
                self._running,
                self._heat_c,
                percent,
                decision.reason,
            )
        )


def _within(hours: Hours, hour: float) -> bool:
    return any(begin <= hour < end for begin, end in hours)
