"""Whether a new delta may count: a paired test on episodes it was not learned from.

Each judge is an episode with the error of its actions before and after. Judges are
looked at in two groups: of the tasks that were learned from, as the robot is now, and
the others, which must not be forgotten. A group passes when it is likely enough that
the new delta made it worse by no more than an allowance.

The test is the exact sign-flip test: if the delta did as much harm as is allowed, each
difference from that would be as likely to lie above as below. It needs no distribution
and no large number, and is the same on every machine.

Source: Fisher 1935, The Design of Experiments, section 21; Pitman 1937, Significance
tests which may be applied to samples from any populations.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge.control.local_delta import Evaluation

CONFIDENCE: Final = 0.9
"""That a group passes wrongly in one night of ten; the next guard is the trial in use
(`trial.py`), which then goes back."""
ALLOWED: Final = 0.2
"""Harm that is allowed, in half ranges of the action: this guard refuses what is far
off, and only the trial in use (`trial.py`) what is a little worse. Measured with the
default model, one night each: random deltas as large as their bounds change known
actions by 0.44 to 0.50 and are refused, of those half as large (0.17 to 0.27) some
pass, and a quarter as large (0.10 to 0.13) all do. Good nights after a sensor bias
change known actions by 0.02 to 0.044, with a spread: what the package drove with
success on the changed robot counts as known, and a good delta acts otherwise there.
With 0.05 allowed, two nights out of two that would have won back all were refused.
When packages taught a robot with a late arm, or with another gain, to move more slowly,
a night changed them by 0.15 and 0.14; now the control step turns such an arm back,
which no recorded episode shows, and this guard lets it pass. These are among the
changes that benchmarks report. A tighter allowance needs a measure by which a package
judges only what it means to imitate; the error of an action is none."""
ALLOWED_OF_PROVEN: Final = 0.05
"""Harm that is allowed to what was learned by a delta that has proved good in use:
the robot succeeds with it, so what comes after it must do much the same. In six nights
after such a delta (latency, the default model, taught to move slowly) the four that
kept its success raised this error by 0.001 to 0.004, and the two that lost some of it
by 0.112 and 0.121. Latency is among the changes that benchmarks report.
A robot that changes again fails, its delta goes back, and this no longer holds."""
FEWEST: Final = 2
"""Judges, without which nothing counts."""
_EXACT: Final = 14  # judges up to which every combination of signs is tried
_DRAWN: Final = 1 << _EXACT


@dataclass(frozen=True)
class Judge:
    """One episode that judges.

    Attributes:
        learned: whether it is of a task, and of the robot, that was learned from.
        before: its error before, in half ranges of the action.
        after: with the new delta.
    """

    learned: bool
    before: float
    after: float


@dataclass(frozen=True)
class Verdict:
    """Whether a delta may count, why, and what its record says of it."""

    accepted: bool
    reason: str
    evaluation: Evaluation


def judge_delta(
    judges: Sequence[Judge],
    *,
    must_help: bool = False,
    proven: bool = False,
    calibrates: bool = False,
) -> Verdict:
    """Judges a new delta.

    Args:
        judges: every judge there is.
        must_help: whether it must be better and not only no worse, as an old delta on
            a new package must.
        proven: whether the delta before it has proved good in use.
        calibrates: whether it is a calibration and nothing else. What one says of the
            arm acts in control alone, where no recorded episode shows it: if it changes
            nothing here it may count, and its trial in use decides.
    """
    if len(judges) < FEWEST:
        there = f"only {_count(len(judges))}" if judges else "no episode"
        reason = f"{there} to judge by; {FEWEST} are needed"
        return Verdict(False, reason, _evaluation(judges, 0.0))
    if not all(math.isfinite(one.after) for one in judges):
        reason = "its errors are not finite"
        return Verdict(False, reason, _evaluation(judges, 0.0))
    if must_help and calibrates and all(_harm(one) == 0.0 for one in judges):
        reason = "it changes no recorded action; its trial in use decides"
        return Verdict(True, reason, _evaluation(judges, 0.0))
    of_learned = 0.0 if must_help else ALLOWED_OF_PROVEN if proven else ALLOWED
    confidences, told = [], []
    for name, group in _group(judges).items():
        harms = [_harm(one) for one in group]
        allowed = of_learned if name == _LEARNED else ALLOWED
        confidence = compute_confidence(harms, allowed)
        confidences.append(confidence)
        told.append(_tell(name, group, allowed))
        if confidence < required_confidence(len(group)):
            needed = required_confidence(len(group))
            reason = (
                f"{name}: the error changes by {sum(harms) / len(harms):+.3f} on "
                f"average over {_count(len(group))}; that it grows by less than "
                f"{allowed:g} is {confidence:.0%} certain, and {needed:.0%} is needed"
            )
            return Verdict(False, reason, _evaluation(judges, confidence))
    evaluation = _evaluation(judges, min(confidences))
    fewest = min(map(len, _group(judges).values()))
    most = 1.0 - 0.5**fewest
    reason = f"{'; '.join(told)}; {evaluation.confidence:.0%} certain"
    if evaluation.confidence < CONFIDENCE and evaluation.confidence == most:
        reason += f", the most that {_count(fewest)} can show"
    if must_help and not evaluation.error_after < evaluation.error_before:
        return Verdict(False, f"it does not help: {reason}", evaluation)
    return Verdict(True, reason, evaluation)


def required_confidence(count: int) -> float:
    """The confidence that so many judges must give.

    Two judges cannot give more than 3/4, nor three more than 7/8; they must all agree.
    """
    return min(CONFIDENCE, 1.0 - 0.5**count)


def compute_confidence(harms: Sequence[float], allowed: float = 0.0) -> float:
    """How sure it is that the mean harm is below what is allowed, from 0 to 1.

    Args:
        harms: error after less error before of each judge.
        allowed: harm that is accepted.
    """
    differences = np.asarray(harms, np.float64) - allowed
    size = len(differences)
    if size <= _EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=size)))
    else:
        # Always the same ones, so that a verdict can be repeated.
        random = np.random.default_rng(size)
        signs = random.choice((1.0, -1.0), (_DRAWN, size))
        signs[0] = 1.0
    flipped = signs @ np.abs(differences)
    # Rounding must not part what is equal.
    found = differences.sum() + 1e-12 * np.abs(differences).sum()
    return float(1.0 - np.mean(flipped <= found))


_LEARNED, _OTHERS = "what was learned", "what was known"


def _group(judges: Sequence[Judge]) -> dict[str, list[Judge]]:
    groups = {
        _LEARNED: [one for one in judges if one.learned],
        _OTHERS: [one for one in judges if not one.learned],
    }
    return {name: group for name, group in groups.items() if group}


def _tell(name: str, group: Sequence[Judge], allowed: float) -> str:
    found = _evaluation(group, 0.0)
    return (
        f"{name}: mean error {found.error_before:.3f} before and "
        f"{found.error_after:.3f} after over {_count(len(group))}, at most "
        f"{found.error_before + allowed:.3f} allowed"
    )


def _count(episodes: int) -> str:
    return f"{episodes} episode{'' if episodes == 1 else 's'}"


def _harm(judge: Judge) -> float:
    """A judge whose error before is not finite was broken without the delta."""
    return judge.after - judge.before if math.isfinite(judge.before) else 0.0


def _evaluation(judges: Sequence[Judge], confidence: float) -> Evaluation:
    def mean(errors: Sequence[float]) -> float:
        finite = [error for error in errors if math.isfinite(error)]
        return sum(finite) / len(finite) if finite else 0.0

    return Evaluation(
        episodes=len(judges),
        error_before=mean([one.before for one in judges]),
        error_after=mean([one.after for one in judges]),
        confidence=confidence,
    )
