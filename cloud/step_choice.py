"""Which form of the step robots run: int8 where it succeeds as often as f32.

The int8 step is faster and not quite the trained model. What that costs is not seen in
the error of single actions, so both drive the same episodes, and a package whose int8
step loses more than it may is made to run f32 instead.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from cloud import package_build
from cloud.evaluation_report import EvaluationReport
from cloud.package_build import BuiltPackage
from cloud.success_rate import SuccessRate
from model.targets import F32, INT8
from release import package
from rlds import canonical_json, durable_file

LARGEST_LOSS = 0.02
"""Success that an int8 step may lose against f32 on the same seeds, as a share of the
episodes: two points."""


@dataclasses.dataclass(frozen=True)
class StepChoice:
    """What was chosen, and by which numbers.

    Attributes:
        chosen: form of the step that robots run.
        f32: success of the f32 step.
        int8: success of the int8 step on the same episodes.
    """

    chosen: str
    f32: SuccessRate
    int8: SuccessRate

    def encode(self) -> bytes:
        """Canonical JSON."""
        rates = {F32: self.f32, INT8: self.int8}
        return canonical_json.encode(
            {
                "schema_version": 1,
                "chosen": self.chosen,
                "largest_loss": LARGEST_LOSS,
                "steps": {
                    form: {"successes": rate.successes, "episodes": rate.episodes}
                    for form, rate in rates.items()
                },
            }
        )

    def text(self) -> str:
        """One line for a terminal."""
        return (
            f"{self.chosen}: int8 {self.int8.successes} and f32 {self.f32.successes} of"
            f" {self.f32.episodes} episodes on the same seeds"
        )


def has_both(built: BuiltPackage) -> bool:
    """Whether robots run the int8 step of a package that has f32 as well."""
    functions = json.loads((built.folder / package.MANIFEST).read_bytes())["functions"]
    both = {"step_f32", "step_int8"} <= functions.keys()
    return both and functions["step"] == functions["step_int8"]


def choose(f32: EvaluationReport, int8: EvaluationReport) -> StepChoice:
    """Decides by success over all tasks; pure.

    Raises:
        ValueError: the reports are not of the same episodes.
    """
    if not f32.same_trials(int8):
        raise ValueError("expected two reports of the same tasks, seeds and data")
    lost = f32.success.successes - int8.success.successes
    chosen = INT8 if lost <= LARGEST_LOSS * f32.success.episodes else F32
    return StepChoice(chosen, f32.success, int8.success)


def settle(
    built: BuiltPackage,
    int8: EvaluationReport,
    evaluate_f32: Callable[[], EvaluationReport],
    record: Path,
) -> tuple[BuiltPackage, StepChoice]:
    """The package with the step it deserves, and a file that says why.

    Args:
        built: a package whose int8 step robots run.
        int8: its evaluation.
        evaluate_f32: evaluates the f32 step of the same package.
        record: file for the choice.

    Raises:
        CloudError: the evaluation fails.
    """
    choice = choose(evaluate_f32(), int8)
    durable_file.write(record, choice.encode())
    if choice.chosen == F32:
        built = package_build.prefer_step(built.folder, F32)
    return built, choice
