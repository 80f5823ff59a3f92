"""Reaches the verdict on a package by its reports, and signs it where a key is given.

    ./bazelw run //cloud:bless -- --package=DIR --report=evaluation.json --first
    ./bazelw run //cloud:bless -- --package=DIR --report=evaluation.json \\
        --baseline_report=before.json --key_file=KEY
    ./bazelw run //cloud:bless -- --package=DIR --report=held_out.json \\
        --report=trials.json --enrolment=ENROL --first --key_file=KEY

A report is that of //cloud:evaluate, or of a run of //cloud:train, or the record that
//edge:trials wrote. Each kind has gates of its own, all of those that are given must be
passed, and the blessing names the kinds. A channel that has a package wants to know
that the new one is no worse: --baseline_report is the report of that package on the
same tasks and seeds, or on the same held-out episodes. Trials hold both packages. Exit
code 0 if blessed, 1 if refused, 3 if undecided. With --key_file the verdict is signed
into the package, whatever it is; //release:publish takes only a blessed one.
"""

from __future__ import annotations

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

from datetime import UTC, datetime
from pathlib import Path

from absl import app, flags

from base import command_line, path_flags, record_flags
from cloud.evaluate import judged_reports
from cloud.evaluate.held_out_verdict import HeldOutGates
from cloud.evaluate.trial_verdict import TrialGates
from cloud.evaluate.verdict import Decision, Gates, Verdict
from cloud.ingest import enrolment
from release import evidence, verification
from release.blessing import Blessing
from release.signing import sign_statements
from release.signing.private_keys import PrivateKey

EXIT_CODES = {Verdict.BLESSED: 0, Verdict.REFUSED: 1, Verdict.UNDECIDED: 3}

_PACKAGE = flags.DEFINE_string("package", None, "folder of a package", required=True)
_REPORTS = flags.DEFINE_multi_string(
    "report",
    None,
    "report of this package; may be repeated, once for each kind",
    required=True,
)
_BASELINES = flags.DEFINE_multi_string(
    "baseline_report",
    [],
    "report of the package that is on the channel now, of the same tasks and seeds or "
    "of the same held-out episodes; may be repeated",
)
_FIRST = flags.DEFINE_bool("first", False, "the channel has no package yet")
_KEY_FILES = flags.DEFINE_multi_string(
    "key_file",
    [],
    "private key file that signs the verdict, mode 0600; may be repeated; default: "
    "the verdict is shown and not signed",
)
_ENROLMENTS = flags.DEFINE_multi_string(
    "enrolment",
    [],
    "public keys of a robot that made trials, as its --enrol wrote them; may be "
    "repeated",
)
record_flags.define(Gates, HeldOutGates, TrialGates)
path_flags.folders("package")
path_flags.files("report", "baseline_report", "key_file", "enrolment")


def main(argv: list[str]) -> int:
    """Decides, shows every gate, and signs if a key is given."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    try:
        gates = record_flags.read(Gates)
        held_out_gates = record_flags.read(HeldOutGates)
        trial_gates = record_flags.read(TrialGates)
    except ValueError as e:
        raise app.UsageError(f"--{e}") from e
    keys = [PrivateKey.read(Path(path)) for path in _KEY_FILES.value]
    package = verification.verify_integrity(Path(_PACKAGE.value), None)
    found = judged_reports.read([Path(path) for path in _REPORTS.value])
    found.require_package(package.digest)
    given = bool(_BASELINES.value) + bool(_FIRST.value)
    if given > 1 or (not given and found.kinds != (evidence.TRIALS,)):
        raise app.UsageError(
            "give either --baseline_report or, for a channel without a package, --first"
        )
    enrolled = enrolment.read([Path(path) for path in _ENROLMENTS.value])
    baseline = None
    if _BASELINES.value:
        baseline = judged_reports.read([Path(path) for path in _BASELINES.value])
    decision = judged_reports.decide(
        found,
        baseline,
        bool(_FIRST.value),
        gates,
        held_out_gates,
        trial_gates,
        enrolled,
    )
    for finding in decision.findings:
        command_line.say(f"{finding.verdict:<9} {finding.gate}: {finding.reason}")
    if keys:
        _sign(package.folder, decision, found.encode(), keys)
    on = decision.on_evidence
    command_line.say(
        f"verdict   {decision.verdict}{on}{'' if keys else ', not signed'}"
    )
    return EXIT_CODES[decision.verdict]


def _sign(
    folder: Path, decision: Decision, report: bytes, keys: list[PrivateKey]
) -> None:
    blessing = Blessing(
        package_digest=decision.package_digest,
        verdict=decision.verdict.value,
        reasons=decision.reasons,
        report_digest=decision.report_digest,
        issued=datetime.now(UTC),
        evidence=decision.evidence,
    )
    sign_statements.sign_blessing(folder, blessing, report, keys)


if __name__ == "__main__":
    command_line.run(main)
