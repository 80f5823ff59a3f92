"""Which form of the step robots run: int8 where it succeeds as often as f32.

The int8 step is faster and not quite the trained model. What that costs is not seen in
the error of single actions, so both drive the same episodes, and a package whose int8
step loses more than it may is made to run f32 instead. What the episodes said goes into
its `package.json`, beside the other checks of the export.

This comes before the evaluation and on episodes of its own: the digest that is
evaluated is the one that ships, and a choice that was made on the evaluation's own
episodes would flatter it.
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
"""Success that an int8 step may lose against f32 on the same seeds, as a share of the
episodes: two points."""


@dataclasses.dataclass(frozen=True)
class StepChoice:
    """What was chosen, and by which numbers.

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
        """Form of the step that robots run, by success over all tasks."""
        lost = self.f32.successes - self.int8.successes
        return INT8 if lost <= LARGEST_LOSS * self.f32.episodes else F32

    def metrics(self) -> dict[str, object]:
        """For `package.json`."""
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
        """One line for a terminal."""
        return (
            f"{self.chosen}: int8 {self.int8.successes} and f32 {self.f32.successes} of"
            f" {self.f32.episodes} episodes, which are none of the evaluation's"
        )


def has_both(built: BuiltPackage) -> bool:
    """Whether robots run the int8 step of a package that has f32 as well."""
    functions = json.loads((built.folder / package.MANIFEST).read_bytes())["functions"]
    both = {"step_f32", "step_int8"} <= functions.keys()
    return both and functions["step"] == functions["step_int8"]


def trials_beside(evaluation: Trials) -> Trials:
    """As many episodes as the evaluation has, from the seeds behind its last one."""
    first = evaluation.first_seed + evaluation.episodes_per_task
    return dataclasses.replace(evaluation, first_seed=first)


def settle(
    built: BuiltPackage, trials: Trials, measure: Callable[[str], SuccessRate]
) -> tuple[BuiltPackage, StepChoice]:
    """The package with the step it deserves, which says why in its `package.json`.

    Args:
        built: a package that holds both forms of the step.
        trials: the episodes that they drive.
        measure: success of one form on them.

    Raises:
        CloudError: `measure` fails.
        ValueError: the forms did not drive the same number of episodes.
    """
    choice = StepChoice(trials, f32=measure(F32), int8=measure(INT8))
    if choice.f32.episodes != choice.int8.episodes:
        raise ValueError("expected both forms of the step on the same episodes")
    found = {METRIC: choice.metrics()}
    return build.prefer_step(built.folder, choice.chosen, found), choice
