"""Whether a delta that control drives with has proved good, or has to go back.

Every episode that the package drives is an outcome. Those with the new delta are
compared, one after the other, with what the same tasks came to before it; the test
decides as soon as it can. A delta that passes becomes the last good one.

An episode that nobody judged weighs nothing in that test. Where none ever is, a delta
is good once it was driven for enough episodes in which stop rules fired no more often
than before; nothing else can be known there.

Source: the sequential probability ratio test, Wald 1945, Sequential Tests of
Statistical Hypotheses, Annals of Mathematical Statistics 16; begun anew at 0, Page
1954, Continuous Inspection Schemes, Biometrika 41.
"""

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from base import text_forms

ENOUGH: Final = 10
"""Episodes that a good delta has to be driven for, whatever the test says before."""
WORSE_BY: Final = 0.25
"""A loss of success that must be noticed: of a rate of 80 %, 55 %."""
WRONG: Final = 0.02
"""Chance of calling a good delta bad in one trial."""
BOUND: Final = math.log((1 - WRONG) / WRONG)
"""Evidence at which it is bad: five failures in a row where 80 % succeeded before."""
REMEMBERED: Final = 40
"""Outcomes before the delta that it is compared with: the latest. Older ones may be of
a robot that was not the same."""
LATEST: Final = 5
"""Outcomes of a task just before the delta. They count alone if so few successes are
no chance: a robot that has changed must not be held to what it did before that."""
CHANCE: Final = 0.05
"""Probability below which fewer successes are no chance."""
MOST_OWN: Final = 100
"""Outcomes with the delta that are looked at: the latest."""
_LEAST_RATE, _MOST_RATE = 0.05, 0.95


class Standing(enum.StrEnum):
    """What is known of the delta that control drives with."""

    ON_TRIAL = "on trial"
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True)
class Outcome:
    """How one episode that the package drove ended.

    Attributes:
        digest: of the episode.
        task: its task.
        delta: digest of the delta that it was driven with; "" for none.
        success: whether it ended well; None if nobody can tell.
        stop_rules: steps at which a stop rule fired, without a person's stop key.
    """

    digest: str
    task: str
    delta: str
    success: bool | None
    stop_rules: int


def judge_use(
    outcomes: Sequence[Outcome], delta: str, fallback: str = ""
) -> tuple[Standing, str]:
    """Judges a delta by the episodes that were driven with it; says why on one line.

    Args:
        outcomes: of the package on this robot, in the order in which they happened.
        delta: digest of the delta.
        fallback: digest of the delta that the robot would go back to; "" for none.
    """
    own = [one for one in outcomes if one.delta == delta]
    if not own:
        return Standing.ON_TRIAL, "not driven yet"
    others = [one for one in outcomes[: outcomes.index(own[0])] if one.delta != delta]
    # What a bad delta did in between is no measure for this one.
    before = [one for one in others if one.delta == fallback] or others
    before, own = before[-REMEMBERED:], own[-MOST_OWN:]
    judged = [one for one in own if one.success is not None]
    judged_before = [one for one in before if one.success is not None]
    told = _tell(len(judged), _count_successes(judged), len(own))
    recent = own[-REMEMBERED:]
    stopped = sum(one.stop_rules > 0 for one in recent)
    stopped_before = sum(
        one.stop_rules > 0 for one in before[-max(len(recent), ENOUGH) :]
    )
    if stopped > stopped_before:
        return Standing.BAD, f"stop rules fired in {stopped} of {len(recent)} episodes"
    evidence = 0.0
    for one in judged:
        # Begun anew at 0, so that a delta that was good for long can still turn bad.
        evidence = max(0.0, evidence + _weigh(one, judged_before))
        if evidence >= BOUND:
            return Standing.BAD, f"{told}, fewer than before"
    # Where most episodes are judged, one that is not was broken off.
    judges = 2 * (len(judged) + len(judged_before)) >= len(own) + len(before)
    if len(judged if judges else own) >= ENOUGH and evidence < BOUND / 2:
        than = "no fewer than before" if judged else "no more stop rules than before"
        return Standing.GOOD, f"{told}, {than}"
    return Standing.ON_TRIAL, told


def _tell(judged: int, successes: int, driven: int) -> str:
    if not judged:
        return f"{text_forms.count(driven, 'episode')} that nobody judged"
    if judged == driven:
        return f"{successes} of {driven} episodes succeeded"
    unknown = driven - judged
    return f"{successes} of {judged} episodes succeeded, {unknown} nobody judged"


def _weigh(outcome: Outcome, before: Sequence[Outcome]) -> float:
    """Logarithm of how much likelier the outcome is if the delta makes things worse."""
    same = [one for one in before if one.task == outcome.task] or before
    latest = same[-LATEST:]
    rate = _rate(latest if _is_no_chance(latest, _rate(same)) else same)
    rate = min(max(rate, _LEAST_RATE + WORSE_BY), _MOST_RATE)
    worse = rate - WORSE_BY
    if outcome.success:
        return math.log(worse / rate)
    return math.log((1 - worse) / (1 - rate))


def _is_no_chance(outcomes: Sequence[Outcome], rate: float) -> bool:
    """Whether so few successes are improbable at a rate, each drawn by itself."""
    count, most = len(outcomes), _count_successes(outcomes)
    probable = sum(
        math.comb(count, k) * rate**k * (1 - rate) ** (count - k)
        for k in range(most + 1)
    )
    return probable < CHANCE


def _rate(outcomes: Sequence[Outcome]) -> float:
    """Success by the rule of succession: a rate of nothing is a half."""
    return (_count_successes(outcomes) + 1) / (len(outcomes) + 2)


def _count_successes(outcomes: Sequence[Outcome]) -> int:
    return sum(one.success is True for one in outcomes)
