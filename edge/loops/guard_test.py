"""A delta counts only if episodes it was not learned from do not get worse."""

import math

import numpy as np
import pytest

from edge.loops import guard
from edge.loops.guard import (
    ALLOWED,
    Judge,
    compute_confidence,
    judge_delta,
)


def judges(before: float, after: list[float], learned: bool = True) -> list[Judge]:
    return [Judge(learned, before, x) for x in after]


def test_delta_that_helps_every_judge_is_accepted() -> None:
    verdict = judge_delta(judges(0.3, [0.1] * 4))
    assert verdict.accepted
    assert verdict.evaluation.episodes == 4
    assert verdict.evaluation.error_before == pytest.approx(0.3)
    assert verdict.evaluation.error_after == pytest.approx(0.1)
    assert verdict.evaluation.confidence == 1 - 1 / 16
    assert verdict.reason == (
        "what was learned: mean error 0.300 before and 0.100 after over 4 episodes, "
        "at most 0.500 allowed; 94% certain"
    )


def test_confidence_of_few_judges_is_said_to_be_the_most_that_they_can_show() -> None:
    verdict = judge_delta([Judge(True, 0.3, 0.1), *judges(0.1, [0.1] * 4, False)])
    assert verdict.accepted
    assert verdict.reason == (
        "what was learned: mean error 0.300 before and 0.100 after over 1 episode, "
        "at most 0.500 allowed; what was known: mean error 0.100 before and 0.100 "
        "after over 4 episodes, at most 0.300 allowed; 50% certain, the most that 1 "
        "episode can show"
    )


def test_refusal_says_how_certain_it_is_and_would_have_to_be() -> None:
    verdict = judge_delta(judges(0.3, [0.1, 0.9]))
    assert verdict.reason == (
        "what was learned: the error changes by +0.200 on average over 2 episodes; "
        "that it grows by less than 0.2 is 25% certain, and 75% is needed"
    )


def test_delta_that_changes_nothing_does_no_harm() -> None:
    assert judge_delta(judges(0.3, [0.3] * 4)).accepted


def test_delta_that_must_help_and_changes_nothing_is_refused_unless_it_calibrates() -> (
    None
):
    assert not judge_delta(judges(0.3, [0.3] * 4), must_help=True).accepted
    found = judge_delta(judges(0.3, [0.3] * 4), must_help=True, calibrates=True)
    assert found.accepted
    assert found.reason == "it changes no recorded action; its trial in use decides"
    harmful = judges(0.3, [0.31] * 4)
    assert not judge_delta(harmful, must_help=True, calibrates=True).accepted
    assert judge_delta(judges(0.3, [0.1] * 4), must_help=True).accepted


def test_help_on_what_was_learned_does_not_pay_for_harm_to_the_others() -> None:
    helped = judges(0.3, [0.0] * 10)
    harmed = judges(0.0, [0.4] * 4, learned=False)
    verdict = judge_delta([*helped, *harmed])
    assert not verdict.accepted
    assert verdict.reason.startswith("what was known: the error changes by +0.400")
    assert judge_delta(helped).accepted


def test_small_change_of_what_was_known_is_allowed() -> None:
    known = judges(0.0, [ALLOWED / 2] * 4, learned=False)
    assert judge_delta([*judges(0.3, [0.1] * 4), *known]).accepted


def test_delta_after_a_proven_one_must_do_much_the_same_where_that_was_learned() -> (
    None
):
    def accepts(to_learned: float, to_known: float, proven: bool) -> bool:
        learned = judges(0.02, [0.02 + to_learned] * 8)
        known = judges(0.15, [0.15 + to_known] * 6, learned=False)
        return judge_delta([*learned, *known], proven=proven).accepted

    assert accepts(0.11, -0.13, proven=False)
    assert not accepts(0.11, -0.13, proven=True)
    assert accepts(0.01, ALLOWED / 2, proven=True)


def test_two_judges_must_agree_and_one_is_not_enough() -> None:
    assert judge_delta(judges(0.3, [0.1, 0.1])).accepted
    assert not judge_delta(judges(0.3, [0.1, 0.9])).accepted
    verdict = judge_delta(judges(0.3, [0.0]))
    assert not verdict.accepted
    assert verdict.reason == "only 1 episode to judge by; 2 are needed"


def test_one_bad_judge_of_many_good_ones_does_not_refuse() -> None:
    assert judge_delta(judges(0.3, [0.1] * 9 + [0.4])).accepted


def test_help_on_average_that_might_be_chance_is_refused() -> None:
    assert not judge_delta(judges(0.3, [1.9, 0.35, 0.35, 0.0, 0.0])).accepted


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_error_that_is_not_finite_is_refused(bad: float) -> None:
    verdict = judge_delta(judges(0.3, [0.0] * 20 + [bad]))
    assert not verdict.accepted
    assert "not finite" in verdict.reason
    assert math.isfinite(verdict.evaluation.error_after)


def test_test_is_exact_for_few_and_repeats_for_many() -> None:
    assert compute_confidence([-1.0, -1.0, 1.0]) == 1 - 4 / 8
    many = list(np.random.default_rng(1).normal(-0.05, 1.0, 40))
    assert compute_confidence(many) == compute_confidence(many)


def test_harmful_deltas_pass_about_as_often_as_the_confidence_allows() -> None:
    random = np.random.default_rng(7)
    passed = sum(
        judge_delta(
            judges(1.0, list(1.0 + ALLOWED + random.normal(0, 0.1, 8)))
        ).accepted
        for _ in range(500)
    )
    assert passed / 500 == pytest.approx(1 - guard.CONFIDENCE, abs=0.04)
