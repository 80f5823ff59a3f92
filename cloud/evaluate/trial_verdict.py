"""The verdict on a package by supervised trials: gates of their own, named as such.

A person watched each trial and said how it went, so what counts here is success, of few
trials. Every interval is exact (`release.paired_trials`). What the person left out or
broke off may hide failures: too much of it leaves the verdict open.
"""

from __future__ import annotations

import dataclasses

from cloud.evaluate.verdict import Finding, Gates, Verdict, at_most
from release import paired_trials, trials
from release.trials import CANDIDATE, TrialsRecord

GATE = "trials on the robot"
"""What the name of every gate of this file begins with."""


@dataclasses.dataclass(frozen=True)
class TrialGates:
    """What a package must show in trials on the robot itself.

    Attributes:
        minimum_trial_success: success in the trials, a share of 0 to 1 that the exact
            95 % interval must lie above.
        trial_margin: how much lower success in the trials may be than that of the
            package that it is compared with, as a share of 0 to 1.
        maximum_trials_not_counted: trials that were left out or broken off, as a share
            of 0 to 1 of all.
    """

    minimum_trial_success: float = 0.60
    trial_margin: float = trials.MARGIN
    maximum_trials_not_counted: float = 0.20

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{field.name}: expected a share in 0..1, got {value}")


@dataclasses.dataclass(frozen=True)
class TrialBaseline:
    """What trials were to be compared with.

    Attributes:
        package_digest: digest of the package now on the channel; None if nothing says
            which it is.
        is_first: whether the channel has no package yet.
    """

    package_digest: str | None
    is_first: bool


def find(
    record: TrialsRecord,
    gates: Gates,
    trial_gates: TrialGates,
    baseline: TrialBaseline,
    signer: str | None,
) -> list[Finding]:
    """Returns the outcome of every gate.

    Args:
        record: the record.
        gates: what a package must show; of these the safety violations.
        trial_gates: what it must show in trials.
        baseline: what it was to be compared with.
        signer: hash of the enrolled robot whose signature was checked; None if it could
            not be checked.
    """
    return [
        _signature_finding(signer),
        _robot_finding(record),
        _complete_finding(record),
        _not_counted_finding(record, trial_gates),
        _success_finding(record, trial_gates),
        at_most(
            f"{GATE}: stops",
            record.count(CANDIDATE, trials.STOPPED),
            gates.maximum_safety_violations,
            " trials stopped by a rule or the stop key",
        ),
        _baseline_finding(record, trial_gates, baseline),
    ]


def _signature_finding(signer: str | None) -> Finding:
    gate = f"{GATE}: signature"
    if signer is None:
        reason = "nobody says which robot's key it is; give its --enrolment"
        return Finding(gate, Verdict.UNDECIDED, reason)
    return Finding(gate, Verdict.BLESSED, f"by the enrolled robot {signer[:12]}")


def _robot_finding(record: TrialsRecord) -> Finding:
    gate = f"{GATE}: robot"
    named = f"a {record.robot_model}, {record.task}"
    if record.simulated:
        reason = f"{named}, which is simulated; evaluate it with //cloud:evaluate"
        return Finding(gate, Verdict.UNDECIDED, reason)
    blind = "blind" if record.blind else "the person knew which package drove"
    return Finding(gate, Verdict.BLESSED, f"{named}; {blind}")


def _complete_finding(record: TrialsRecord) -> Finding:
    gate = f"{GATE}: planned trials"
    made = sum(one.counts for one in record.trials)
    planned = record.planned_pairs * len(record.arms)
    reason = f"{made} of {planned}"
    if record.find_next() is None:
        return Finding(gate, Verdict.BLESSED, reason)
    # Stopping when it looks good would make any interval too narrow.
    return Finding(gate, Verdict.UNDECIDED, f"{reason}; let //edge:trials go on")


def _not_counted_finding(record: TrialsRecord, gates: TrialGates) -> Finding:
    gate = f"{GATE}: not counted"
    others = {
        outcome: sum(record.count(arm, outcome) for arm in record.arms)
        for outcome in (trials.LEFT_OUT, trials.BROKEN_OFF)
    }
    share = sum(others.values()) / max(1, len(record.trials))
    most = gates.maximum_trials_not_counted
    reason = (
        ", ".join(f"{count} {outcome}" for outcome, count in others.items())
        + f" of {len(record.trials)} trials, allowed {most:.0%}"
    )
    passed = share <= most
    return Finding(gate, Verdict.BLESSED if passed else Verdict.UNDECIDED, reason)


def _success_finding(record: TrialsRecord, gates: TrialGates) -> Finding:
    gate = f"{GATE}: success"
    succeeded = record.succeeded(CANDIDATE)
    won, count = sum(succeeded.values()), len(succeeded)
    low, high = paired_trials.proportion_interval(won, count)
    least = gates.minimum_trial_success
    reason = (
        f"{won} of {count} trials, exact 95 % interval {low:.3f} to {high:.3f}, "
        f"required {least:.3f}"
    )
    if count and low >= least:
        return Finding(gate, Verdict.BLESSED, reason)
    if high < least:
        return Finding(gate, Verdict.REFUSED, reason)
    return Finding(gate, Verdict.UNDECIDED, f"{reason}; make more trials")


def _baseline_finding(
    record: TrialsRecord, gates: TrialGates, baseline: TrialBaseline
) -> Finding:
    gate = f"{GATE}: against the other package"
    if record.baseline_digest is None:
        if baseline.is_first:
            return Finding(gate, Verdict.BLESSED, "the channel has no package yet")
        reason = "it was tried alone; give //edge:trials the channel's --baseline"
        return Finding(gate, Verdict.UNDECIDED, reason)
    name = record.baseline_digest[:12]
    if baseline.package_digest not in (None, record.baseline_digest):
        reason = f"it was compared with package {name}, which is not the channel's"
        return Finding(gate, Verdict.UNDECIDED, reason)
    pairs, margin = record.pairs, gates.trial_margin
    low, high = pairs.interval()
    reason = (
        f"{pairs.count} pairs with package {name}: only this one succeeded in "
        f"{pairs.candidate}, only that one in {pairs.baseline}; difference {low:+.3f} "
        f"to {high:+.3f} with at least 95 % confidence, allowed loss {margin:.3f}; "
        f"exact McNemar test p = {pairs.p_value():.3g}"
    )
    if pairs.count and low >= -margin:
        return Finding(gate, Verdict.BLESSED, reason)
    if high < -margin:
        return Finding(gate, Verdict.REFUSED, reason)
    needed = paired_trials.pairs_needed(pairs, margin)
    more = "no number of trials like these" if needed is None else f"{needed} pairs"
    return Finding(gate, Verdict.UNDECIDED, f"{reason}; {more} would show it")
