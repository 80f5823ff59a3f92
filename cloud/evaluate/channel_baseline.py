"""The package now on the channel, which a candidate is compared with.

Its recorded evaluation is used if it was made on the same trials and the package's
blessing names the digest of that report. Otherwise the package is fetched from the
store and evaluated again, so that a comparison never mixes seeds, tasks or data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from base.errors import ContinuonError
from base.store.store import Store
from cloud.evaluate import judged_reports
from cloud.evaluate import report as evaluation_report
from cloud.evaluate.judged_reports import JudgedReports
from cloud.evaluate.report import EvaluationReport
from cloud.evaluate.verdict import Baseline
from release import channel_verification, package, verification
from release.channel import PackageEntry
from release.trusted_keys import TrustedKeys
from release.verification import VerifiedPackage


@dataclasses.dataclass(frozen=True)
class ChannelState:
    """The state of a channel before a run publishes to it."""

    release_counter: int
    """Zero before the first release."""
    entry: PackageEntry | None
    """The package for the target; None if the channel has none."""


def read_channel(
    store: Store, name: str, target: str, trusted: TrustedKeys
) -> ChannelState:
    """Reads a channel and verifies its signatures.

    Raises:
        ReleaseError: the channel cannot be read or its signatures are not trusted.
    """
    current = channel_verification.read_current_channel(store, name, trusted)
    if current is None:
        return ChannelState(0, None)
    return ChannelState(current.release_counter, current.record.package.get(target))


def fetch(
    store: Store, entry: PackageEntry, trusted: TrustedKeys, now: datetime, into: Path
) -> VerifiedPackage:
    """Fetches a channel's package from the store into the new folder `into`.

    Raises:
        ReleaseError: the package is missing, changed, or not trusted.
    """
    tar = store.get(entry.path, entry.size_bytes)
    package.unpack_tar(tar, into, entry.size_bytes, entry.path)
    return verification.verify_package(into, trusted, now, None, entry.digest)


def find_reports(
    store: Store, family: str, fetched: VerifiedPackage
) -> JudgedReports | None:
    """Returns the reports that a package was blessed for; None if it cannot be found.

    Raises:
        EvaluationReportError: the report whose digest the blessing names does not
            parse.
    """
    path = f"{family}/{fetched.provenance.run_id}/evaluation.json"
    try:
        raw = store.get(path, evaluation_report.LIMIT_BYTES)
    except ContinuonError:
        return None
    reports = judged_reports.parse([(raw, path)], path)
    named = fetched.blessing.report_digest
    same = reports.digest == named and reports.package_digest == fetched.digest
    return reports if same else None


def find_report(
    store: Store, family: str, fetched: VerifiedPackage
) -> EvaluationReport | None:
    """Returns that of the reports that is of simulated episodes; see `find_reports`."""
    reports = find_reports(store, family, fetched)
    return None if reports is None else reports.simulated


def baseline[Report](
    state: ChannelState,
    fetch_package: Callable[[PackageEntry], VerifiedPackage],
    find_report: Callable[[VerifiedPackage], Report | None],
    evaluate: Callable[[VerifiedPackage], Report],
    same_trials: Callable[[Report], bool],
) -> Baseline[Report] | None:
    """Finds or makes the evaluation of the package now on the channel.

    A package that cannot be fetched or evaluated gives a baseline without a report,
    which leaves the candidate undecided. It never counts as a channel without a
    package.

    Args:
        state: the channel before this run.
        fetch_package: fetches the channel's package from the store.
        find_report: returns the report that it was blessed for, or None.
        evaluate: evaluates it on this run's trials.
        same_trials: tells whether a report comes from this run's trials.

    Returns:
        The baseline; None if the channel has no package.
    """
    if state.entry is None:
        return None
    digest = state.entry.digest
    try:
        fetched = fetch_package(state.entry)
        report = find_report(fetched)
        if report is None or not same_trials(report):
            report = evaluate(fetched)
    except ContinuonError as e:
        return Baseline(digest, None, str(e))
    return Baseline(digest, report)
