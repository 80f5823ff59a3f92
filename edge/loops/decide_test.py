"""Which loop may run: the tables of `decide`, row by row, and what always holds."""

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.loops import decide
from edge.loops.budgets import Budgets, Spent, Usage
from edge.loops.decide import Decision, Origin, Situation
from edge.loops.machine import MachineReadings
from edge.loops.mode import Mode

BUDGETS = Budgets()
LOOPS = frozenset({"fast", "medium", "slow"})
PI = MachineReadings(
    temperature_c=48.0,
    throttled=(),
    battery_percent=80.0,
    on_mains=False,
    memory_available_bytes=1_500_000_000,
    memory_limit_bytes=2_000_000_000,
    processors=4.0,
    load=0.3,
)
NIGHT = Situation(
    Mode.ASLEEP,
    Origin.SEED,
    LOOPS,
    new_episodes=12,
    local_episodes=60,
    package_memory_bytes=90_000_000,
    machine=PI,
)


def change(machine: MachineReadings = PI, **changed: Any) -> Situation:
    """The night above, with some of it changed."""
    return dataclasses.replace(NIGHT, machine=machine, **changed)


def heat(temperature_c: float) -> MachineReadings:
    return dataclasses.replace(PI, temperature_c=temperature_c)


def battery(percent: float, on_mains: bool = False) -> MachineReadings:
    return dataclasses.replace(PI, battery_percent=percent, on_mains=on_mains)


@pytest.mark.parametrize(
    ("mode", "origin", "loop"),
    [
        (Mode.DRIVING, Origin.SEED, "fast"),
        (Mode.IDLE, Origin.SEED, "medium"),
        (Mode.ASLEEP, Origin.SEED, "slow"),
        (Mode.DRIVING, Origin.CHANNEL, None),
        (Mode.IDLE, Origin.CHANNEL, None),
        (Mode.ASLEEP, Origin.CHANNEL, "slow"),
    ],
)
def test_mode_and_origin_of_the_package_choose_the_loop(
    mode: Mode, origin: Origin, loop: str | None
) -> None:
    assert decide.decide(change(mode=mode, origin=origin), BUDGETS).loop == loop


def test_package_from_a_channel_is_changed_by_the_slow_loop_alone() -> None:
    loops = ("fast", "medium", "slow", "other")
    may = {o: [n for n in loops if decide.may_change(n, o)] for o in Origin}
    assert may == {Origin.SEED: ["fast", "medium", "slow"], Origin.CHANNEL: ["slow"]}


def test_decision_for_a_loop_says_why_and_when_to_ask_again() -> None:
    used = Spent(Usage(wall_s=7100.0, processor_s=14000.0))
    assert decide.decide(change(spent=used), BUDGETS) == Decision(
        "slow", "asleep: 12 new episodes to learn from", 100.0 - decide.STOP_S
    )
    used = Spent(Usage(wall_s=7000.0, processor_s=14000.0))
    # 400 s of four cores.
    assert decide.decide(change(spent=used), BUDGETS).at_most_s == 100.0 - decide.STOP_S


