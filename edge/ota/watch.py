"""Whether a package on trial stays, decided without IO from what was counted.

A package that becomes active is on trial for its first episodes. What is counted of
them is held against what was counted of the package before it on the same robot:

| Counted | Falls back when |
|---|---|
| starts in a row that died before an episode ended | there are more than 3 |
| crashes: the driving process died, the machine went on | too many for chance |
| episodes that a stop rule ended | too many for chance |
| episodes that failed, where the robot can tell (see below) | too many for chance |
| steps whose action was late | more than 1 %, and more than twice as many as before |
| as many episodes as the trial has that a person stopped | too many for chance |
| none of these, and the episodes of the trial are over | it does not: it stays |

"Too many for chance": at least 2 (crashes) or 3, and a package that is as good as the
one before would have so many in 2 of 1,000 trials at most. How good that one is,
nobody knows exactly; so some imagined episodes count with its own (`_PRIOR`). They are
also what a first package is compared with, except for failures: only the package
before can tell how hard a robot's tasks are.

A robot that has changed and learned drives the package before with a delta, and the new
one without until it has slept. What it then fails at is the change's fault and not the
package's, so only episodes with a delta are compared there.

An episode that a person stopped counts in its own row only, since nobody knows why they
did. So that row waits until the trial would be over: people who stop the robot to go
past it are no fault of a package. Where they stopped the one before as often, the
package stays.

The first row holds for every package at every start, on trial or not: a package that
kills its process leaves nobody who could count (`start_count.py`).
"""

import enum
import math
from dataclasses import dataclass
from typing import Final

from base import text_forms

MOST_CRASHES: Final = 3
"""Starts in a row that may die: one may be bad luck, and a robot that falls back stays
with the older package until the next release."""
CHANCE: Final = 0.002
"""Largest probability at which a count is not put down to chance. It is asked after
each of 20 episodes and of three counts, and a robot that falls back needlessly waits
for a release; `watch_test.py` measures how rarely that happens."""
_PRIOR: Final = {"crashes": (1, 20), "stopped": (1, 10)}
"""Events and episodes that are imagined of the package before."""
_FEWEST: Final = {"crashes": 2, "stopped": 3, "failed": 3, "by_people": 1}
_JUDGED_BEFORE: Final = 10
"""Judged episodes of the package before without which failures mean nothing."""
_LATE_SHARE: Final = 0.01
_LATE_TIMES: Final = 2.0
_LATE_STEPS: Final = 200
"""Steps without which a share of late ones means nothing: with fewer, the pause of a
machine that has just started is more than 1 %."""


@dataclass(frozen=True)
class Counts:
    """What was counted of one package on one robot.

    Attributes:
        episodes: episodes that ended.
        judged: those of which the robot could tell whether the task was fulfilled.
        successes: those in which it was.
        with_delta: those of `judged` that were driven with a delta.
        successes_with_delta: those of `with_delta` in which the task was fulfilled.
        steps: control steps.
        late_steps: steps whose action was ready after its deadline.
        stopped: episodes that a stop rule ended.
        by_people: episodes that a person stopped, which are not among `episodes`.
        crashes: times the driving process died while the machine went on.
        starts_in_a_row: the newest starts in a row that died, or have not yet lived,
            until an episode ended.
    """

    episodes: int = 0
    judged: int = 0
    successes: int = 0
    steps: int = 0
    late_steps: int = 0
    stopped: int = 0
    by_people: int = 0
    with_delta: int = 0
    successes_with_delta: int = 0
    crashes: int = 0
    starts_in_a_row: int = 0


@dataclass(frozen=True)
class Rules:
    """What a trial needs.

    Attributes:
        episodes: episodes after which a package stays, and as many that people
            stopped after which its trial is over too. With 20, a package that a stop
            rule ends in one of three episodes is caught nine times of ten.
    """

    episodes: int = 20


class Verdict(enum.Enum):
    """What to do with a package on trial."""

    WATCH = "watch"
    COMMIT = "commit"
    FALL_BACK = "fall back"


@dataclass(frozen=True)
class Judgement:
    """A verdict and its reason, in one line."""

    verdict: Verdict
    reason: str


