"""The verdict on a package by held-out episodes: gates of their own, named as such.

No package moved a robot here, so nothing can be said about success. What can be said is
how close a package is to what people did, how much closer than doing always the same,
and whether it is as close as the package now on the channel, episode by episode. Each
gate looks at a 95 % interval over episodes, and is passed or failed with confidence or
not decided.

Tasks are judged one by one. Other slices (robot, day, actor) only refuse: a package
that is clearly too far away on one of them is not blessed for its mean.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from cloud.evaluate import bootstrap, held_out_report
from cloud.evaluate.bootstrap import FEWEST, Mean
from cloud.evaluate.held_out_report import EpisodeError, HeldOutReport
from cloud.evaluate.verdict import (
    Baseline,
    Decision,
    Finding,
    Gates,
    Verdict,
    at_most,
    conclude,
)
from release import evidence

GATE = "held-out episodes"
"""What the name of every gate of this file begins with."""
_MORE_EPISODES = (
    "too few held-out episodes to tell, hold out more (split.val_groups of the "
    "curation spec)"
)
_REFUSING = (held_out_report.ROBOT, held_out_report.DAY, held_out_report.ACTOR)


@dataclasses.dataclass(frozen=True)
class HeldOutGates:
    """What a package must show on recorded episodes where there is no simulator.

    An error is the mean distance between the action that the package proposes and the
    one that was wanted, in half ranges of the action: 0 is the same action.

    Attributes:
        maximum_held_out_error: error over all held-out episodes and over those of each
            task, a share of 0 to 1 of half of the action's range, that the 95 %
            interval must lie below.
        minimum_held_out_gain: a share of 0 to 1 by which the error must be below that
            of the best action that never changes.
        held_out_margin: how much higher the error may be than that of the package now
            on the channel, as a share of 0 to 1 of that.
        held_out_slice_margin: how much higher the error on one task, robot, day or
            actor may be than that of the package now on the channel, as a share of 0 to
            1 of that; a package that is clearly worse there is refused.
    """

    maximum_held_out_error: float = 0.10
    minimum_held_out_gain: float = 0.50
    held_out_margin: float = 0.05
    held_out_slice_margin: float = 0.25

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{field.name}: expected a share in 0..1, got {value}")


def decide(
    report: HeldOutReport,
    gates: Gates,
    held_out_gates: HeldOutGates,
    baseline: Baseline[HeldOutReport] | None,
) -> Decision:
    """Judges a package by held-out episodes.

    Args:
        report: the report.
        gates: what a package must show; of these the latency and the safety
            violations, which do not depend on a simulator.
        held_out_gates: what it must show on held-out episodes.
        baseline: the package now on the channel; None if the channel has none, which
            does not count against a package.
    """
    findings = find(report, gates, held_out_gates, baseline)
    kinds = (evidence.HELD_OUT,)
    return conclude(report.package_digest, report.digest, findings, kinds)


def find(
    report: HeldOutReport,
    gates: Gates,
    held_out_gates: HeldOutGates,
    baseline: Baseline[HeldOutReport] | None,
) -> list[Finding]:
    """Returns the outcome of every gate; arguments as `decide`."""
    return [
        *_error_findings(report, held_out_gates),
        _gain_finding(report, held_out_gates),
        at_most(
            f"{GATE}: step latency",
            report.step_latency_p50_us,
            gates.maximum_step_latency_us,
            " us",
        ),
        at_most(
            f"{GATE}: safety violations",
            report.safety_violations,
            gates.maximum_safety_violations,
            "",
        ),
        *_baseline_findings(report, held_out_gates, baseline),
    ]


def describe_split(report: HeldOutReport) -> str:
    """Says how far the held-out episodes are from those that were trained on."""
    robots, days = (
        len(report.values(name))
        for name in (held_out_report.ROBOT, held_out_report.DAY)
    )
    counted = f"{len(report.episodes)} episodes, robots: {robots}, days: {days}"
    if report.split_by == ("episode_id",):
        return (
            f"{counted}; split by episode, so that similar ones of the same robot and "
            "day were trained on"
        )
    return counted


def _error_findings(report: HeldOutReport, gates: HeldOutGates) -> list[Finding]:
    most = gates.maximum_held_out_error
    findings = [
        _below(f"{GATE}: error", report.error, most, describe_split(report)),
    ]
    for task in report.tasks:
        found = _mean_error(report.select(held_out_report.TASK, task))
        findings.append(_below(f"{GATE}: error on {task}", found, most))
    for name, value in _other_slices(report):
        found = _mean_error(report.select(name, value))
        finding = _below(f"{GATE}: error on {name} {_short(name, value)}", found, most)
        if finding.verdict is Verdict.REFUSED:
            findings.append(finding)
    return findings


def _below(gate: str, found: Mean, most: float, also: str = "") -> Finding:
    text = f"{found.text()} over {found.episodes} episodes, allowed {most:g}"
    text += f"; {also}" if also else ""
    if found.high <= most:
        return Finding(gate, Verdict.BLESSED, text)
    if found.low > most:
        return Finding(gate, Verdict.REFUSED, text)
    return Finding(gate, Verdict.UNDECIDED, f"{text}; {_why_open(found)}")


def _why_open(found: Mean) -> str:
    if found.episodes < FEWEST:
        return f"an interval needs {FEWEST} episodes, {_MORE_EPISODES}"
    return _MORE_EPISODES


def _gain_finding(report: HeldOutReport, gates: HeldOutGates) -> Finding:
    gate = f"{GATE}: against an action that never changes"
    share = 1.0 - gates.minimum_held_out_gain
    contrast = bootstrap.mean(
        [one.error - share * one.constant_error for one in report.episodes]
    )
    own, constant = report.error.value, report.constant_error.value
    gain = 1.0 - own / constant if constant > 0.0 else 0.0
    text = (
        f"error {own:.4f}, that of the best such action {constant:.4f}: {gain:.0%} "
        f"lower, required {gates.minimum_held_out_gain:.0%}"
    )
    return Finding(gate, *_negative(contrast, text))


def _baseline_findings(
    report: HeldOutReport, gates: HeldOutGates, baseline: Baseline[HeldOutReport] | None
) -> list[Finding]:
    gate = f"{GATE}: against the channel"
    if baseline is None:
        return [Finding(gate, Verdict.BLESSED, "the channel has no package yet")]
    name = baseline.package_digest[:12]
    if baseline.report is None:
        reason = f"package {name} could not be evaluated: {baseline.problem}"
        return [Finding(gate, Verdict.UNDECIDED, reason)]
    if not report.same_episodes(baseline.report):
        reason = (
            f"package {name} was compared with other episodes or within other limits"
        )
        return [Finding(gate, Verdict.UNDECIDED, reason)]
    before = {one.sha256: one for one in baseline.report.episodes}
    margin = gates.held_out_margin
    contrast, text = _contrast(report.episodes, before, name, margin)
    findings = [Finding(gate, *_negative(contrast, text))]
    slices = [(held_out_report.TASK, task) for task in report.tasks]
    for kind, value in [*slices, *_other_slices(report)]:
        margin = gates.held_out_slice_margin
        found = _contrast(report.select(kind, value), before, name, margin)
        if found[0].low > 0.0:
            shown = _short(kind, value)
            on = shown if kind == held_out_report.TASK else f"{kind} {shown}"
            findings.append(Finding(f"{gate} on {on}", Verdict.REFUSED, found[1]))
    return findings


def _contrast(
    episodes: Sequence[EpisodeError],
    before: dict[str, EpisodeError],
    name: str,
    margin: float,
) -> tuple[Mean, str]:
    """The mean over episodes of the error beyond what the margin allows.

    It is paired: what is hard in an episode is hard for both packages.
    """
    pairs = [(one.error, before[one.sha256].error) for one in episodes]
    allowed = bootstrap.mean([own - (1.0 + margin) * other for own, other in pairs])
    difference = bootstrap.mean([own - other for own, other in pairs])
    own, other = (sum(column) / len(pairs) for column in zip(*pairs, strict=True))
    text = (
        f"error {own:.4f}, package {name} has {other:.4f} on the same {len(pairs)} "
        f"episodes; difference {difference.text()}, allowed {margin:.0%} more"
    )
    return allowed, text


def _negative(found: Mean, text: str) -> tuple[Verdict, str]:
    """Passed if the mean is not above zero, with confidence."""
    if found.high <= 0.0:
        return Verdict.BLESSED, text
    if found.low > 0.0:
        return Verdict.REFUSED, text
    return Verdict.UNDECIDED, f"{text}; {_why_open(found)}"


def _mean_error(episodes: Sequence[EpisodeError]) -> Mean:
    return bootstrap.mean([one.error for one in episodes])


def _other_slices(report: HeldOutReport) -> list[tuple[str, str]]:
    """The slices beside the tasks that are not the same as all episodes."""
    return [
        (name, value)
        for name in _REFUSING
        if len(values := report.values(name)) > 1
        for value in values
    ]


def _short(name: str, value: str) -> str:
    return value.removeprefix(f"{name} ")
