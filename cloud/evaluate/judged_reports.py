"""The reports that a verdict rests on, of one or several kinds, and that verdict.

Each kind is judged by the gates of its own file; a package must pass those of every
kind that it was evaluated with. Together the reports are one file, `evaluation.json` in
the package.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

from base import plain_file
from base.errors import ContinuonError
from cloud.errors import EvaluationReportError
from cloud.evaluate import (
    held_out_report,
    held_out_verdict,
    report,
    trial_verdict,
    verdict,
)
from cloud.evaluate.held_out_report import HeldOutReport
from cloud.evaluate.held_out_verdict import HeldOutGates
from cloud.evaluate.report import EvaluationReport
from cloud.evaluate.trial_verdict import TrialBaseline, TrialGates
from cloud.evaluate.verdict import Baseline, Decision, Finding, Gates, conclude
from cloud.ingest.enrolment import Enrolment
from release import evidence, trials
from release.limits import LIMITS
from release.trials import TrialsRecord


@dataclasses.dataclass(frozen=True)
class JudgedReports:
    """Reports on one package, at least one and at most one of each kind.

    Attributes:
        source: where they are from, for errors.
        simulated: of episodes that it drove in a simulator.
        held_out: of recorded episodes that it was compared with.
        tried: the signed bytes of the record of trials on a robot, and its name.
    """

    source: str
    simulated: EvaluationReport | None = None
    held_out: HeldOutReport | None = None
    tried: tuple[bytes, Path | str] | None = None

    @property
    def record(self) -> TrialsRecord | None:
        """The record of trials; who signed it is looked at in `decide`."""
        return None if self.tried is None else trials.parse(*self.tried)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Their kinds, of `release.evidence.KINDS`."""
        return evidence.find(self.encode(), self.source)

    @property
    def package_digest(self) -> str:
        """Digest of the package that all of them are about."""
        return self._all[0].package_digest

    def require_package(self, digest: str) -> None:
        """Checks that every report is about the package with this digest.

        Raises:
            EvaluationReportError: one is not.
        """
        for one in self._all:
            if one.package_digest != digest:
                raise EvaluationReportError(
                    self.source,
                    f"a report of package {digest[:12]}",
                    f"one of {one.package_digest[:12]}",
                    "evaluate this package with //cloud:evaluate",
                )

    def of_kind[Report](self, report: Report | None) -> Baseline[Report]:
        """Returns one of these reports as that of the package now on the channel."""
        problem = "" if report else "--baseline_report names no report of this kind"
        return Baseline(self.package_digest, report, problem)

    def encode(self) -> bytes:
        """Returns the canonical bytes of the file of all reports."""
        raw = [one.encode() for one in (self.simulated, self.held_out) if one]
        if self.tried is not None:
            raw.append(self.tried[0])
        return evidence.join(raw, self.source)

    @property
    def digest(self) -> str:
        """SHA-256 of these bytes, in hex."""
        return hashlib.sha256(self.encode()).hexdigest()

    @property
    def _all(self) -> list[EvaluationReport | HeldOutReport | TrialsRecord]:
        every = (self.simulated, self.held_out, self.record)
        return [one for one in every if one is not None]


def read(paths: Sequence[Path]) -> JudgedReports:
    """Reads the reports of one package, each kind once.

    Raises:
        EvaluationReportError: a file is not a report, a kind occurs twice, or they are
            of several packages.
        OSError: a file cannot be read.
    """
    source = " and ".join(map(str, paths))
    limit = LIMITS.evaluation_bytes
    return parse([(plain_file.read(path, limit), path) for path in paths], source)


def parse(files: Sequence[tuple[bytes, Path | str]], source: str) -> JudgedReports:
    """Parses files of reports, each with its name; see `read`."""
    found: dict[str, tuple[bytes, Path | str]] = {}
    for raw, origin in files:
        try:
            parts = evidence.split(raw, origin)
        except ContinuonError as e:
            raise EvaluationReportError(
                origin, "an evaluation report", f"{e}", "evaluate again"
            ) from e
        for kind, part in parts.items():
            if kind in found:
                raise EvaluationReportError(
                    origin,
                    "each kind of report once",
                    f"a second one of {kind} evidence",
                    "name one of them",
                )
            found[kind] = part, origin
    simulated, held_out, tried = map(found.get, evidence.KINDS)
    if tried is not None:
        try:
            trials.parse(*tried)
        except ContinuonError as e:
            raise EvaluationReportError(
                tried[1],
                "a record of //edge:trials",
                f"{e}",
                "use it as it was written",
            ) from e
    reports = JudgedReports(
        source,
        None if simulated is None else report.parse(*simulated),
        None if held_out is None else held_out_report.parse(*held_out),
        tried,
    )
    reports.require_package(reports.package_digest)
    return reports


def decide(
    found: JudgedReports,
    baseline: JudgedReports | None,
    is_first: bool,
    gates: Gates,
    held_out_gates: HeldOutGates,
    trial_gates: TrialGates,
    enrolled: Enrolment,
) -> Decision:
    """Judges a package by all of its reports.

    Args:
        found: the reports on it.
        baseline: those on the package now on the channel; None if the channel has none,
            or if trials alone say what the package was compared with.
        is_first: whether the channel has no package yet.
        gates: what it must show where it drove a simulated robot.
        held_out_gates: what it must show on held-out episodes.
        trial_gates: what it must show in trials.
        enrolled: the robots whose records of trials count.

    Raises:
        BadSignatureError: a robot's record of trials was changed.
    """
    findings: list[Finding] = []
    if found.simulated is not None:
        driven = None if baseline is None else baseline.of_kind(baseline.simulated)
        findings += verdict.find(found.simulated, gates, driven)
    if found.held_out is not None:
        known = None if baseline is None else baseline.of_kind(baseline.held_out)
        findings += held_out_verdict.find(found.held_out, gates, held_out_gates, known)
    if found.tried is not None:
        findings += _judge_trials(
            found.tried, baseline, is_first, gates, trial_gates, enrolled
        )
    return conclude(found.package_digest, found.digest, findings, found.kinds)


def _judge_trials(
    tried: tuple[bytes, Path | str],
    baseline: JudgedReports | None,
    is_first: bool,
    gates: Gates,
    trial_gates: TrialGates,
    enrolled: Enrolment,
) -> list[Finding]:
    record, signer = trials.parse(*tried), None
    if enrolled.keys:
        record = trials.verify(*tried, enrolled.keys)
        signer = enrolled.robots[record.keyid]
    before = None if baseline is None else baseline.package_digest
    known = TrialBaseline(before, is_first)
    return trial_verdict.find(record, gates, trial_gates, known, signer)
