"""One round of the update service: finish, judge, ask the channel, and sign receipts.

A round may be cut at any instant; the next one reads the disk and resumes. Each
outcome becomes a receipt before its record is removed, so none is lost, and none is
written twice. Rounds are the same whether the service or an operator begins them.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from base import durable_file, text_forms
from base.errors import ContinuonError
from edge.ota import (
    active_package,
    decide,
    health,
    seed,
    start_count,
    trial,
    update,
    watch,
)
from edge.ota.active_package import ActivePackage
from edge.ota.admission import TrialSetup
from edge.ota.decide import Installed, Move, Offer, RobotRuntime
from edge.ota.receipts import Receipts
from edge.ota.state_folder import StateFolder
from edge.ota.trial import End, Trial
from edge.ota.watch import Judgement, Rules, Verdict
from edge.robots.robot import RobotSpec
from release.errors import ReleaseError
from release.trusted_keys import TrustedKeys
from rlds import receipt

_SECOND: Final = timedelta(seconds=1)  # what receipts tell apart
LONG_TRIAL: Final = timedelta(days=7)
"""A trial that takes longer is reported in each round. It stays open: the package
drives, the one before it stays on the disk, and a newer release ends it."""


@dataclass(frozen=True)
class Round:
    """What one round did.

    Attributes:
        lines: what the operator should know; the last one is the outcome.
        failed: whether what was asked for did not happen.
    """

    lines: tuple[str, ...]
    failed: bool = False


@dataclass(frozen=True)
class Updater:
    """All that a round needs; nothing is kept in memory between two.

    Attributes:
        state: the packages of the robot.
        receipts: where outcomes are written.
        keys: the keys that may sign channels and packages.
        robot: this robot.
        robots: what a package must fit, by robot string.
        memories: folder of the robot's own episodes.
        rules: what a trial needs.
    """

    state: StateFolder
    receipts: Receipts
    keys: TrustedKeys
    robot: RobotRuntime
    robots: Mapping[str, RobotSpec]
    memories: Path
    rules: Rules = field(default_factory=Rules)

    def poll(self, channel: str, now: datetime) -> Round:
        """Asks the channel once, after and before what is due has been settled."""
        return self._act(
            channel,
            now,
            lambda setup: update.update(
                self.state, channel, self.keys, self.robot, self.robots, now, setup
            ),
        )

    def install_seed(self, path: Path, now: datetime) -> Round:
        """Installs a package that somebody put on this machine."""
        return self._act(
            str(path),
            now,
            lambda setup: seed.install_seed(
                self.state, path, self.keys, self.robots, now, setup
            ),
        )

    def settle(self, now: datetime) -> Round:
        """Finishes what a cut left, and judges the package on trial."""
        try:
            with self.state.lock():
                lines = self._settle(now)
        except (ContinuonError, OSError) as e:
            failure = update.describe_failure(str(self.state.root), e)
            return Round((str(failure),), failed=True)
        return Round(tuple(lines))

    def is_decided(self) -> bool:
        """Whether `settle` would do something; takes no lock."""
        try:
            installed = self.state.read_installed()
        except ContinuonError:
            return False
        if installed is None:
            return False
        found = trial.read_or_set_aside(self.state.root)
        if found is None or not found.concerns(installed):
            return found is not None or self._find_dead_starts(installed) is not None
        if found.end is not None or found.digest != installed.digest:
            return True
        verdict = self._judge(found).verdict
        if verdict is Verdict.FALL_BACK:
            return installed.previous is not None
        return verdict is Verdict.COMMIT

    def _act(
        self,
        source: str,
        now: datetime,
        act: Callable[[TrialSetup], ActivePackage],
    ) -> Round:
        refused: list[str] = []

        def note(offer: Offer, error: ContinuonError) -> None:
            refused.append(offer.digest)
            self._note_refused(now, offer, error)

        lines = list(self.settle(now).lines)
        try:
            active = act(TrialSetup(self.memories, note))
        except Exception as e:
            # As at the top of a process: whatever an update does, the robot drives on
            # with what it has, and the next round tries again.
            if not refused:
                self._note_refused_channel(now, e)
            failure = update.describe_failure(source, e)
            return Round((*lines, str(failure)), failed=True)
        lines += active.notes
        if active.move is not Move.KEEP:
            lines += self.settle(now).lines
        return Round((*lines, active.summary))

    # What is due.

    def _settle(self, now: datetime) -> list[str]:
        durable_file.remove_leftovers(self.state.root)
        self.receipts.remove_leftovers()
        installed = self.state.mend_pointer()
        if installed is None:
            return []
        found = trial.read_or_set_aside(self.state.root)
        now = max(now, update.find_newest_time(self.state, None))
        if found is not None:  # whatever the clock says, its end comes after that
            now = max(now, found.began + _SECOND)
        if found is not None and not found.concerns(installed):
            trial.remove(self.state.root)
            found = None
        lines: list[str] = []
        if found is not None:
            self._write_installed(found)
        if found is not None and found.digest == installed.digest:
            found, lines = self._decide(found, installed, now)
        elif found is None:
            found, lines = self._rescue(installed, now)
        if found is not None and found.end is not None:
            if found.end.outcome == receipt.FELL_BACK:
                installed = self._fall_back(found.digest, installed)
            self._write_end(found, found.end, installed)
            trial.remove(self.state.root)
        elif installed.fell_back_from is not None:
            lines += self._note_fallen(found, installed, now)
        return lines

    def _decide(
        self, found: Trial, installed: Installed, now: datetime
    ) -> tuple[Trial, list[str]]:
        """Judges the active package and writes the end of its trial, if it has one."""
        who = f"package {found.digest[:12]}, release {found.release_counter}"
        judged = self._judge(found)
        if found.end is not None and found.end.outcome == receipt.COMMITTED:
            return found, [f"{who}, is committed: {found.end.reason}"]
        if found.end is None and judged.verdict is Verdict.WATCH:
            if now - found.began < LONG_TRIAL:
                return found, []
            since = text_forms.format_time(found.began)
            stays = "" if found.before is None else ", and the package before it stays"
            return found, [
                f"{who}, is on trial since {since} with {judged.reason}; it drives on"
                f"{stays}"
            ]
        if found.end is None and judged.verdict is Verdict.COMMIT:
            done = self._end(found, receipt.COMMITTED, judged.reason, now)
            return done, [f"{who}, is committed: {judged.reason}"]
        reason = judged.reason if found.end is None else found.end.reason
        if not self._opens_before(installed):
            if found.end is not None:
                found = dataclasses.replace(found, end=None)
                trial.write(self.state.root, found)
            if decide.fall_back(installed) is None:
                return found, [
                    f"{who}, does badly: {reason}; there is none before it, so it "
                    "drives on"
                ]
            return found, [
                f"{who}, should fall back: {reason}; no package before it opens, so it "
                "drives on"
            ]
        if found.end is None:
            found = self._end(found, receipt.FELL_BACK, reason, now)
        return found, [f"{who}, fell back: {reason}"]

    def _rescue(
        self, installed: Installed, now: datetime
    ) -> tuple[Trial | None, list[str]]:
        """Ends the reign of a package that was committed long ago and now dies."""
        reason = self._find_dead_starts(installed)
        if reason is None or not self._opens_before(installed):
            return None, []
        made = Trial(
            digest=installed.digest,
            before=installed.previous,
            release_counter=installed.release_counter,
            channel=installed.channel,
            origin=installed.origin,
            began=now,
        )
        found = self._end(made, receipt.FELL_BACK, reason, now)
        who = f"package {found.digest[:12]}, release {found.release_counter}"
        return found, [f"{who}, fell back: {reason}"]

    def _note_fallen(
        self, found: Trial | None, installed: Installed, now: datetime
    ) -> list[str]:
        """Writes the receipt of a package that gave way when the robot was started."""
        fallen = installed.fell_back_from or ""
        counter = installed.release_counter
        if self.receipts.has(receipt.FELL_BACK, counter, fallen):
            if found is not None:
                trial.remove(self.state.root)
            return []
        reason = self._find_dead_starts(installed, fallen) or "it did not open"
        if found is not None and found.digest == fallen:
            end = End(
                receipt.FELL_BACK,
                reason,
                now,
                health.read_counts(self.state.root, fallen),
            )
            found = dataclasses.replace(found, end=end)
            trial.write(self.state.root, found)
            self._write_end(found, end, installed)
            trial.remove(self.state.root)
        else:
            self.receipts.write(
                now,
                receipt.FELL_BACK,
                fallen,
                package_before=installed.digest,
                release_counter=counter,
                channel=installed.channel,
                reason=reason,
            )
        return [f"package {fallen[:12]}, release {counter}, fell back: {reason}"]

    def _judge(self, found: Trial) -> Judgement:
        counts = health.read_counts(self.state.root, found.digest)
        return watch.judge(found.counts_before, counts, self.rules)

    def _find_dead_starts(
        self, installed: Installed, digest: str | None = None
    ) -> str | None:
        counted = start_count.read(self.state.root, digest or installed.digest)
        return watch.find_dead_starts(counted)

    def _opens_before(self, installed: Installed) -> bool:
        """Whether the package before the active one could drive now."""
        before = decide.fall_back(installed)
        if before is None:
            return False
        try:
            active_package.open_package(
                self.state, before, self.keys, self.robots, Move.FALL_BACK
            )
        except (ContinuonError, OSError):
            return False
        return True

    def _fall_back(self, digest: str, installed: Installed) -> Installed:
        """Points to the package before, unless that has happened."""
        before = decide.fall_back(installed)
        if installed.digest != digest or before is None:
            return installed
        self.state.activate(before)
        return before

    def _end(self, found: Trial, outcome: str, reason: str, now: datetime) -> Trial:
        """Writes down how the trial ended, before anything is done about it."""
        counts = health.read_counts(self.state.root, found.digest)
        found = dataclasses.replace(found, end=End(outcome, reason, now, counts))
        trial.write(self.state.root, found)
        return found

    # Receipts.

    def _write_installed(self, found: Trial) -> None:
        known = (receipt.INSTALLED, found.release_counter, found.digest)
        rescued = found.end is not None and found.end.time == found.began
        if rescued or self.receipts.has(*known):
            return
        self.receipts.write(
            found.began,
            receipt.INSTALLED,
            found.digest,
            package_before=found.before,
            release_counter=found.release_counter,
            channel=found.channel,
            origin=found.origin,
            counts=found.figures,
        )

    def _write_end(self, found: Trial, end: End, installed: Installed) -> None:
        fell = end.outcome == receipt.FELL_BACK
        self.receipts.write(
            end.time,
            end.outcome,
            found.digest,
            package_before=installed.digest if fell else found.before,
            release_counter=found.release_counter,
            channel=found.channel,
            origin=found.origin,
            reason=end.reason,
            counts={
                **health.encode_counts(end.counts),
                **{
                    f"before_{name}": value
                    for name, value in health.encode_counts(found.counts_before).items()
                },
            },
        )

    def _note_refused_channel(self, now: datetime, error: Exception) -> None:
        """Writes that a channel was not to be trusted, once for each release."""
        if not isinstance(error, ReleaseError):
            return
        try:
            installed = self.state.read_installed()
        except ContinuonError:
            installed = None
        offer = Offer(
            digest="",
            release_counter=0 if installed is None else installed.release_counter,
            channel="" if installed is None else installed.channel,
            minimum_runtime="",
            rollout_percent=0,
            rollout_salt="",
        )
        self._note_refused(now, offer, error)

    def _note_refused(self, now: datetime, offer: Offer, error: ContinuonError) -> None:
        if self.receipts.has(receipt.REFUSED, offer.release_counter, offer.digest):
            return
        reason = f"{type(error).__name__}: expected {error.expected}, got {error.got}"
        try:
            self.receipts.write(
                max(now, update.find_newest_time(self.state, None)),
                receipt.REFUSED,
                offer.digest,
                release_counter=offer.release_counter,
                channel=offer.channel,
                reason=reason,
            )
        except (ContinuonError, OSError):
            return  # the refusal stands, and its reason is in the log
