"""Tests of the package that a candidate is compared with."""

import dataclasses
from pathlib import Path

from cloud.errors import ProgramFailedError
from cloud.evaluate import channel_baseline
from cloud.evaluate.channel_baseline import ChannelState
from cloud.evaluate.report import EvaluationReport, TaskResult
from cloud.evaluate.success_rate import SuccessRate
from cloud.evaluate.verdict import Baseline
from cloud.testing import records
from release import package
from release.blessing import Blessing
from release.signing import sign_statements
from release.testing import tiny_release
from release.verification import VerifiedPackage


def report(package_digest: str) -> EvaluationReport:
    two = {"reach-v3": TaskResult(SuccessRate(2, 2), 60.0)}
    return records.evaluation_report(
        package_digest=package_digest, episodes_per_task=2, tasks=two
    )


class Channel:
    """A store whose nightly channel carries one package with a report."""

    def __init__(self, folder: Path) -> None:
        self.release = tiny_release.release(folder)
        self.folder = folder
        source = folder / "package"
        source.mkdir()
        self.digest = tiny_release.write_package(source)
        self.release.sign(source)
        self.report = report(self.digest)
        (source / package.BLESSING).unlink()
        raw = self.report.encode()
        verdict = Blessing(
            self.digest, "blessed", ("good",), self.report.digest, tiny_release.NOW
        )
        keys = [self.release.keys["blessing"]]
        sign_statements.sign_blessing(source, verdict, raw, keys)
        self.release.publish(source)

    def state(self) -> ChannelState:
        return channel_baseline.read_channel(
            self.release.store, "nightly", tiny_release.TARGET, self.release.trusted
        )

    def fetch(self) -> VerifiedPackage:
        entry = self.state().entry
        assert entry is not None
        return channel_baseline.fetch(
            self.release.store,
            entry,
            self.release.trusted,
            tiny_release.NOW,
            self.folder / "fetched",
        )

    def put_report(self, found: EvaluationReport) -> None:
        self.release.store.put("tiny/run-1/evaluation.json", found.encode())


def test_channel_without_a_release_has_no_baseline(tmp_path: Path) -> None:
    release = tiny_release.release(tmp_path)
    state = channel_baseline.read_channel(
        release.store, "nightly", tiny_release.TARGET, release.trusted
    )
    assert state == ChannelState(0, None)
    found = channel_baseline.baseline(
        state, fail_to_fetch, lambda _: None, fail_to_evaluate, lambda _: True
    )
    assert found is None


def test_recorded_report_is_used_when_the_blessing_names_it(tmp_path: Path) -> None:
    channel = Channel(tmp_path)
    channel.put_report(channel.report)
    fetched = channel.fetch()
    store = channel.release.store
    assert channel_baseline.find_report(store, "tiny", fetched) == channel.report
    found = channel_baseline.baseline(
        channel.state(),
        lambda _: fetched,
        lambda one: channel_baseline.find_report(store, "tiny", one),
        fail_to_evaluate,
        lambda _: True,
    )
    assert found == Baseline(channel.digest, channel.report)


def test_report_that_was_changed_is_not_used(tmp_path: Path) -> None:
    channel = Channel(tmp_path)
    channel.put_report(dataclasses.replace(channel.report, first_seed=0))
    store = channel.release.store
    fetched = channel.fetch()
    assert channel_baseline.find_report(store, "tiny", fetched) is None


def test_package_with_a_report_of_other_trials_is_evaluated_again(
    tmp_path: Path,
) -> None:
    channel = Channel(tmp_path)
    again = report(channel.digest)
    found = channel_baseline.baseline(
        channel.state(),
        lambda _: channel.fetch(),
        lambda _: channel.report,
        lambda _: again,
        lambda _: False,
    )
    assert found is not None
    assert found.report is again


def test_package_that_cannot_run_gives_a_baseline_without_a_report(
    tmp_path: Path,
) -> None:
    channel = Channel(tmp_path)
    found = channel_baseline.baseline(
        channel.state(),
        lambda _: channel.fetch(),
        lambda _: None,
        fail_to_evaluate,
        lambda _: True,
    )
    assert found is not None
    assert (found.package_digest, found.report) == (channel.digest, None)
    assert "to exit with 0, got 1" in found.problem


def test_package_missing_from_the_store_gives_a_baseline_without_a_report(
    tmp_path: Path,
) -> None:
    channel = Channel(tmp_path)
    for tar in (tmp_path / "store" / "packages").iterdir():
        tar.unlink()
    found = channel_baseline.baseline(
        channel.state(),
        lambda _: channel.fetch(),
        lambda _: None,
        fail_to_evaluate,
        lambda _: True,
    )
    assert found is not None
    assert found.report is None
    assert "packages/" in found.problem


def fail_to_fetch(_: object) -> VerifiedPackage:
    raise AssertionError("nothing to fetch")


def fail_to_evaluate(_: object) -> EvaluationReport:
    raise ProgramFailedError("//edge:run", "to exit with 0", "1")
