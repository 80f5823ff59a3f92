"""In no week, however it goes, is a budget passed; and all loops get to run."""

import dataclasses
import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from edge.loops import decide, simulated_week
from edge.loops.budgets import LOOPS, Budgets
from edge.loops.decide import Origin
from edge.loops.mode import Mode
from edge.loops.simulated_week import Week
from edge.loops.week_plans import COSTS, DAYS, Body, Cost, Hours, Plan

BUDGETS = Budgets()
MARGIN = 1.01


def simulate(
    plans: list[Plan],
    budgets: Budgets = BUDGETS,
    body: Body | None = None,
    costs: dict[str, Cost] | None = None,
) -> Week:
    with tempfile.TemporaryDirectory() as folder:
        return simulated_week.simulate(
            Path(folder), plans, budgets, body or Body(), costs or COSTS
        )


@pytest.fixture(scope="module")
def shown() -> Week:
    """The week of the picture."""
    return simulate([plan for _, plan in DAYS])


def test_all_loops_run_and_come_to_their_end_in_the_week_of_the_picture(
    shown: Week,
) -> None:
    first = shown.days[0]
    assert all(first.ran_s[loop] > 60 for loop in LOOPS)
    assert (first.ended["medium"], first.ended["slow"]) == (2, 1)


def test_package_from_a_channel_is_changed_by_the_slow_loop_alone(
    shown: Week,
) -> None:
    for (_, plan), record in zip(DAYS, shown.days, strict=True):
        if plan.origin is Origin.CHANNEL:
            assert record.ended["slow"] == 1
            assert record.ran_s["fast"] == record.ran_s["medium"] == 0


def test_hot_day_and_empty_battery_keep_loops_from_running(shown: Week) -> None:
    hot, empty = shown.days[2], shown.days[3]
    assert hot.hottest_c == pytest.approx(70, abs=0.7)
    assert any("°C" in reason for reason in hot.reasons)
    assert empty.ended == {"fast": 0, "medium": 0, "slow": 0}
    assert any("battery" in reason for reason in empty.reasons)


def test_killed_learner_is_charged_and_learns_when_it_is_left_alone(
    shown: Week,
) -> None:
    killed = shown.days[6]
    assert killed.ended["slow"] == 1
    assert killed.used.wall_s > 3 * shown.days[5].used.wall_s


def test_loop_runs_only_in_its_mode(shown: Week) -> None:
    modes = {"fast": Mode.DRIVING, "medium": Mode.IDLE, "slow": Mode.ASLEEP}
    ran = [sample for sample in shown.samples if sample.loop is not None]
    assert len(ran) > 100
    assert all(sample.mode is modes[str(sample.loop)] for sample in ran)


def test_robot_that_always_drives_leaves_half_of_the_day_to_the_night() -> None:
    budgets = Budgets(processor_s_per_day=4000.0)
    driven = Plan(drives=((0.0, 10.0), (19.0, 24.0)))
    record = simulate([driven], budgets).days[0]
    assert record.ended["slow"] == 1
    assert record.ran_s["fast"] * 0.25 == pytest.approx(2000, rel=0.01)


def test_night_without_end_uses_its_budget_and_no_more() -> None:
    endless = {**COSTS, "slow": Cost(math.inf, 1.0, 0.0)}
    record = simulate([Plan()], costs=endless).days[0]
    assert record.used.wall_s == pytest.approx(7200, abs=1)
    assert record.used.wall_s <= 7200 + 1e-6


hours = st.lists(st.floats(0, 24), min_size=2, max_size=6).map(
    lambda found: tuple(zip(sorted(found)[::2], sorted(found)[1::2], strict=False))
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    spans: tuple[Hours, Hours] = (draw(hours), draw(hours))
    return Plan(
        drives=spans[0],
        charges=spans[1],
        air_c=draw(st.floats(-10, 45)),
        origin=draw(st.sampled_from([Origin.SEED, Origin.SEED, Origin.CHANNEL])),
        kills=tuple(draw(st.lists(st.floats(0.0, 23.9), max_size=4))),
    )


some_costs = st.builds(
    lambda medium_s, slow_s, cores: {
        "fast": COSTS["fast"],
        "medium": Cost(medium_s, min(cores, 1.5), 4e5),
        "slow": Cost(slow_s, cores, 4e5),
    },
    medium_s=st.floats(5, 600),
    slow_s=st.floats(60, 20_000),
    cores=st.floats(0.5, 4.0),
)
some_budgets = st.builds(
    Budgets,
    wall_s_per_night=st.floats(60, 10_000),
    processor_s_per_day=st.floats(200, 20_000),
    disk_mb_per_day=st.floats(1, 100),
    nights_per_day=st.integers(0, 9),
    temperature_c=st.floats(40, 80),
    battery_percent=st.floats(20, 90),
    load=st.floats(0.3, 2.0),
)
bodies = st.builds(
    Body,
    rise_c_per_w=st.floats(2, 9),
    heat_s=st.floats(150, 900),
    motors_w=st.floats(0, 40),
    battery_wh=st.sampled_from([0.0, 20.0, 100.0]),
)


def require_kept(found: Week, days: list[Plan], budgets: Budgets) -> None:
    for plan, record in zip(days, found.days, strict=True):
        used = record.used
        assert used.wall_s <= MARGIN * budgets.wall_s_per_night
        assert used.processor_s <= MARGIN * budgets.processor_s_per_day
        assert used.disk_bytes <= MARGIN * budgets.disk_bytes_per_day
        assert record.hottest_c <= MARGIN * budgets.temperature_c
        assert record.emptiest_percent >= budgets.battery_percent / MARGIN
        assert record.ended["slow"] <= budgets.nights_per_day
        if plan.origin is Origin.CHANNEL:
            # One that ran when the update came takes a moment to stop.
            ran_s = record.ran_s["fast"] + record.ran_s["medium"]
            assert ran_s <= decide.STOP_S + 1e-6
            assert record.ended["medium"] == 0


@settings(max_examples=6, deadline=None)
@given(st.lists(plans(), min_size=1, max_size=2), some_budgets, bodies, some_costs)
def test_no_budget_is_passed_in_two_random_days(
    days: list[Plan], budgets: Budgets, body: Body, costs: dict[str, Cost]
) -> None:
    require_kept(simulate(days, budgets, body, costs), days, budgets)


@pytest.mark.long
# Making an example smaller takes longer than the test may.
@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.lists(plans(), min_size=7, max_size=7), some_budgets, bodies, some_costs)
def test_no_budget_is_passed_in_many_random_weeks(
    days: list[Plan], budgets: Budgets, body: Body, costs: dict[str, Cost]
) -> None:
    require_kept(simulate(days, budgets, body, costs), days, budgets)


def test_night_after_a_day_without_an_episode_learns_what_the_morning_brought() -> None:
    found = simulate([Plan(), dataclasses.replace(Plan(), drives=()), Plan()])
    assert [record.ended["slow"] for record in found.days] == [1, 1, 1]
    assert found.days[1].ran_s["fast"] == 0
