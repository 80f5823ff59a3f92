"""The part of the main job that runs robots: package, channel's package, and expert.

All of them are measured on the same trials, which are created once. Only the step form
is chosen before that, on other trials.
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
from cloud.evaluate import (
    channel_baseline,
    expert_baseline,
    int8_choice,
    trajectories,
    verdict,
)
from cloud.evaluate import rollouts as evaluate
from cloud.evaluate.int8_choice import StepChoice
from cloud.evaluate.report import EvaluationReport
from cloud.evaluate.rollouts import Trials
from cloud.evaluate.success_rate import SuccessRate
from cloud.evaluate.trajectories import Trajectory
from cloud.evaluate.verdict import Baseline, Decision
from cloud.job.destination import Destination
from cloud.job.run_folder import RunFolder
from cloud.job.settings import JobSettings
from cloud.package.build import BuiltPackage
from release.verification import VerifiedPackage

_EVALUATION = "evaluation"  # folder of logs


@dataclasses.dataclass(frozen=True)
class JobEvaluation:
    """The trials of one run, and where their results are written.

    Attributes:
        settings: settings of the job.
        trials: the episodes for the package, the channel's package and the expert.
        manifest_digest: digest of the dataset's manifest, 64 hex characters.
        workers: number of parallel processes.
        folder: the run's folder.
        console: where progress is shown.
    """

    settings: JobSettings
    trials: Trials
    manifest_digest: str
    workers: int
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
        trials = int8_choice.comparison_trials(self.trials)
        return int8_choice.choose_step(
            built,
            trials,
            lambda form: self._evaluate_package(built, None, trials, form).success,
        )

    def evaluate(
        self, built: BuiltPackage, held_out_loss: float | None
    ) -> tuple[EvaluationReport, Sequence[Trajectory]]:
        """Evaluates the package, writes the report and records a few episodes.

        They are the first one of each task, and one of each ending that these lack.

        Raises:
            CloudError: the evaluation fails.
        """
        folder = self.folder
        with trajectories.record(self.trials, built.folder, folder.samples) as sampled:
            evaluation = self._evaluate_package(built, held_out_loss, self.trials)
            samples = sampled()
        examples = evaluate.find_examples(folder.logs / _EVALUATION)
        samples += trajectories.record_others(
            self.trials, built.folder, folder.samples, examples
        )
        durable_file.write(folder.evaluation, evaluation.encode())
        return evaluation, samples

    def judge(self, found: EvaluationReport, destination: Destination) -> Decision:
        """Reaches the verdict, against the channel's package on the same trials."""
        before = self._baseline(destination, self.settings.publish.family)
        return verdict.decide(found, self.settings.gates, before)

    def _baseline(self, destination: Destination, family: str) -> Baseline | None:
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
                lambda fetched: channel_baseline.find_report(
                    destination.store, family, fetched
                ),
                self._evaluate_channel,
                lambda found: self.trials.match(found, self.manifest_digest),
            )

    def expert(self, known: Path | None) -> Mapping[str, SuccessRate]:
        """Returns the expert's success, from `known` if that is of the same trials."""
        if known is not None:
            read = expert_baseline.read(known, self.trials)
            if read is not None:
                return read
        with self._show_progress("run the expert") as progress:
            rollouts = evaluate.roll_out(
                self.trials,
                ["--policy=expert"],
                self.workers,
                self.folder.logs / "expert",
                lambda done: progress.show(done, ""),
            )
        return expert_baseline.from_rollouts(rollouts)

    def _evaluate_package(
        self,
        built: BuiltPackage,
        held_out_loss: float | None,
        trials: Trials,
        step: str | None = None,
    ) -> EvaluationReport:
        title, log = "evaluate", _EVALUATION
        if step is not None:
            title, log = f"compare {step}", f"comparison-{step}"
        with self._show_progress(title) as progress:
            return evaluate.evaluate_package(
                trials,
                built.folder,
                built.digest,
                self.manifest_digest,
                held_out_loss,
                self.workers,
                self.folder.logs / log,
                lambda done: progress.show(done, ""),
                step,
            )

    def _evaluate_channel(self, fetched: VerifiedPackage) -> EvaluationReport:
        with self._show_progress("evaluate channel") as progress:
            return evaluate.evaluate_package(
                self.trials,
                fetched.folder,
                fetched.digest,
                self.manifest_digest,
                None,
                self.workers,
                self.folder.logs / "baseline",
                lambda done: progress.show(done, ""),
            )

    def _show_progress(self, title: str) -> WorkProgress:
        return WorkProgress(self.console, title, self.trials.episodes, "episodes")


def create(
    settings: JobSettings,
    tasks: tuple[str, ...],
    manifest_digest: str,
    folder: RunFolder,
    console: Console,
) -> JobEvaluation:
    """Creates the evaluation of a run from its settings."""
    asked = settings.evaluate
    return JobEvaluation(
        settings, asked.trials(tasks), manifest_digest, asked.workers, folder, console
    )
