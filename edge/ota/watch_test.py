"""Each row of the table, and how often chance is taken for a bad package."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from edge.ota import watch
from edge.ota.watch import Counts, Rules, Verdict, judge

RULES = Rules()
GOOD = Counts(episodes=100, judged=100, successes=95, steps=8000)


def run(number: int, **changes: int) -> Counts:
    """Counts of so many good episodes, with changes."""
    counts = Counts(episodes=number, judged=number, successes=number, steps=80 * number)
    return replace(counts, **changes)


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (run(0, starts_in_a_row=4), "3 starts in a row that died before one did"),
        (run(4, crashes=2), "2 crashes in 6 episodes, 0 in 100 before"),
        (run(5, stopped=3), "3 of 5 episodes ended by a stop rule, 0 of 100 before"),
        (run(5, successes=2), "3 of 5 episodes failed, 5 of 100 before"),
        (run(5, late_steps=5), "1.2% of its steps were late, 0.0% before"),
    ],
)
def test_package_that_is_worse_than_the_one_before_falls_back(
    after: Counts, reason: str
) -> None:
    found = judge(GOOD, after, RULES)
    assert (found.verdict, found.reason) == (Verdict.FALL_BACK, reason)


@pytest.mark.parametrize(
    "after",
    [
        run(0, starts_in_a_row=3),
        run(19, crashes=1),
        run(19, stopped=2),
        run(1, stopped=1, successes=0),
        run(2, late_steps=100),
        run(19, successes=17),
    ],
)
def test_package_is_watched_until_its_trial_is_over(after: Counts) -> None:
    found = judge(GOOD, after, RULES)
    assert found.verdict is Verdict.WATCH
    assert found.reason == f"{after.episodes} of 20 episodes of its trial"


@pytest.mark.parametrize("before", [GOOD, Counts()])
def test_package_with_good_episodes_stays(before: Counts) -> None:
    found = judge(before, run(20, crashes=1, stopped=1), RULES)
    went = "as well as before" if before.episodes else "well"
    assert (found.verdict, found.reason) == (Verdict.COMMIT, f"20 episodes went {went}")
    assert judge(before, run(3), Rules(episodes=3)).verdict is Verdict.COMMIT


def test_trial_that_went_on_beyond_its_length_tells_how_many_episodes_it_had() -> None:
    assert judge(GOOD, run(21), RULES).reason == "21 episodes went as well as before"


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (run(1, crashes=3), "3 crashes in 4 episodes"),
        (run(5, stopped=4), "4 of 5 episodes ended by a stop rule"),
        (run(5, late_steps=5), "1.2% of its steps were late"),
        (run(0, by_people=20), "people stopped 20 of 20 episodes"),
    ],
)
def test_nothing_is_said_of_a_package_before_of_which_nothing_was_counted(
    after: Counts, reason: str
) -> None:
    assert judge(Counts(), after, RULES).reason == reason


def test_package_that_people_stop_each_time_falls_back_when_its_trial_is_over() -> None:
    for stopped in range(20):
        after = run(2, by_people=stopped)
        assert judge(GOOD, after, RULES).verdict is Verdict.WATCH
    found = judge(GOOD, run(2, by_people=20), RULES)
    assert (found.verdict, found.reason) == (
        Verdict.FALL_BACK,
        "people stopped 20 of 22 episodes, 0 of 100 before",
    )
    assert judge(Counts(), run(0, by_people=20), RULES).verdict is Verdict.FALL_BACK


def test_package_that_people_stop_as_they_did_the_one_before_stays() -> None:
    before = run(10, by_people=90)
    assert judge(before, run(2, by_people=19), RULES).verdict is Verdict.WATCH
    found = judge(before, run(2, by_people=20), RULES)
    assert (found.verdict, found.reason) == (
        Verdict.COMMIT,
        "people stopped 20 of 22 episodes, 90 of 100 before",
    )


def test_package_is_not_blamed_for_what_the_one_before_did_as_well() -> None:
    bad = Counts(
        episodes=40,
        judged=40,
        successes=10,
        steps=4000,
        late_steps=400,
        stopped=20,
        crashes=12,
    )
    same = run(20, successes=4, stopped=11, crashes=6, late_steps=250)
    assert judge(bad, same, RULES).verdict is Verdict.COMMIT
    assert judge(GOOD, same, RULES).verdict is Verdict.FALL_BACK


# Of a robot that has changed: 188 of 190 with a delta, and as it was made 3 of 12 fail.
LEARNED = Counts(
    episodes=190, judged=190, successes=188, with_delta=60, successes_with_delta=59
)


def test_package_that_has_learned_nothing_yet_is_not_blamed_for_the_change() -> None:
    bare = Counts(episodes=12, judged=12, successes=9)
    assert judge(LEARNED, bare, RULES).verdict is Verdict.WATCH
    # The one before had learned nothing either: this one is worse.
    unlearned = replace(LEARNED, with_delta=0, successes_with_delta=0)
    assert judge(unlearned, bare, RULES).verdict is Verdict.FALL_BACK
    over = replace(bare, episodes=20, judged=20, successes=14)
    found = judge(LEARNED, over, RULES)
    assert found.verdict is Verdict.COMMIT
    assert found.reason.endswith(
        "; failures were not compared, since it had no delta yet"
    )


def test_package_that_fails_with_a_delta_as_well_falls_back() -> None:
    learned = Counts(
        episodes=19, judged=19, successes=13, with_delta=9, successes_with_delta=5
    )
    found = judge(LEARNED, learned, RULES)
    assert found.verdict is Verdict.FALL_BACK
    assert found.reason == "4 of 9 episodes with a delta failed, 1 of 60 before"


def test_first_package_falls_back_for_stop_rules_but_not_for_hard_tasks() -> None:
    hard = run(20, successes=0)
    assert judge(Counts(), hard, RULES).verdict is Verdict.COMMIT
    assert judge(replace(GOOD, judged=9, successes=9), hard, RULES).verdict is (
        Verdict.COMMIT
    )
    assert judge(Counts(), run(4, stopped=4), RULES).verdict is Verdict.FALL_BACK


def test_robot_that_cannot_tell_success_is_judged_by_the_rest() -> None:
    after = Counts(episodes=20, steps=1600)
    assert judge(GOOD, after, RULES).verdict is Verdict.COMMIT
    assert judge(replace(GOOD, judged=0, successes=0), after, RULES).verdict is (
        Verdict.COMMIT
    )


def ends(draw: random.Random, before: Counts, stop: float, crash: float) -> Verdict:
    """Plays one trial, judged after each event as the robot does."""
    after = Counts()
    while True:
        if draw.random() < crash:
            after = replace(after, crashes=after.crashes + 1)
        else:
            stopped = draw.random() < stop
            after = replace(
                after,
                episodes=after.episodes + 1,
                steps=after.steps + 80,
                stopped=after.stopped + stopped,
            )
        found = judge(before, after, RULES)
        if found.verdict is not Verdict.WATCH:
            return found.verdict


def share_of_falls(play: Callable[[random.Random], Verdict]) -> float:
    trials = 500
    draw = random.Random(7)
    return sum(play(draw) is Verdict.FALL_BACK for _ in range(trials)) / trials


@pytest.mark.parametrize("stop", [0.0, 0.02, 0.1, 0.3])
@pytest.mark.parametrize("crash", [0.0, 0.02, 0.1])
def test_package_as_good_as_the_one_before_falls_back_in_2_of_100_trials_at_most(
    stop: float, crash: float
) -> None:
    ended = 200
    crashes = round(ended * crash / (1 - crash))
    before = Counts(
        episodes=ended, steps=80 * ended, stopped=round(ended * stop), crashes=crashes
    )
    assert share_of_falls(lambda draw: ends(draw, before, stop, crash)) <= 0.02


def test_package_that_a_stop_rule_ends_in_every_third_episode_is_caught() -> None:
    assert share_of_falls(lambda draw: ends(draw, GOOD, 1 / 3, 0.0)) >= 0.9
    assert share_of_falls(lambda draw: ends(draw, GOOD, 0.0, 1 / 3)) >= 0.9


def test_probability_of_a_count_is_that_of_the_binomial_distribution() -> None:
    assert watch._tail(0, 5, 0.3) == pytest.approx(1.0)
    assert watch._tail(5, 5, 0.3) == pytest.approx(0.3**5)
    assert watch._tail(2, 3, 0.5) == pytest.approx(0.5)
    assert watch._tail(3, 3, 1.0) == 1.0
