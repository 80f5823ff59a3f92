"""Learning on one robot: its package, its memories, its deltas, and one learner.

It is what the process `learn` does, without mailbox, clock and flags: `look` reads the
disk, `begin` starts a round, `poll` follows it to its receipt, `stop` ends it within
200 ms. Whatever must survive is on the disk before it counts, and read again at the
next start.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from base import durable_file
from base.errors import ContinuonError
from edge.errors import DeltaError, LearningError
from edge.loops import compiled_functions, history, night, night_receipts, trial
from edge.loops.budgets import COMPILING_TIMES, SLOW, Usage
from edge.loops.delta_store import CURRENT, LAST_GOOD, QUARANTINE, DeltaStore
from edge.loops.learner_process import LearnerProcess
from edge.loops.learner_series import Learner, LearnerSeries
from edge.loops.learning_job import Job, Progress
from edge.loops.memories import DEFAULT_QUOTA_BYTES, NEW, LocalMemories
from edge.loops.memory_choice import KNOWN, Memory, Use
from edge.loops.meter import read_resident_bytes, read_usage
from edge.loops.night import Receipt, Round
from edge.loops.night_receipts import NightReceipts
from edge.loops.trial import Standing
from edge.ota.decide import Installed, Origin
from edge.ota.state_folder import StateFolder
from edge.runtime_version import EXPORT_TARGET
from release.errors import ReleaseError
from release.trusted_keys import TrustedKeys
from release.verification import IntactPackage, verify_integrity, verify_package

PACKAGES, DELTAS, MEMORIES, RUN = "packages", "deltas", "memories", "run"
OWN_FOLDERS = (DELTAS, f"{DELTAS}/{QUARANTINE}", MEMORIES, f"{MEMORIES}/{NEW}")
"""Folders of a robot's home."""
AGAIN: Final = "again"
"""A round that judges the delta of the package before this one."""
PREPARE: Final = "prepare"
"""What compiles the functions of a package before any round needs them."""
COMPILED: Final = "compiled"
"""In the folder of memories: `compiled_functions`."""


WANTED: Final = "the operator wanted it"


@dataclass(frozen=True)
class Settings:
    """How a robot learns.

    Attributes:
        robot_id: name of this robot, as its raw episodes have it.
        quota_bytes: size of all memories.
        threads: processors for the learner; 0 for all.
        memory_bytes: largest resident memory of the learner; None for any.
        keys: keys that may sign packages; None if the pointer alone is believed.
    """

    robot_id: str
    quota_bytes: int = DEFAULT_QUOTA_BYTES
    threads: int = 0
    memory_bytes: float | None = None
    keys: TrustedKeys | None = None


@dataclass
class _Running:
    """A round that runs; without one, its functions are only compiled."""

    planned: Round | None
    learner: LearnerSeries
    before: Usage
    progress: Progress | None = None

    @property
    def loop(self) -> str:
        """The loop; `AGAIN` while an older delta is judged, or `PREPARE`."""
        return PREPARE if self.planned is None else self.planned.loop or AGAIN

    @property
    def doing(self) -> str:
        """What its learner does now, for people."""
        compiles = self.learner.compiles
        return "compiling a function" if compiles else f"the {self.loop} loop"


