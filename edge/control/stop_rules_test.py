import numpy as np
import pytest

from edge.control.stop_rules import (
    ADVICE,
    LATE_WINDOW,
    Lateness,
    StepFacts,
    StopRules,
    Workspace,
    find_broken,
)
from edge.errors import SafetyConfigError
from rlds.spec import KNOWN_TAGS, StopRule

MINIMUM = np.array([-1.0, 0.0], np.float32)
MAXIMUM = np.array([1.0, 10.0], np.float32)
BOX = Workspace(channels=(2, 0), minimum=(0.0, -0.5), maximum=(1.0, 0.5))
ALL = StopRules(
    action_limit=0.5, action_rate=0.25, workspace=BOX, late_in_a_row=3, late_share=0.1
)
INSIDE = (0.0, 99.0, 0.5)


def find(
    rules: StopRules = ALL,
    *,
    state: tuple[float, ...] = INSIDE,
    wanted: tuple[float, ...] = (0.0, 5.0),
    previous: tuple[float, ...] | None = None,
    lateness: Lateness | None = None,
    stop_key: bool = False,
) -> StopRule | None:
    before = None if previous is None else np.asarray(previous, np.float32)
    facts = StepFacts(
        state=np.asarray(state, np.float32),
        wanted=np.asarray(wanted, np.float64),
        previous=before,
        lateness=lateness or Lateness(),
        stop_key=stop_key,
    )
    return find_broken(rules, MINIMUM, MAXIMUM, facts)


def late(*steps: bool) -> Lateness:
    lateness = Lateness()
    for step in steps:
        lateness = lateness.after(step)
    return lateness


def test_step_within_all_rules_breaks_none() -> None:
    assert find(previous=(0.4, 3.0)) is None
    assert find(wanted=(2.0, -5.0)) is None, "half a range beyond a limit is allowed"


@pytest.mark.parametrize(
    "wanted", [(2.01, 5.0), (-2.01, 5.0), (0.0, 15.1), (0.0, -5.1), (1e300, 5.0)]
)
def test_action_far_beyond_its_limits_stops(wanted: tuple[float, ...]) -> None:
    assert find(wanted=wanted) is StopRule.ACTION_LIMIT


def test_action_far_from_the_one_before_stops_and_the_first_has_none_before() -> None:
    assert find(wanted=(0.6, 5.0), previous=(0.0, 5.0)) is StopRule.ACTION_RATE
    assert find(wanted=(0.0, 7.6), previous=(0.0, 5.0)) is StopRule.ACTION_RATE
    assert find(wanted=(0.5, 7.5), previous=(0.0, 5.0)) is None
    assert find(wanted=(1.0, 10.0), previous=None) is None


@pytest.mark.parametrize(
    "state",
    [(0.51, 0.0, 0.5), (-0.51, 0.0, 0.5), (0.0, 0.0, 1.01), (0.0, 0.0, -0.01)],
)
def test_robot_outside_its_workspace_stops(state: tuple[float, ...]) -> None:
    assert find(state=state) is StopRule.WORKSPACE
    assert find(StopRules(), state=state) is None


@pytest.mark.parametrize("position", [np.nan, np.inf])
def test_position_that_is_not_a_number_is_outside_the_workspace(
    position: float,
) -> None:
    assert find(state=(position, 0.0, 0.5)) is StopRule.WORKSPACE


def test_action_that_is_not_finite_stops_without_any_rule() -> None:
    assert find(StopRules(), wanted=(np.nan, 0.0)) is StopRule.NON_FINITE_ACTION
    assert find(StopRules(), wanted=(np.inf, 0.0)) is StopRule.NON_FINITE_ACTION


def test_late_steps_in_a_row_stop_and_one_in_time_begins_anew() -> None:
    rules = StopRules(late_in_a_row=3)
    assert find(rules, lateness=late(True, True)) is None
    assert find(rules, lateness=late(True, True, False, True, True)) is None
    assert find(rules, lateness=late(True, True, True)) is StopRule.LATE_IN_A_ROW


def test_share_of_late_steps_counts_the_last_hundred() -> None:
    rules = StopRules(late_share=0.1)
    nine = late(*[True, False] * 9)
    assert find(rules, lateness=nine) is None
    assert find(rules, lateness=nine.after(True)) is StopRule.LATE_SHARE
    forgotten = nine
    for _ in range(LATE_WINDOW):
        forgotten = forgotten.after(False)
    assert forgotten == Lateness()
    assert find(rules, lateness=forgotten.after(True)) is None


def test_stop_key_comes_before_every_other_rule() -> None:
    found = find(wanted=(np.nan, 0.0), state=(9.0, 0.0, 0.0), stop_key=True)
    assert found is StopRule.STOP_KEY


def test_robot_that_exists_stops_for_lateness_and_a_simulated_one_need_not() -> None:
    assert StopRules().for_robot(simulated=True) == StopRules()
    real = StopRules(workspace=BOX).for_robot(simulated=False)
    assert real.workspace == BOX
    assert find(real, lateness=late(*[True] * 9)) is None
    assert find(real, lateness=late(*[True] * 10)) is StopRule.LATE_IN_A_ROW
    every_fourth = late(*[True, False, False, False] * 20)
    assert find(real, lateness=every_fourth) is StopRule.LATE_SHARE
    assert ALL.for_robot(simulated=False) == ALL


def test_tag_of_each_rule_may_leave_the_robot() -> None:
    tags = {rule.tag for rule in StopRule}
    assert len(tags) == len(StopRule) == 8
    assert tags <= KNOWN_TAGS


@pytest.mark.parametrize(
    ("channels", "minimum", "maximum", "reason"),
    [
        ((), (), (), "as many channels as minima"),
        ((0, 1), (0.0,), (1.0,), "as many channels as minima"),
        ((-1,), (0.0,), (1.0,), "counted from 0"),
        ((1, 1), (0.0, 0.0), (1.0, 1.0), "different channels"),
        ((0,), (1.0,), (1.0,), "minimum below maximum"),
        ((0,), (float("nan"),), (1.0,), "minimum below maximum"),
    ],
)
def test_workspace_without_sides_is_refused(
    channels: tuple[int, ...],
    minimum: tuple[float, ...],
    maximum: tuple[float, ...],
    reason: str,
) -> None:
    with pytest.raises(SafetyConfigError, match=reason):
        Workspace(channels, minimum, maximum)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("action_limit", 0.0),
        ("action_rate", float("inf")),
        ("late_in_a_row", 0),
        ("late_share", 1.5),
    ],
)
def test_rule_that_can_never_or_always_fire_is_refused(name: str, value: float) -> None:
    with pytest.raises(SafetyConfigError, match=f"a positive {name}"):
        StopRules(**{name: value})  # type: ignore[arg-type]  # a wrong one


def test_person_is_told_what_to_do_about_every_rule() -> None:
    assert set(ADVICE) == set(StopRule)
