"""The verdict on a package: a pure function of a report, gates and a baseline.

There are three verdicts, because "not shown to be bad" is not "shown to be good":

- blessed: every gate is passed with confidence;
- refused: at least one gate is failed with confidence;
- undecided: neither; a figure is missing, or there are too few episodes.

Only a blessed package may be published.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Sequence

from cloud.evaluate.report import EvaluationReport
from cloud.evaluate.success_rate import SuccessRate
from release import evidence as evidence_kinds

_MORE_EPISODES = (
    "too few evaluation episodes to tell, give more with --evaluation_episodes"
)


class Verdict(enum.StrEnum):
    """What was decided about one package."""

    BLESSED = "blessed"
    REFUSED = "refused"
    UNDECIDED = "undecided"


@dataclasses.dataclass(frozen=True)
class Gates:
    """What a package must show. Rates are shares of episodes, 0 to 1.

    A missing figure never passes. The latency that counts is the median, because the
    slowest steps on a shared machine depend on its other work and not on the package.

    Attributes:
        minimum_success: success over all episodes, a share of 0 to 1 that the 95 %
            interval must lie above.
        minimum_task_success: success on each task, a share of 0 to 1 that the 95 %
            interval must lie above.
        non_inferiority_margin: how much lower success over all episodes may be than
            that of the package now on the channel, as a share of 0 to 1.
        task_non_inferiority_margin: how much lower success on one task may be than
            that of the package now on the channel, as a share of 0 to 1; a package
            with a task that is clearly worse than that is refused.
        maximum_held_out_loss: highest held-out loss, which is the trained model's
            mean absolute action error on the validation split before it is exported,
            in the action's unit; the default run measures 0.015.
        maximum_step_latency_us: longest median control step, in microseconds; one
            control period at 80 Hz.
        maximum_safety_violations: safety violations of all episodes together.
    """

    minimum_success: float = 0.90
    minimum_task_success: float = 0.80
    non_inferiority_margin: float = 0.05
    task_non_inferiority_margin: float = 0.10
    maximum_held_out_loss: float = 0.05
    maximum_step_latency_us: float = 12_500.0
    maximum_safety_violations: int = 0

    def __post_init__(self) -> None:
        for name in ("minimum_success", "minimum_task_success"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(
                    f"{name}: expected a share in 0..1, got {getattr(self, name)}"
                )
        for name in ("non_inferiority_margin", "task_non_inferiority_margin"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(
                    f"{name}: expected a share in 0..1, got {getattr(self, name)}"
                )


@dataclasses.dataclass(frozen=True)
class Baseline[Report = EvaluationReport]:
    """The package now on the channel and its evaluation, if there is one."""

    package_digest: str
    report: Report | None
    problem: str = ""
    """Why there is no report, else empty."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One gate's outcome, with the numbers that led to it."""

    gate: str
    verdict: Verdict
    reason: str


@dataclasses.dataclass(frozen=True)
class Decision:
    """The verdict on one package and every finding behind it.

    Attributes:
        package_digest: digest of the package.
        report_digest: digest of the report that it rests on.
        verdict: what was decided.
        findings: the outcome of every gate.
        evidence: what the report holds, of `release.evidence.KINDS`.
    """

    package_digest: str
    report_digest: str
    verdict: Verdict
    findings: tuple[Finding, ...]
    evidence: tuple[str, ...] = (evidence_kinds.SIMULATED,)

    @property
    def on_evidence(self) -> str:
        """What is said behind the verdict; nothing for simulated episodes alone."""
        if self.evidence == (evidence_kinds.SIMULATED,):
            return ""
        return f" on {' and '.join(self.evidence)} evidence"

    @property
    def reasons(self) -> tuple[str, ...]:
        """The findings that led to the verdict: the failures, or all if blessed."""
        decisive = [f for f in self.findings if f.verdict is self.verdict]
        return tuple(f"{f.gate}: {f.reason}" for f in decisive)


def decide(
    report: EvaluationReport, gates: Gates, baseline: Baseline | None
) -> Decision:
    """Judges a package by its report.

    Args:
        report: the report of the evaluation.
        gates: what a package must show.
        baseline: the package now on the channel; None if the channel has none, as
            every new channel does, which does not count against a package.
    """
    findings = find(report, gates, baseline)
    return conclude(report.package_digest, report.digest, findings)