class LocalLearning:
    """What one robot learns with; used by one process.

    Attributes:
        package: the active package; None if it is missing or damaged.
        origin: where it came from.
        receipt: what the last round came to; None if none has ended since the start.
    """

    def __init__(
        self,
        home: Path,
        settings: Settings,
        tell: Callable[[str], None],
        start: Callable[[Job, Path], Learner] = LearnerProcess,
        receipts: NightReceipts | None = None,
    ) -> None:
        """Reads nothing yet.

        Args:
            home: the robot's folder.
            settings: how it learns.
            tell: receives one line for everything that the operator should know.
            start: starts a learner.
            receipts: writes what learning came to; None for a robot without them.
        """
        self._home, self._settings, self._tell = home, settings, tell
        self._start, self._receipts = start, receipts
        self._installed: Installed | None = None
        self._state = StateFolder(home / PACKAGES)
        self._run_folder = home / RUN
        self._folder = home / MEMORIES
        self.store = DeltaStore(home / DELTAS)
        self.memories = LocalMemories(
            self._folder, settings.robot_id, settings.quota_bytes, tell
        )
        self._history: history.History | None = None
        self._running: _Running | None = None
        self._told: dict[str, str] = {}
        self._cleaned = False
        self._noted: IntactPackage | None = None
        self._compiled: set[Path] = set()  # that were found whole
        self.package: IntactPackage | None = None
        self.origin = Origin.SEED
        self.receipt: Receipt | None = None

    @property
    def loop(self) -> str | None:
        """The loop that runs; `AGAIN` while an older delta is judged, or `PREPARE`."""
        return None if self._running is None else self._running.loop

    @property
    def loops(self) -> frozenset[str]:
        """The loops that the package has."""
        plan = None if self.package is None else self.package.manifest.learning
        return frozenset() if plan is None else frozenset(plan.loops)

    @property
    def delta(self) -> str | None:
        """Digest of the delta that the pointer names; None for none."""
        try:
            return self.store.named(CURRENT)
        except DeltaError:
            return None

    @property
    def learner_pids(self) -> tuple[int, ...]:
        """Process ids of the learner that runs."""
        return () if self._running is None else (self._running.learner.pid,)

    @property
    def progress(self) -> Progress | None:
        """How far the running round is."""
        return None if self._running is None else self._running.progress

    @property
    def has_more(self) -> bool:
        """Whether the last look left episodes that the next one reads."""
        return self.package is not None and self.memories.has_more

    @property
    def knows_memories(self) -> bool:
        """Whether all that was kept before this process began has been read."""
        return self.package is None or self.memories.is_whole

    def look(self) -> None:
        """Reads package and new episodes, and judges the delta that is driven with.

        It reads some episodes at a time, so that nobody waits for it long.

        Raises:
            DiskError: the disk refused.
        """
        self._make_way()
        if not self._cleaned:
            self._clean()
        self._open_package()
        if self.package is None:
            return  # nobody knows yet which episodes fit
        self._note_what_a_cut_left()
        known = self._read_history()
        taken = self.memories.take(self.package.manifest.robot)
        if taken:
            self._write_history(known.add_outcomes(taken))
        self._judge_use()

    def count_new(self, loop: str) -> int:
        """Memories of the robot as it is that a loop has not been given yet."""
        given = self._read_history().given
        since = given.get(loop, 0)
        if loop != SLOW:
            since = max(since, given.get(SLOW, 0))
        return sum(
            memory.number >= since and memory.kind != KNOWN
            for memory in self._list_learned()
        )

    def count_memories(self) -> int:
        """Memories that a round could use."""
        return len(self.memories.read())

    def needs_judging(self) -> bool:
        """Whether a pointer names a delta of another package than the active one."""
        if self.package is None:
            return False
        return night.find_foreign(self.store, self.package.manifest) is not None

    def needs_preparing(self) -> bool:
        """Whether a round would have to compile something first."""
        return bool(self._list_missing(self.loops))

    def begin(self, loop: str, available_bytes: int | None = None) -> None:
        """Starts a round of a loop, or of `AGAIN`; or `PREPARE`.

        Args:
            loop: the loop.
            available_bytes: memory that there is for a learner; None if not known.

        Raises:
            LearningError: there is no package, it does not learn in this way, the loop
                may not change it, it needs more memory than there is, or there is
                nothing to learn from.
            DiskError, OSError: the disk or the system refused.
        """
        if self.package is None:
            raise LearningError(self._home / PACKAGES, "an active package", "none")
        durable_file.make_own_folder(self._run_folder)
        planned = None
        if loop == PREPARE:
            night.require_learnable(self.package.manifest, None, available_bytes)
        else:
            try:
                planned = self._plan(self.package, loop, available_bytes)
            finally:
                if loop == AGAIN:  # one that cannot be judged has been put aside
                    self._note_quarantine("the new package cannot judge it")
            if planned is None:
                return
        jobs = self._list_jobs(self.package, loop, planned)
        if not jobs:
            return
        before = read_usage()
        learner = LearnerSeries(jobs, self._run_folder, self._start)
        self._running = _Running(planned, learner, before)

    def poll(self, created_at: str, timeout_s: float = 0.0) -> Receipt | None:
        """Follows the running round; returns its receipt when it has ended well.

        Args:
            created_at: the time now, RFC 3339 in UTC, for the delta's record.
            timeout_s: longest time to wait for a word.

        Raises:
            LearningError: the round failed, or took more memory than it may and was
                stopped.
            DiskError: the disk refused.
        """
        running = self._running
        if running is None:
            return None
        self._check_memory(running)
        for report in running.learner.poll(timeout_s):
            if isinstance(report, Progress):
                running.progress = report
        if running.learner.running:
            return None
        self._running = None
        planned = running.planned
        used = read_usage() - running.before
        if planned is None:
            if running.learner.failure is not None:
                self._note_failure(running, used)
                raise LearningError(
                    "a learner", "compiled functions", running.learner.failure
                )
            self._tell(f"{PREPARE}: compiled what a night needs, {used.wall_s:.0f} s")
            return None
        if running.learner.judged is None:
            self._note_failure(running, used)
            raise LearningError(
                f"the {planned.loop or AGAIN} loop",
                "new vectors",
                running.learner.failure or "nothing",
            )
        receipt = night.finish_round(
            planned,
            running.learner.judged,
            self.store,
            created_at=created_at,
            wall_s=used.wall_s,
            processor_s=used.processor_s,
        )
        self.receipt = receipt
        if self._receipts is not None and self._installed is not None:
            self._receipts.note_round(self._installed, receipt)
        if planned.candidate is not None:
            self._note_quarantine(f"on the new package: {receipt.reason}")
        self._note_round(planned, receipt)
        return receipt

    def stop(self) -> float:
        """Ends the running round at once; returns how long that took, in seconds."""
        running, self._running = self._running, None
        return 0.0 if running is None else running.learner.stop()

    def _check_memory(self, running: _Running) -> None:
        """Stops a learner that takes more than it may, whatever its package said."""
        learner = running.learner
        allowed = self._settings.memory_bytes
        if allowed is None:
            return
        allowed *= COMPILING_TIMES if learner.compiles else 1.0
        took = read_resident_bytes([learner.pid])
        if took > allowed:
            used, doing = read_usage() - running.before, running.doing
            self.stop()
            at_most = f"at most {allowed / 1e6:.0f} MB of memory"
            got = f"{took / 1e6:.0f} MB, so it was stopped"
            self._note_failure(running, used, f"{doing}: expected {at_most}, got {got}")
            raise LearningError(
                doing,
                at_most,
                got,
                remedy="the robot drives on; choose another package or a larger "
                "--learning_memory_mb",
            )

    def _note_failure(self, running: _Running, used: Usage, reason: str = "") -> None:
        """Writes the receipt of a round that came to no end of its own."""
        if self._receipts is None or self._installed is None:
            return
        if not reason:
            named = night_receipts.name_failure(running.learner.failure or "")
            reason = f"{running.doing}: {named}"
        counts: dict[str, int | float] = {
            "wall_s": used.wall_s,
            "processor_s": used.processor_s,
        }
        if running.planned is not None:
            counts["episodes"] = len(running.planned.learned)
        self._receipts.note_failure(self._installed, reason, counts)

    def _make_way(self) -> None:
        """Sets aside, with a line, what stands in the place of this process's folders.

        It would be found only after a round, which could not keep what it made.
        """
        for name in OWN_FOLDERS:
            folder = self._home / name
            if (aside := durable_file.set_aside_non_folder(folder)) is not None:
                self._tell(f"{folder} was no folder: now {aside.name}")

    def _clean(self) -> None:
        """Removes what a cut left."""
        self.store.clean()
        for folder in (self._folder, self._run_folder):
            durable_file.remove_leftovers(folder)
        self._cleaned = True

    def _plan(
        self, package: IntactPackage, loop: str, available_bytes: int | None
    ) -> Round | None:
        threads = self._settings.threads
        if loop == AGAIN:
            return night.plan_judging(
                package,
                self.store,
                self.memories,
                self._run_folder,
                threads=threads,
                available_bytes=available_bytes,
            )
        return night.plan_round(
            package,
            loop,
            self.store,
            self.memories,
            self._run_folder,
            origin=self.origin,
            rounds=self._read_history().rounds,
            threads=threads,
            available_bytes=available_bytes,
        )

    def _list_jobs(
        self, package: IntactPackage, loop: str, planned: Round | None
    ) -> list[Job]:
        """What learners do one after the other: compile, then learn."""
        folder = self._compiled_folder(package)
        compiled_functions.forget_others(folder)
        loops = self.loops if planned is None else {loop} - {AGAIN}
        threads = self._settings.threads
        jobs = [
            Job.to_compile(package.folder, name, folder, threads)
            for name in self._list_missing(loops)
        ]
        if planned is not None:
            jobs.append(dataclasses.replace(planned.job, cache=folder))
        return jobs

    def _list_missing(self, loops: Iterable[str]) -> list[str]:
        """Functions of these loops that are to be prepared and are not."""
        if self.package is None or not self.loops:
            return []
        folder = self._compiled_folder(self.package)
        missing = []
        for name in night.list_to_prepare(self.package, loops):
            if folder / name not in self._compiled:
                if compiled_functions.read(folder, name) is None:
                    missing.append(name)
                else:
                    self._compiled.add(folder / name)
        return missing

    def _compiled_folder(self, package: IntactPackage) -> Path:
        name = compiled_functions.folder_name(package.digest, self._settings.threads)
        return self._folder / COMPILED / name

    def _note_round(self, planned: Round, receipt: Receipt) -> None:
        known = self._read_history().add_surprise(receipt.surprise)
        given = dict(known.given)
        if planned.loop is not None:
            last = max((m.number for m in planned.learned), default=-1)
            given[planned.loop] = max(given.get(planned.loop, 0), last + 1)
        self._write_history(
            dataclasses.replace(known, rounds=known.rounds + 1, given=given)
        )

    def _open_package(self) -> None:
        try:
            installed = self._state.read_installed()
        except ContinuonError as e:
            self._tell_once(PACKAGES, str(e))
            return
        if installed is None:
            self.package = None
            return
        if self.package is not None and self.package.digest == installed.digest:
            return
        try:
            folder = self._state.package_folder(installed.digest)
            package = self._verify(folder, installed.digest)
        except (ReleaseError, ContinuonError, OSError) as e:
            self.package = None
            self._tell_once(PACKAGES, str(e))
            return
        if package.digest != installed.digest:
            self.package = None
            self._tell_once(PACKAGES, f"{folder}: holds package {package.digest[:12]}")
            return
        self.package, self._installed = package, installed
        self.origin = installed.origin
        self._history = None

    def _verify(self, folder: Path, digest: str) -> IntactPackage:
        keys = self._settings.keys
        if keys is None:
            return verify_integrity(folder, EXPORT_TARGET)
        return verify_package(folder, keys, None, EXPORT_TARGET, digest).intact

    def _read_history(self) -> history.History:
        """The history of the active package, read once."""
        if self._history is None:
            digest = "" if self.package is None else self.package.digest
            self._history = history.read(self._folder).of_package(digest)
            self.memories.note_surprise(self._history.surprise)
        return self._history

    def _write_history(self, known: history.History) -> None:
        self._history = known
        self.memories.note_surprise(known.surprise)
        durable_file.make_own_folder(self._folder)
        history.write(self._folder, known)

    def _list_learned(self) -> list[Memory]:
        return [m for m in self.memories.read() if m.use is Use.LEARN and m.steps > 1]

    def _judge_use(self) -> None:
        """Keeps a delta that proved good as the last good one; leaves a bad one."""
        assert self.package is not None  # looked at before
        manifest = self.package.manifest
        try:
            current = self.store.read(CURRENT, manifest)
        except DeltaError as e:
            if not self.needs_judging():
                self._tell_once(CURRENT, str(e))
                self.store.go_back(manifest)
                self._told.pop(CURRENT)  # a later one is another
            return
        if current is None:
            return
        good = None
        with contextlib.suppress(DeltaError):
            good = self.store.named(LAST_GOOD)
        fallback = "" if good in (None, current.digest) else str(good)
        standing, reason = trial.judge_use(
            self._read_history().outcomes, current.digest, fallback
        )
        name = f"delta {current.digest[:12]}"
        if standing is Standing.BAD:
            self.store.go_back(manifest)
            self.store.set_aside(current.digest)
            self._note_quarantine(reason)
            self._tell(f"{name} goes back: {reason}")
        elif standing is Standing.GOOD and good != current.digest:
            self.store.point(LAST_GOOD, current.digest)
            if self._receipts is not None and self._installed is not None:
                self._receipts.note_proved(self._installed, current.digest, reason)
            self._tell(f"{name} is the last good one: {reason}")

    def go_back(self, delta: str) -> str:
        """Leaves a delta since a person says so, for the last good one or none.

        Call it while no round runs.

        Args:
            delta: digest of the delta that the person wants to leave.

        Returns:
            What became of it, as a line.

        Raises:
            DiskError: the disk refused.
        """
        if self.package is None or not delta or self.delta != delta:
            return f"delta {delta[:12]} is not driven with: nothing goes back"
        self.store.go_back(self.package.manifest)
        self.store.set_aside(delta)  # it may have been the last good one itself
        self._note_quarantine(WANTED)
        now = self.delta
        to = f"delta {now[:12]}" if now else "the package as it came"
        return f"delta {delta[:12]} goes back to {to}: {WANTED}"

    def _note_what_a_cut_left(self) -> None:
        """Writes, once for each package, the receipts that a cut kept from being."""
        if self._noted == self.package or self.package is None:
            return
        self._noted = self.package
        if self._receipts is None or self._installed is None:
            return
        with contextlib.suppress(DeltaError):
            current = self.store.read(CURRENT, self.package.manifest)
            if current is not None:
                self._receipts.note_current(self._installed, current)
        with contextlib.suppress(DeltaError):
            good = self.store.read(LAST_GOOD, self.package.manifest)
            if good is not None:
                self._receipts.note_proved(self._installed, good.digest)
        self._receipts.note_quarantine(self._installed, self.store)

    def _note_quarantine(self, reason: str) -> None:
        if self._receipts is not None and self._installed is not None:
            self._receipts.note_quarantine(self._installed, self.store, reason)

    def _tell_once(self, about: str, line: str) -> None:
        if self._told.get(about) != line:
            self._told[about] = line
            self._tell(line)
