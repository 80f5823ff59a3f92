"""The part of the main job that judges a package of a robot without a simulator.

It stands in the place of `evaluation.py`: the package, and the one now on the channel,
are replayed the same held-out episodes. The step form is chosen before that, on some
that were trained on.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from base import durable_file
from cloud.console import WorkProgress
from cloud.evaluate import channel_baseline, held_out_verdict, int8_choice, replays
from cloud.evaluate.held_out_report import HeldOutReport
from cloud.evaluate.replays import Recordings
from cloud.evaluate.success_rate import SuccessRate
from cloud.evaluate.trajectories import Trajectory
from cloud.evaluate.verdict import Baseline, Decision
from cloud.job.data import Data
from cloud.job.destination import Destination
from cloud.job.run_folder import RunFolder
from cloud.job.settings import JobSettings
from cloud.package import build
from cloud.package.build import BuiltPackage
from model.export.targets import F32, INT8
from release import verification
from release.package import PackageManifest
from release.verification import VerifiedPackage

METRIC = "export_replayed"
"""Name of the comparison of step forms among the metrics in `package.json`."""
LARGEST_LOSS = 0.02
"""Share by which the error of the int8 step may be above that of the f32 step."""
UNNOTICED = 0.002
"""Error, in half ranges of the action, by which it may be above in any case: three
times what int8 differed by on the worst canary episode (`release/canary.py`)."""
_COMPARED = 64  # training episodes

type Limits = tuple[tuple[float, ...], tuple[float, ...]]
"""Lowest and highest action, one number per channel each."""


@dataclasses.dataclass(frozen=True)
class StepChoice:
    """The chosen step form and the errors behind the choice.

    Attributes:
        f32: mean error of the f32 step on training episodes, in half ranges.
        int8: that of the int8 step on the same ones.
        episodes: number of these episodes.
    """

    f32: float
    int8: float
    episodes: int

    @property
    def chosen(self) -> str:
        """Step form that robots run."""
        allowed = self.f32 * (1.0 + LARGEST_LOSS) + UNNOTICED
        return INT8 if self.int8 <= allowed else F32

    def metrics(self) -> dict[str, object]:
        """Returns the metrics for `package.json`."""
        return {
            "chosen": self.chosen,
            "largest_loss": LARGEST_LOSS,
            "unnoticed": UNNOTICED,
            "errors": {F32: self.f32, INT8: self.int8},
            "episodes": self.episodes,
        }

    def text(self) -> str:
        """Returns one line for a terminal."""
        return (
            f"{self.chosen}: error of int8 {self.int8:.4f} and of f32 {self.f32:.4f} "
            f"on {self.episodes} training episodes"
        )


@dataclasses.dataclass(frozen=True)
class HeldOutEvaluation:
    """The held-out episodes of one run, and where its results are written.

    Attributes:
        settings: settings of the job.
        held_out: the episodes that judge the package.
        trained: episodes that were trained on, for the choice of the step form.
        folder: the run's folder.
        console: where progress is shown.
    """

    settings: JobSettings
    held_out: Recordings
    trained: Recordings
    folder: RunFolder
    console: Console

    def choose_step(
        self, built: BuiltPackage
    ) -> tuple[BuiltPackage, StepChoice | None]:
        """Chooses the step form that robots run; no choice if there is only one form.

        Raises:
            CloudError: a step form cannot be run.
        """
        if not int8_choice.has_both_forms(built):
            return built, None
        manifest = verification.verify_integrity(built.folder).manifest
        found = {
            form: self._replay(
                f"compare {form}",
                self.trained,
                built.folder,
                manifest,
                f"comparison-{form}",
                _limits(manifest),
                form,
            )
            for form in (F32, INT8)
        }
        choice = StepChoice(
            found[F32].error.value, found[INT8].error.value, len(found[F32].episodes)
        )
        metrics = {METRIC: choice.metrics()}
        return build.prefer_step(built.folder, choice.chosen, metrics), choice

    def evaluate(
        self, built: BuiltPackage, held_out_loss: float | None
    ) -> tuple[HeldOutReport, Sequence[Trajectory]]:
        """Replays the held-out episodes to the package and writes the report.

        Raises:
            CloudError: the evaluation fails.
        """
        del held_out_loss  # these errors are of the exported package
        manifest = verification.verify_integrity(built.folder).manifest
        found = self._replay(
            "replay",
            self.held_out,
            built.folder,
            manifest,
            "evaluation",
            _limits(manifest),
        )
        durable_file.write(self.folder.evaluation, found.encode())
        return found, ()

    def judge(self, found: HeldOutReport, destination: Destination) -> Decision:
        """Reaches the verdict, against the channel's package on the same episodes."""
        settings = self.settings
        before = self._baseline(found, destination)
        return held_out_verdict.decide(
            found, settings.gates, settings.held_out_gates, before
        )

    def expert(self, known: Path | None) -> Mapping[str, SuccessRate]:
        """Returns nothing: no expert drives a robot that no simulator has."""
        del known
        return {}

    def _baseline(
        self, found: HeldOutReport, destination: Destination
    ) -> Baseline[HeldOutReport] | None:
        family = self.settings.publish.family
        limits = found.action_minimum, found.action_maximum

        def find(fetched: VerifiedPackage) -> HeldOutReport | None:
            reports = channel_baseline.find_reports(destination.store, family, fetched)
            return None if reports is None else reports.held_out

        def replay(fetched: VerifiedPackage) -> HeldOutReport:
            return self._replay(
                "replay channel",
                self.held_out,
                fetched.folder,
                fetched.manifest,
                "baseline",
                limits,
            )

        with tempfile.TemporaryDirectory(dir=self.folder.path) as name:
            return channel_baseline.baseline(
                destination.channel,
                lambda entry: channel_baseline.fetch(
                    destination.store,
                    entry,
                    destination.trusted,
                    datetime.now(UTC),
                    Path(name) / "package",
                ),
                find,
                replay,
                found.same_episodes,
            )

    def _replay(
        self,
        title: str,
        recordings: Recordings,
        package: Path,
        described: PackageManifest,
        log: str,
        limits: Limits,
        step: str | None = None,
    ) -> HeldOutReport:
        total = len(recordings.chosen)
        with WorkProgress(self.console, title, total, "episodes") as progress:
            return replays.evaluate_package(
                recordings,
                package,
                described,
                limits,
                self.settings.evaluate.workers,
                self.folder.logs / log,
                lambda done: progress.show(done, ""),
                step,
            )


def _limits(manifest: PackageManifest) -> Limits:
    action = manifest.robot.action
    return action.minimum, action.maximum


def create(
    settings: JobSettings, data: Data, folder: RunFolder, console: Console
) -> HeldOutEvaluation:
    """Creates the evaluation of a run from its settings and its data."""
    most = settings.evaluate.held_out_episodes
    return HeldOutEvaluation(
        settings,
        Recordings(data.validation, data.manifest, most),
        Recordings(data.train, data.manifest, _COMPARED),
        folder,
        console,
    )
