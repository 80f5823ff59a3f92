"""A robot's home with a package that learns, and a learner inside the test."""

import os
from pathlib import Path
from typing import Any

from base.errors import ContinuonError
from edge.loops.learner_process import LearnerProcess
from edge.loops.learning_job import Failed, Job, Judged, Report
from edge.loops.local_learning import PACKAGES, LocalLearning, Settings
from edge.loops.night_receipts import NightReceipts
from edge.loops.package_functions import PackageFunctions
from edge.ota.decide import Installed, Origin
from edge.ota.state_folder import StateFolder
from edge.testing import tiny_learning, tiny_package
from edge.testing.tiny_learning import ROBOT_ID, TASKS, Plan
from release.testing.tiny_release import PrivateKey
from release.trusted_keys import TrustedKeys
from release.verification import verify_integrity

NOW = "2026-03-04T09:41:12Z"
_COMPILED: dict[tuple[str, str | None], PackageFunctions] = {}


class LearnerInside:
    """A learner that does its job at once, in the test's own process.

    Packages of equal content are compiled once.
    """

    def __init__(self, job: Job, run_folder: Path) -> None:
        del run_folder
        self.judged: Judged | None = None
        self.failure: str | None = None
        self.running = True
        self.pid = os.getpid()
        self._job = job

    def poll(self, timeout_s: float) -> list[Report]:
        """Does the job."""
        del timeout_s
        reports: list[Report] = []
        if not self.running:
            return []
        if self._job.function is not None:  # it is compiled once for all tests
            self.running = False
            return []
        try:
            compile_once(self._job).run(self._job, reports.append)
        except ContinuonError as e:
            reports.append(Failed(f"{e.source}: expected {e.expected}, got {e.got}"))
        self.running = False
        for report in reports:
            if isinstance(report, Judged):
                self.judged = report
            elif isinstance(report, Failed):
                self.failure = report.reason
        return reports

    def stop(self) -> float:
        """Does not begin."""
        self.running = False
        return 0.0


def compile_once(job: Job) -> PackageFunctions:
    """The functions of a job's package."""
    package = verify_integrity(job.package)
    key = (package.digest, job.loop)
    if key not in _COMPILED:
        _COMPILED[key] = PackageFunctions(package, job.loop)
    return _COMPILED[key]


class LearningHome:
    """One robot: packages, episodes, and what learning says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.told: list[str] = []
        self.number = 0

    def install(
        self,
        plan: Plan = tiny_learning.NORMAL,
        origin: Origin = Origin.CHANNEL,
        key: PrivateKey | None = None,
        **options: Any,
    ) -> str:
        """Makes a package the active one, signed with a key; returns its digest."""
        state = StateFolder(self.root / PACKAGES)
        before = state.read_installed()
        draft = self.root / "draft"
        digest = tiny_learning.write_package(draft, plan, **options)
        if key is not None:
            tiny_package.sign_package(draft, digest, key)
        with state.lock():
            state.add_package(draft, digest)
            counter = 1 if before is None else before.release_counter + 1
            state.activate(
                Installed(
                    digest=digest,
                    release_counter=counter,
                    channel="stable",
                    origin=origin,
                    previous=None if before is None else before.digest,
                )
            )
        return digest

    def open(
        self,
        inside: bool = True,
        quota_bytes: int = 1 << 30,
        keys: TrustedKeys | None = None,
        receipts: NightReceipts | None = None,
        threads: int = 0,
        memory_bytes: float | None = None,
    ) -> LocalLearning:
        """Starts learning, as the process does."""
        return LocalLearning(
            self.root,
            Settings(ROBOT_ID, quota_bytes, threads, memory_bytes, keys),
            self.told.append,
            LearnerInside if inside else LearnerProcess,
            receipts,
        )

    def show(self, count: int, **options: Any) -> None:
        """Lets somebody show the tasks in turn."""
        for _ in range(count):
            self.number += 1
            task = TASKS[self.number % len(TASKS)]
            episode = tiny_learning.demonstrate(self.number, task, **options)
            tiny_learning.hand_over(self.root, episode)

    def drive(
        self, package: str, delta: str | None, successes: str, **options: Any
    ) -> None:
        """Lets a package drive; one episode for each letter, `+` for success."""
        for letter in successes:
            self.show(
                1,
                operator=f"policy:{package[:12]}",
                package_digest=package,
                delta_digest=delta or "",
                success=letter == "+",
                **options,
            )
