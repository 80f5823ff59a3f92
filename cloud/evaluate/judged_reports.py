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
from cloud.evaluate import held_out_report, held_out_verdict, report, verdict
from cloud.evaluate.held_out_report import HeldOutReport
from cloud.evaluate.held_out_verdict import HeldOutGates
from cloud.evaluate.report import EvaluationReport
from cloud.evaluate.verdict import Baseline, Decision, Finding, Gates, conclude
from release import evidence
from release.limits import LIMITS


@dataclasses.dataclass(frozen=True)
class JudgedReports:
    """Reports on one package, at least one and at most one of each kind.

    Attributes:
        source: where they are from, for errors.
        simulated: of episodes that it drove in a simulator.
        held_out: of recorded episodes that it was compared with.
    """

    source: str
    simulated: EvaluationReport | None = None
    held_out: HeldOutReport | None = None

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
        return evidence.join([one.encode() for one in self._all], self.source)

    @property
    def digest(self) -> str:
        """SHA-256 of these bytes, in hex."""
        return hashlib.sha256(self.encode()).hexdigest()

    @property
    def _all(self) -> list[EvaluationReport | HeldOutReport]:
        return [one for one in (self.simulated, self.held_out) if one is not None]


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
    simulated, held_out = map(found.get, (evidence.SIMULATED, evidence.HELD_OUT))
    reports = JudgedReports(
        source,
        None if simulated is None else report.parse(*simulated),
        None if held_out is None else held_out_report.parse(*held_out),
    )
    reports.require_package(reports.package_digest)
    return reports


def decide(
    found: JudgedReports,
    baseline: JudgedReports | None,
    gates: Gates,
    held_out_gates: HeldOutGates,
) -> Decision:
    """Judges a package by all of its reports.

    Args:
        found: the reports on it.
        baseline: those on the package now on the channel; None if the channel has none.
        gates: what it must show where it drove a simulated robot.
        held_out_gates: what it must show on held-out episodes.
    """
    findings: list[Finding] = []
    if found.simulated is not None:
        driven = None if baseline is None else baseline.of_kind(baseline.simulated)
        findings += verdict.find(found.simulated, gates, driven)
    if found.held_out is not None:
        known = None if baseline is None else baseline.of_kind(baseline.held_out)
        findings += held_out_verdict.find(found.held_out, gates, held_out_gates, known)
    return conclude(found.package_digest, found.digest, findings, found.kinds)