@pytest.mark.parametrize(
    ("situation", "reason"),
    [
        (
            change(has_package=False, loops=frozenset()),
            "no package yet that could learn",
        ),
        (
            change(has_package=False, mode=Mode.DRIVING, origin=Origin.CHANNEL),
            "no package yet that could learn",
        ),
        (change(loops=frozenset()), "this package does not learn on the robot"),
        (change(loops=frozenset({"fast"})), "this package has no slow loop"),
        (change(new_episodes=0), "no new episode to learn from"),
        (
            change(new_episodes=1, local_episodes=1),
            "1 local episode, below 2: one to learn from and one to judge by",
        ),
        (
            change(spent=Spent(lost=True)),
            "what was used since noon is not known; learning resumes at noon",
        ),
        (change(spent=Spent(nights=2)), "2 slow loops since noon, 2 allowed"),
        (
            change(spent=Spent(Usage(wall_s=7200.0))),
            "2.0 h of 2.0 h wall time used since noon",
        ),
        (
            change(spent=Spent(Usage(processor_s=14400.0))),
            "4.0 h of 4.0 h processor time used since noon",
        ),
        (
            change(spent=Spent(Usage(disk_bytes=200e6))),
            "200.0 MB of 200.0 MB disk writes used since noon",
        ),
        (
            change(spent=Spent(Usage(wall_s=6900.0)), took={"slow": Usage(960.0)}),
            "5 min of wall time left until noon, a slow loop takes 16 min",
        ),
        (
            change(spent=Spent(Usage(disk_bytes=190e6))),
            "10.0 MB of disk writes left until noon, a slow loop takes 20.0 MB",
        ),
        (
            change(took={"slow": Usage(disk_bytes=300e6)}),
            "200.0 MB of disk writes left until noon, a slow loop takes 300.0 MB",
        ),
        (
            change(dataclasses.replace(PI, throttled=("under-voltage",))),
            "the firmware says: under-voltage",
        ),
        (change(heat(78.0)), "78.0 °C, above 70 °C"),
        (change(heat(66.0)), "66.0 °C, a loop begins below 65 °C"),
        (change(battery(49.0)), "battery at 49 %, below 50 %"),
        (change(battery(52.0)), "battery at 52 %, a loop begins at 55 %"),
        (
            change(package_memory_bytes=200_000_000),
            "425 MB of memory needed, 400 MB allowed",
        ),
        (
            change(dataclasses.replace(PI, memory_available_bytes=300_000_000)),
            "300 MB of memory free, 415 MB needed",
        ),
        (
            change(dataclasses.replace(PI, load=0.9)),
            "load of 0.9 per core by other programs, above 0.75",
        ),
        (
            change(mode=Mode.IDLE, spent=Spent(awake=Usage(processor_s=7200.0))),
            "2.0 h of 2.0 h processor time by day used since noon",
        ),
        (
            change(mode=Mode.IDLE, origin=Origin.CHANNEL),
            "idle: a package from a channel is changed only while the robot is asleep",
        ),
    ],
)
def test_refusal_says_what_stands_against_it_with_number_and_unit(
    situation: Situation, reason: str
) -> None:
    assert decide.decide(situation, BUDGETS) == Decision(None, reason)


@pytest.mark.parametrize(
    "machine",
    [
        heat(69.0),
        battery(51.0),
        battery(3.0, on_mains=True),
        dataclasses.replace(PI, load=1.2),
        dataclasses.replace(PI, memory_available_bytes=200_000_000),
    ],
)
def test_loop_that_runs_goes_on_where_none_would_begin(
    machine: MachineReadings,
) -> None:
    running = change(machine, running="slow")
    assert decide.decide(running, BUDGETS).loop == "slow"


@pytest.mark.parametrize(
    "machine",
    [
        heat(70.5),
        battery(49.0),
        dataclasses.replace(PI, throttled=("throttled",)),
        dataclasses.replace(PI, load=2.0),
        dataclasses.replace(PI, memory_available_bytes=50_000_000),
    ],
)
def test_loop_that_runs_stops_at_a_limit(machine: MachineReadings) -> None:
    assert decide.decide(change(machine, running="slow"), BUDGETS).loop is None


def test_loop_stops_when_the_robot_is_needed() -> None:
    needed = change(mode=Mode.DRIVING, origin=Origin.CHANNEL, running="slow")
    assert decide.decide(needed, BUDGETS).loop is None
    seed = dataclasses.replace(needed, origin=Origin.SEED)
    assert decide.decide(seed, BUDGETS).loop == "fast"


def test_machine_that_measures_nothing_may_learn() -> None:
    assert decide.decide(change(MachineReadings()), BUDGETS).loop == "slow"


def test_time_that_no_day_allows_is_no_reason_to_refuse() -> None:
    took = {"slow": Usage(wall_s=9000.0, processor_s=9000.0)}
    used = Spent(Usage(wall_s=3600.0))
    assert decide.decide(change(spent=used, took=took), BUDGETS).loop == "slow"


