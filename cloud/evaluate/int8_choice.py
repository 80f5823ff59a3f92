"""Chooses the step form that robots run: int8 if it succeeds as often as f32.

The int8 step is faster but not exactly the trained model. The error of single actions
does not show what that costs, so both forms drive the same episodes, and a package
whose int8 step loses more than is allowed is set to run f32 instead. The results are
stored in its `package.json`, with the other checks of the export.

The comparison is made before the evaluation and on other episodes: the digest that is
evaluated must be the one that ships, and a choice made on the evaluation's own episodes
would bias the evaluation.
"""

import dataclasses
import json
from collections.abc import Callable

from cloud.evaluate.rollouts import Trials
from cloud.evaluate.success_rate import SuccessRate
from cloud.package import build
from cloud.package.build import BuiltPackage
from model.export.targets import F32, INT8
from release import package

METRIC = "export_closed_loop"
"""Name of the comparison among the metrics in `package.json`."""
LARGEST_LOSS = 0.02
"""Share of episodes by which int8 may succeed less often than f32 on the same seeds:
two percentage points."""


@dataclasses.dataclass(frozen=True)
class StepChoice:
    """The chosen step form and the numbers behind the choice.

    Attributes:
        trials: the episodes that both forms drove.
        f32: success of the f32 step.
        int8: success of the int8 step.
    """

    trials: Trials
    f32: SuccessRate
    int8: SuccessRate

    @property
    def chosen(self) -> str:
        """Step form that robots run, by success over all tasks."""
        lost = self.f32.successes - self.int8.successes
        return INT8 if lost <= LARGEST_LOSS * self.f32.episodes else F32

    def metrics(self) -> dict[str, object]:
        """Returns the metrics for `package.json`."""
        rates = {F32: self.f32, INT8: self.int8}
        return {
            "chosen": self.chosen,
            "largest_loss": LARGEST_LOSS,
            "environment": self.trials.environment,
            "first_seed": self.trials.first_seed,
            "episodes_per_task": self.trials.episodes_per_task,
            "max_steps": self.trials.max_steps,
            "successes": {form: rate.successes for form, rate in rates.items()},
            "episodes": {form: rate.episodes for form, rate in rates.items()},
        }

    def text(self) -> str:
        """Returns one line for a terminal."""
        return (
            f"{self.chosen}: int8 {self.int8.successes} and f32 {self.f32.successes} of"
            f" {self.f32.episodes} episodes, which the evaluation does not use"
        )


def has_both_forms(built: BuiltPackage) -> bool:
    """Tells whether robots run the int8 step of a package that also has f32."""
    functions = json.loads((built.folder / package.MANIFEST).read_bytes())["functions"]
    both = {"step_f32", "step_int8"} <= functions.keys()
    return both and bool(functions["step"] == functions["step_int8"])


def comparison_trials(evaluation: Trials) -> Trials:
    """Returns as many episodes as the evaluation uses, with the seeds after them."""
    first = evaluation.first_seed + evaluation.episodes_per_task
    return dataclasses.replace(evaluation, first_seed=first)


def choose_step(
    built: BuiltPackage, trials: Trials, measure: Callable[[str], SuccessRate]
) -> tuple[BuiltPackage, StepChoice]:
    """Measures both step forms and sets the better one, with the numbers, as metrics.

    Args:
        built: a package that has both step forms.
        trials: the episodes that they drive.
        measure: returns the success of one form on these episodes.

    Returns:
        The changed package, and the choice.

    Raises:
        CloudError: `measure` fails.
        ValueError: the forms did not drive the same number of episodes.
    """
    choice = StepChoice(trials, f32=measure(F32), int8=measure(INT8))
    if choice.f32.episodes != choice.int8.episodes:
        raise ValueError("expected both step forms on the same episodes")
    found = {METRIC: choice.metrics()}
    return build.prefer_step(built.folder, choice.chosen, found), choice
