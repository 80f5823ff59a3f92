"""A delta in use becomes the last good one, or goes back."""

import numpy as np
import pytest

from edge.loops.trial import ENOUGH, Outcome, Standing, judge_use

DELTA, GOOD, BAD = "d" * 64, "a" * 64, "b" * 64


def outcomes(
    delta: str, successes: str, task: str = "reach", stop_rules: int = 0
) -> list[Outcome]:
    """One outcome for each letter: `+` success, `-` failure, `?` nobody can tell."""
    told = {"+": True, "-": False, "?": None}
    return [
        Outcome(f"{delta[:1]}{i}", task, delta, told[one], stop_rules)
        for i, one in enumerate(successes)
    ]


def test_delta_that_was_not_driven_is_on_trial() -> None:
    assert judge_use(outcomes("", "++++"), DELTA)[0] is Standing.ON_TRIAL


def test_delta_that_does_as_well_as_before_becomes_good_after_enough_episodes() -> None:
    before = outcomes("", "+++-" * 5)
    for count in range(1, ENOUGH):
        found = judge_use([*before, *outcomes(DELTA, "+" * count)], DELTA)
        assert found[0] is Standing.ON_TRIAL
    found = judge_use([*before, *outcomes(DELTA, "+" * ENOUGH)], DELTA)
    assert found == (
        Standing.GOOD,
        f"{ENOUGH} of {ENOUGH} episodes succeeded, no fewer than before",
    )


def test_delta_that_fails_where_success_was_usual_is_bad_at_once() -> None:
    before = outcomes("", "+++++++++-" * 2)
    standing, reason = judge_use([*before, *outcomes(DELTA, "-----")], DELTA)
    assert standing is Standing.BAD
    assert reason == "0 of 5 episodes succeeded, fewer than before"


def test_failures_at_a_task_that_failed_before_say_nothing() -> None:
    before = outcomes("", "+" * 20) + outcomes("", "-" * 20, task="push")
    found = judge_use([*before, *outcomes(DELTA, "-----", task="push")], DELTA)
    assert found[0] is Standing.ON_TRIAL


def test_stop_rule_that_never_fired_before_makes_a_delta_bad() -> None:
    before = outcomes("", "+" * 20)
    fired = outcomes(DELTA, "++") + outcomes(DELTA, "+", stop_rules=1)
    standing, reason = judge_use([*before, *fired], DELTA)
    assert standing is Standing.BAD
    assert reason == "stop rules fired in 1 of 3 episodes"
    often = outcomes("", "+" * 20, stop_rules=1)
    assert judge_use([*often, *fired], DELTA)[0] is Standing.ON_TRIAL


def test_delta_that_was_good_for_long_can_still_turn_bad() -> None:
    before = outcomes("", "+++-" * 5)
    good = [*before, *outcomes(DELTA, "+" * 50)]
    assert judge_use(good, DELTA)[0] is Standing.GOOD
    assert judge_use([*good, *outcomes(DELTA, "-" * 6)], DELTA)[0] is Standing.BAD


def test_outcomes_of_a_bad_delta_are_not_the_baseline() -> None:
    past = [*outcomes(GOOD, "+" * 20), *outcomes(BAD, "-" * 20)]
    found = judge_use([*past, *outcomes(DELTA, "-----")], DELTA, fallback=GOOD)
    assert found[0] is Standing.BAD


def test_changed_robot_is_not_held_to_what_it_did_before_it_changed() -> None:
    before = outcomes("", "+" * 36) + outcomes("", "--+-")
    better = "++-+" * 6
    assert judge_use([*before, *outcomes(DELTA, better)], DELTA)[0] is Standing.GOOD
    assert judge_use([*before[:36], *outcomes(DELTA, better)], DELTA)[0] is Standing.BAD


@pytest.mark.parametrize("before", ["", "?" * 20])
def test_delta_that_nobody_judges_is_good_once_it_was_driven_enough(
    before: str,
) -> None:
    past = outcomes("", before)
    found = judge_use([*past, *outcomes(DELTA, "?" * (ENOUGH - 1))], DELTA)
    assert found == (Standing.ON_TRIAL, "9 episodes that nobody judged")
    for count in (ENOUGH, 13, 100):
        found = judge_use([*past, *outcomes(DELTA, "?" * count)], DELTA)
        assert found == (
            Standing.GOOD,
            f"{count} episodes that nobody judged, no more stop rules than before",
        )
    fired = [*past, *outcomes(DELTA, "?" * ENOUGH), *outcomes(DELTA, "?", "push", 1)]
    assert judge_use(fired, DELTA)[0] is Standing.BAD


def test_episodes_that_nobody_judged_weigh_nothing_beside_those_that_were() -> None:
    before = outcomes("", "+++++++++-" * 2)
    found = judge_use([*before, *outcomes(DELTA, "?-" * 5)], DELTA)
    assert found == (
        Standing.BAD,
        "0 of 5 episodes succeeded, 5 nobody judged, fewer than before",
    )
    # A robot that can tell was switched off in the middle of these.
    found = judge_use([*before, *outcomes(DELTA, "?" * 15)], DELTA)
    assert found[0] is Standing.ON_TRIAL
    found = judge_use([*before, *outcomes(DELTA, "?+" * ENOUGH)], DELTA)
    assert found[0] is Standing.GOOD
    # What was not judged before is no failure to be measured against.
    unjudged = outcomes("", "?" * 20)
    few = judge_use([*unjudged, *outcomes(DELTA, "-----")], DELTA)
    assert few[0] is Standing.ON_TRIAL


@pytest.mark.parametrize("rate", [0.5, 0.8, 0.95])
def test_equal_delta_is_seldom_called_bad_and_a_broken_one_nearly_always(
    rate: float,
) -> None:
    random = np.random.default_rng(3)

    def draw(share: float, count: int) -> str:
        return "".join("+" if x < share else "-" for x in random.random(count))

    def count_bad(share: float) -> int:
        return sum(
            judge_use(
                [*outcomes("", draw(rate, 40)), *outcomes(DELTA, draw(share, 20))],
                DELTA,
            )[0]
            is Standing.BAD
            for _ in range(200)
        )

    assert count_bad(rate) <= 16
    assert count_bad(max(0.0, rate - 0.5)) >= 120
