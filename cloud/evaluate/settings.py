"""How a package is evaluated: its episodes, and the number of parallel processes."""

import dataclasses
from collections.abc import Sequence

from base import record_flags
from base.record_flags import setting
from cloud.evaluate.rollouts import Trials


@dataclasses.dataclass(frozen=True)
class EvaluateSettings:
    """How a package is evaluated.

    The seeds are above those of the demonstrations, so that the package has never seen
    these placements.

    Attributes:
        environment: kind of simulated robot to evaluate on.
        episodes: closed-loop episodes of each task.
        seed: seed of each task's first evaluation episode; the int8 and f32 steps are
            compared on the same number of seeds after these.
        max_steps: steps after which an episode ends.
        workers: processes that evaluate in parallel.

    Raises:
        ValueError: a number is out of its range.
    """

    environment: str = "metaworld"
    episodes: int = setting(50, flag="evaluation_episodes", minimum=1)
    seed: int = setting(10000, flag="evaluation_seed", minimum=0)
    max_steps: int = setting(500, flag="evaluation_max_steps", minimum=1)
    workers: int = setting(2, minimum=1)

    def __post_init__(self) -> None:
        record_flags.require_limits(self)

    def trials(self, tasks: Sequence[str]) -> Trials:
        """Returns the trials of these tasks."""
        return Trials(
            environment=self.environment,
            tasks=tuple(tasks),
            episodes_per_task=self.episodes,
            first_seed=self.seed,
            max_steps=self.max_steps,
        )
