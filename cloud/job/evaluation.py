"""All of the main job that drives robots: the package, the channel's, and the expert.

Everything is measured on the same trials, which is why they are made once; only which
form of the step is to be measured there is found out on others, beforehand.
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
from cloud.evaluate import channel_baseline, expert_baseline, int8_choice, trajectories
from cloud.evaluate import rollouts as evaluate
from cloud.evaluate.bless import Baseline
from cloud.evaluate.int8_choice import StepChoice
from cloud.evaluate.report import EvaluationReport
from cloud.evaluate.rollouts import Trials
from cloud.evaluate.success_rate import SuccessRate
from cloud.evaluate.trajectories import Trajectory
from cloud.job.destination import Place
from cloud.job.run_folder import RunFolder
from cloud.job.settings import JobSettings
from cloud.package.build import BuiltPackage
from release.verification import VerifiedPackage


@dataclasses.dataclass(frozen=True)
class JobEvaluation:
    """The trials of one run, and where what they come to is written.

    Attributes:
        trials: the episodes of the evaluation, the channel's package and the expert.
        manifest: digest of the dataset's manifest.
        workers: evaluating processes at once.
        folder: the run's folder.
        console: where progress is shown.
    """

    trials: Trials
    manifest: str
    workers: int
    folder: RunFolder
    console: Console

    def settled(self, built: BuiltPackage) -> tuple[BuiltPackage, StepChoice | None]:
        """The package with the step that robots run; None where there is one form.

        Raises:
            CloudError: a form of the step cannot be driven.
        """
        if not int8_choice.has_both_forms(built):
            return built, None
        trials = int8_choice.comparison_trials(self.trials)
        return int8_choice.choose_step(
            built,
            trials,
            lambda form: self._of_package(built, None, trials, form).success,
        )

    def evaluated(
        self, built: BuiltPackage, held_out_loss: float | None
    ) -> tuple[EvaluationReport, Sequence[Trajectory]]:
        """The report on the step that ships, written down, and a few episodes.

        Raises:
            CloudError: the evaluation fails.
        """
        folder = self.folder
        with trajectories.record(self.trials, built.folder, folder.samples) as sampled:
            evaluation = self._of_package(built, held_out_loss, self.trials)
            samples = sampled()
        durable_file.write(folder.evaluation, evaluation.encode())
        return evaluation, samples

    def baseline(self, place: Place, family: str) -> Baseline | None:
        """What the package on the channel comes to on the same trials."""
        with tempfile.TemporaryDirectory(dir=self.folder.path) as name:
            return channel_baseline.baseline(
                place.channel,
                lambda entry: channel_baseline.fetch(
                    place.store,
                    entry,
                    place.trusted,
                    datetime.now(UTC),
                    Path(name) / "package",
                ),
                lambda fetched: channel_baseline.find_report(
                    place.store, family, fetched
                ),
                self._of_channel,
                lambda found: self.trials.match(found, self.manifest),
            )

    def expert(self, known: Path | None) -> Mapping[str, SuccessRate]:
        """The expert's success, from a file if that is of the same trials."""
        if known is not None:
            read = expert_baseline.read(known, self.trials)
            if read is not None:
                return read
        with self._shown("run the expert") as shown:
            rollouts = evaluate.roll_out(
                self.trials,
                ["--policy=expert"],
                self.workers,
                self.folder.logs / "expert",
                lambda done: shown.show(done, ""),
            )
        return expert_baseline.from_rollouts(rollouts)

    def _of_package(
        self,
        built: BuiltPackage,
        held_out_loss: float | None,
        trials: Trials,
        step: str | None = None,
    ) -> EvaluationReport:
        title, log = "evaluate", "evaluation"
        if step is not None:
            title, log = f"compare {step}", f"comparison-{step}"
        with self._shown(title) as shown:
            return evaluate.evaluate_package(
                trials,
                built.folder,
                built.digest,
                self.manifest,
                held_out_loss,
                self.workers,
                self.folder.logs / log,
                lambda done: shown.show(done, ""),
                step,
            )

    def _of_channel(self, fetched: VerifiedPackage) -> EvaluationReport:
        with self._shown("evaluate channel") as shown:
            return evaluate.evaluate_package(
                self.trials,
                fetched.folder,
                fetched.digest,
                self.manifest,
                None,
                self.workers,
                self.folder.logs / "baseline",
                lambda done: shown.show(done, ""),
            )

    def _shown(self, title: str) -> WorkProgress:
        return WorkProgress(self.console, title, self.trials.episodes, "episodes")


def of_run(
    settings: JobSettings,
    tasks: tuple[str, ...],
    manifest: str,
    folder: RunFolder,
    console: Console,
) -> JobEvaluation:
    """The trials that a run's settings ask for."""
    asked = settings.evaluate
    return JobEvaluation(asked.trials(tasks), manifest, asked.workers, folder, console)