def find(
    report: EvaluationReport, gates: Gates, baseline: Baseline | None
) -> list[Finding]:
    """Returns the outcome of every gate; arguments as `decide`."""
    return [
        *_success_findings(report, gates),
        at_most(
            "held-out loss before export",
            report.held_out_loss,
            gates.maximum_held_out_loss,
            "",
            "was not measured, for want of held-out episodes in the dataset",
        ),
        at_most(
            "step latency",
            report.step_latency_p50_us,
            gates.maximum_step_latency_us,
            " us",
        ),
        at_most(
            "safety violations",
            report.safety_violations,
            gates.maximum_safety_violations,
            "",
        ),
        *_baseline_findings(report, gates, baseline),
    ]


def conclude(
    package_digest: str,
    report_digest: str,
    findings: Sequence[Finding],
    evidence: tuple[str, ...] = (evidence_kinds.SIMULATED,),
) -> Decision:
    """Returns the verdict that these findings, at least one, lead to."""
    verdicts = {finding.verdict for finding in findings}
    if Verdict.REFUSED in verdicts:
        verdict = Verdict.REFUSED
    elif Verdict.UNDECIDED in verdicts:
        verdict = Verdict.UNDECIDED
    else:
        verdict = Verdict.BLESSED
    return Decision(package_digest, report_digest, verdict, tuple(findings), evidence)


def _success_findings(report: EvaluationReport, gates: Gates) -> list[Finding]:
    findings = [_at_least("success", report.success, gates.minimum_success)]
    for task, result in sorted(report.tasks.items()):
        findings.append(
            _at_least(f"success on {task}", result.success, gates.minimum_task_success)
        )
    return findings


def _at_least(gate: str, success: SuccessRate, minimum: float) -> Finding:
    if success.episodes == 0:
        return Finding(gate, Verdict.UNDECIDED, "no episode was run")
    low, high = success.interval()
    found = (
        f"{success.successes} of {success.episodes} episodes, 95 % interval "
        f"{low:.3f} to {high:.3f}, required {minimum:.3f}"
    )
    if low >= minimum:
        return Finding(gate, Verdict.BLESSED, found)
    if high < minimum:
        return Finding(gate, Verdict.REFUSED, found)
    return Finding(gate, Verdict.UNDECIDED, f"{found}; {_MORE_EPISODES}")


def at_most(
    gate: str, value: float | None, maximum: float, unit: str, missing: str = ""
) -> Finding:
    """Judges a number that was measured or not: passed up to `maximum`, with a unit."""
    if value is None or not math.isfinite(value):
        return Finding(gate, Verdict.UNDECIDED, missing or "was not measured")
    limit = "any" if math.isinf(maximum) else f"{maximum:.6g}{unit}"
    found = f"{value:.6g}{unit}, allowed {limit}"
    passed = value <= maximum
    return Finding(gate, Verdict.BLESSED if passed else Verdict.REFUSED, found)


def _baseline_findings(
    report: EvaluationReport, gates: Gates, baseline: Baseline | None
) -> list[Finding]:
    gate = "against the channel"
    if baseline is None:
        return [Finding(gate, Verdict.BLESSED, "the channel has no package yet")]
    name = baseline.package_digest[:12]
    if baseline.report is None:
        reason = f"package {name} could not be evaluated: {baseline.problem}"
        return [Finding(gate, Verdict.UNDECIDED, reason)]
    if not report.same_trials(baseline.report):
        reason = f"package {name} was evaluated on other tasks, seeds or data"
        return [Finding(gate, Verdict.UNDECIDED, reason)]
    findings = [_not_worse(gate, report, baseline.report, name, gates)]
    for task, result in sorted(report.tasks.items()):
        margin = gates.task_non_inferiority_margin
        before = baseline.report.tasks[task].success
        _, high = result.success.subtract(before)
        if high < -margin:
            reason = (
                f"{result.success.rate:.3f} where package {name} has "
                f"{before.rate:.3f}, allowed loss {margin:.3f}"
            )
            findings.append(Finding(f"{gate} on {task}", Verdict.REFUSED, reason))
    return findings


def _not_worse(
    gate: str,
    report: EvaluationReport,
    before: EvaluationReport,
    name: str,
    gates: Gates,
) -> Finding:
    margin = gates.non_inferiority_margin
    low, high = report.success.subtract(before.success)
    found = (
        f"success {report.success.rate:.3f}, package {name} has "
        f"{before.success.rate:.3f}; difference {low:+.3f} to {high:+.3f}, "
        f"allowed loss {margin:.3f}"
    )
    if low >= -margin:
        return Finding(gate, Verdict.BLESSED, found)
    if high < -margin:
        return Finding(gate, Verdict.REFUSED, found)
    return Finding(gate, Verdict.UNDECIDED, f"{found}; {_MORE_EPISODES}")