def judge(before: Counts, after: Counts, rules: Rules) -> Judgement:
    """Decides about a package on trial; see the table above.

    Args:
        before: what was counted of the package before it, up to its end; all zeros if
            there was none or nothing was counted.
        after: what was counted of the package on trial so far.
        rules: what a trial needs.
    """
    fault = (
        find_dead_starts(after.starts_in_a_row)
        or _find_crashes(before, after)
        or _find_stopped(before, after)
        or _find_failures(before, after)
        or _find_late_steps(before, after)
    )
    if fault is not None:
        return Judgement(Verdict.FALL_BACK, fault)
    if after.by_people >= rules.episodes > after.episodes:
        return _judge_stopped_by_people(before, after)
    if after.episodes < rules.episodes:
        done = f"{after.episodes} of {text_forms.count(rules.episodes, 'episode')}"
        return Judgement(Verdict.WATCH, f"{done} of its trial")
    # There may be more: episodes go on until somebody judges.
    reason = f"{text_forms.count(after.episodes, 'episode')} went "
    reason += "well" if before == Counts() else "as well as before"
    if before.with_delta and after.judged and not after.with_delta:
        reason += "; failures were not compared, since it had no delta yet"
    return Judgement(Verdict.COMMIT, reason)


def find_dead_starts(starts_in_a_row: int) -> str | None:
    """Returns why a package must not be started again; None if it may.

    Args:
        starts_in_a_row: starts of which none has lived until an episode ended, the one
            that is asking included.
    """
    if starts_in_a_row <= MOST_CRASHES:
        return None
    return f"{MOST_CRASHES} starts in a row that died before one did"


def _find_crashes(before: Counts, after: Counts) -> str | None:
    tried = after.episodes + after.crashes
    tried_before = before.episodes + before.crashes
    if not _is_too_many("crashes", after.crashes, tried, before.crashes, tried_before):
        return None
    return (
        f"{after.crashes} crashes in {text_forms.count(tried, 'episode')}"
        f"{_tell_before(before.crashes, 'in', tried_before)}"
    )


def _find_stopped(before: Counts, after: Counts) -> str | None:
    counted = (after.stopped, after.episodes, before.stopped, before.episodes)
    if not _is_too_many("stopped", *counted):
        return None
    return (
        f"{after.stopped} of {after.episodes} episodes ended by a stop rule"
        f"{_tell_before(before.stopped, 'of', before.episodes)}"
    )


def _find_failures(before: Counts, after: Counts) -> str | None:
    about = " with a delta" if before.with_delta else ""
    (judged, failed), (judged_before, failed_before) = (
        (one.with_delta, one.with_delta - one.successes_with_delta)
        if before.with_delta
        else (one.judged, one.judged - one.successes)
        for one in (after, before)
    )
    if judged_before < _JUDGED_BEFORE:
        return None
    if not _is_too_many("failed", failed, judged, failed_before, judged_before):
        return None
    return (
        f"{failed} of {judged} episodes{about} failed, "
        f"{failed_before} of {judged_before} before"
    )


def _find_late_steps(before: Counts, after: Counts) -> str | None:
    if after.steps < _LATE_STEPS:
        return None
    share = after.late_steps / after.steps
    known = before.steps >= _LATE_STEPS
    share_before = before.late_steps / before.steps if known else 0.0
    if share <= max(_LATE_SHARE, _LATE_TIMES * share_before):
        return None
    text = f"{share:.1%} of its steps were late"
    return f"{text}, {share_before:.1%} before" if known else text


def _judge_stopped_by_people(before: Counts, after: Counts) -> Judgement:
    """Ends a trial of which people let too few episodes end to judge by."""
    tried, tried_before = (one.episodes + one.by_people for one in (after, before))
    reason = (
        f"people stopped {after.by_people} of {tried} episodes"
        f"{_tell_before(before.by_people, 'of', tried_before)}"
    )
    counted = (after.by_people, tried, before.by_people, tried_before)
    too_many = _is_too_many("by_people", *counted)
    return Judgement(Verdict.FALL_BACK if too_many else Verdict.COMMIT, reason)


def _tell_before(events: int, of: str, tried: int) -> str:
    """Says what was counted of the package before; nothing if nothing was."""
    return f", {events} {of} {tried} before" if tried else ""


def _is_too_many(
    what: str, events: int, tried: int, events_before: int, tried_before: int
) -> bool:
    """Whether so many events cannot be chance if their share is as it was before."""
    if events < _FEWEST[what]:
        return False
    imagined, of = _PRIOR.get(what, (1, 2))
    share = (events_before + imagined) / (tried_before + of)
    return _tail(events, tried, min(share, 1.0)) <= CHANCE


def _tail(events: int, tried: int, share: float) -> float:
    """Probability of at least so many events in so many tries (binomial)."""
    return math.fsum(
        math.comb(tried, k) * share**k * (1.0 - share) ** (tried - k)
        for k in range(events, tried + 1)
    )