def test_waking_hours_leave_half_of_the_day_to_the_night() -> None:
    awake = Usage(processor_s=7200.0, disk_bytes=100e6)
    spent = Spent(awake, awake)
    idle = change(mode=Mode.IDLE, spent=spent)
    assert decide.decide(idle, BUDGETS).loop is None
    assert decide.decide(change(spent=spent), BUDGETS).loop == "slow"


def test_day_that_the_night_used_up_leaves_nothing_to_the_waking_hours() -> None:
    spent = Spent(Usage(processor_s=14400.0))
    idle = decide.decide(change(mode=Mode.IDLE, spent=spent), BUDGETS)
    assert idle.reason == "4.0 h of 4.0 h processor time used since noon"


def test_fast_loop_needs_no_memory_for_a_learner() -> None:
    small = dataclasses.replace(PI, memory_available_bytes=50_000_000)
    driving = change(mode=Mode.DRIVING, machine=small)
    assert decide.decide(driving, BUDGETS).loop == "fast"


def test_fast_loop_needs_no_episode() -> None:
    driving = change(mode=Mode.DRIVING, new_episodes=0, local_episodes=0)
    assert decide.decide(driving, BUDGETS).reason == (
        "driving: from one step to the next"
    )


@given(
    mode=st.sampled_from(Mode),
    used=st.tuples(*[st.floats(0, 1e6)] * 3).map(lambda each: Usage(*each)),
    cores=st.none() | st.floats(0.1, 64),
    wall_s=st.floats(0, 1e4),
    processor_s=st.floats(0, 1e5),
)
def test_no_time_budget_is_passed_before_the_next_question(
    mode: Mode, used: Usage, cores: float | None, wall_s: float, processor_s: float
) -> None:
    machine = dataclasses.replace(PI, processors=cores)
    spent = Spent(used, Usage(0.0, used.processor_s / 2, 0.0))
    budgets = Budgets(wall_s_per_night=wall_s, processor_s_per_day=processor_s)
    found = decide.decide(change(machine, mode=mode, spent=spent), budgets)
    assert found.reason
    if found.loop is None:
        return
    longest_s = found.at_most_s + decide.STOP_S
    assert found.at_most_s > 0
    assert used.processor_s + longest_s * (cores or 8) <= processor_s + 1e-6
    if mode is Mode.ASLEEP:
        assert used.wall_s + longest_s <= wall_s + 1e-6


@given(
    situation=st.builds(
        Situation,
        mode=st.sampled_from(Mode),
        origin=st.sampled_from(Origin),
        loops=st.frozensets(st.sampled_from(sorted(LOOPS))),
        new_episodes=st.integers(0, 3),
        local_episodes=st.integers(0, 3),
        package_memory_bytes=st.integers(0, 10**9),
        machine=st.builds(
            MachineReadings,
            temperature_c=st.none() | st.floats(-40, 120),
            throttled=st.sampled_from([None, (), ("throttled",)]),
            battery_percent=st.none() | st.floats(0, 100),
            on_mains=st.none() | st.booleans(),
            memory_available_bytes=st.none() | st.integers(0, 10**10),
            load=st.none() | st.floats(0, 9),
        ),
        running=st.none() | st.sampled_from(sorted(LOOPS)),
    )
)
def test_loop_that_may_run_keeps_every_rule(situation: Situation) -> None:
    found = decide.decide(situation, BUDGETS)
    assert found.reason == " ".join(found.reason.split())
    if found.loop is None:
        return
    machine = situation.machine
    assert found.loop in situation.loops
    assert situation.origin is Origin.SEED or found.loop == "slow"
    assert (machine.temperature_c or 0) <= BUDGETS.temperature_c
    assert not machine.throttled
    charge = machine.battery_percent
    assert machine.on_mains or charge is None or charge >= BUDGETS.battery_percent
    assert found.loop == "fast" or situation.new_episodes


def test_budget_below_zero_or_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="learning_memory_mb: expected at least 0"):
        Budgets(memory_mb=-1.0)
    with pytest.raises(ValueError, match="learning_load"):
        Budgets(load=math.nan)
