"""Reaches the verdict on a package by its report, and signs it where a key is given.

    ./bazelw run //cloud:bless -- --package=DIR --report=evaluation.json --first
    ./bazelw run //cloud:bless -- --package=DIR --report=evaluation.json \\
        --baseline_report=before.json --key_file=KEY

The report is that of //cloud:evaluate, or of a run of //cloud:train. A channel that has
a package wants to know that the new one is no worse: --baseline_report is the report of
that package on the same tasks and seeds. Exit code 0 if blessed, 1 if refused, 3 if
undecided. With --key_file the verdict is signed into the package, whatever it is;
//release:publish takes only a blessed one.
"""

from __future__ import annotations

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

from datetime import UTC, datetime
from pathlib import Path

from absl import app, flags

from base import command_line, path_flags, plain_file, record_flags
from cloud.errors import EvaluationReportError
from cloud.evaluate import report
from cloud.evaluate.report import EvaluationReport
from cloud.evaluate.verdict import Baseline, Decision, Gates, Verdict, decide
from release import verification
from release.blessing import Blessing
from release.signing import sign_statements
from release.signing.private_keys import PrivateKey

EXIT_CODES = {Verdict.BLESSED: 0, Verdict.REFUSED: 1, Verdict.UNDECIDED: 3}

_PACKAGE = flags.DEFINE_string("package", None, "folder of a package", required=True)
_REPORT = flags.DEFINE_string(
    "report", None, "evaluation report of this package", required=True
)
_BASELINE = flags.DEFINE_string(
    "baseline_report",
    None,
    "report of the package that is on the channel now, of the same tasks and seeds",
)
_FIRST = flags.DEFINE_bool("first", False, "the channel has no package yet")
_KEY_FILES = flags.DEFINE_multi_string(
    "key_file",
    [],
    "private key file that signs the verdict, mode 0600; may be repeated; default: "
    "the verdict is shown and not signed",
)
record_flags.define(Gates)
path_flags.folders("package")
path_flags.files("report", "baseline_report", "key_file")


def main(argv: list[str]) -> int:
    """Decides, shows every gate, and signs if a key is given."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    if bool(_BASELINE.value) == _FIRST.value:
        raise app.UsageError(
            "give either --baseline_report or, for a channel without a package, --first"
        )
    try:
        gates = record_flags.read(Gates)
    except ValueError as e:
        raise app.UsageError(f"--{e}") from e
    keys = [PrivateKey.read(Path(path)) for path in _KEY_FILES.value]
    package = verification.verify_integrity(Path(_PACKAGE.value), None)
    found = _read(Path(_REPORT.value))
    if found.package_digest != package.digest:
        raise EvaluationReportError(
            _REPORT.value,
            f"a report of package {package.digest[:12]}",
            f"one of {found.package_digest[:12]}",
            "evaluate this package with //cloud:evaluate",
        )
    baseline = None
    if _BASELINE.value:
        before = _read(Path(_BASELINE.value))
        baseline = Baseline(before.package_digest, before)
    decision = decide(found, gates, baseline)
    for finding in decision.findings:
        command_line.say(f"{finding.verdict:<9} {finding.gate}: {finding.reason}")
    if keys:
        _sign(package.folder, decision, found, keys)
    command_line.say(f"verdict   {decision.verdict}{'' if keys else ', not signed'}")
    return EXIT_CODES[decision.verdict]


def _read(path: Path) -> EvaluationReport:
    return report.parse(plain_file.read(path, report.LIMIT_BYTES), path)


def _sign(
    folder: Path, decision: Decision, found: EvaluationReport, keys: list[PrivateKey]
) -> None:
    blessing = Blessing(
        package_digest=decision.package_digest,
        verdict=decision.verdict.value,
        reasons=decision.reasons,
        report_digest=decision.report_digest,
        issued=datetime.now(UTC),
    )
    sign_statements.sign_blessing(folder, blessing, found.encode(), keys)


if __name__ == "__main__":
    command_line.run(main)
