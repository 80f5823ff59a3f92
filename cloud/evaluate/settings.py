"""How a package is evaluated: its episodes, and the number of parallel processes."""

import dataclasses
from collections.abc import Sequence

from base import record_flags
from base.record_flags import setting
from cloud.evaluate.held_out_report import MOST_EPISODES
from cloud.evaluate.rollouts import Trials

NO_ENVIRONMENT = "none"
"""Environment of a robot without a simulator: held-out episodes judge its packages."""


@dataclasses.dataclass(frozen=True)
class EvaluateSettings:
    """How a package is evaluated.

    The seeds are above those of the demonstrations, so that the package has never seen
    these placements.

    Attributes:
        environment: kind of simulated robot to evaluate on, or none for a robot that no
            simulator has: then held-out episodes judge the package, by gates of their
            own.
        episodes: closed-loop episodes of each task.
        seed: seed of each task's first evaluation episode; the int8 and f32 steps are
            compared on the same number of seeds after these.
        max_steps: steps after which an episode ends.
        held_out_episodes: recorded episodes that a package is compared with at most, as
            many of each task, where the environment is none.
        workers: processes that evaluate in parallel.

    Raises:
        ValueError: a number is out of its range.
    """

    environment: str = "metaworld"
    episodes: int = setting(50, flag="evaluation_episodes", minimum=1)
    seed: int = setting(10000, flag="evaluation_seed", minimum=0)
    max_steps: int = setting(500, flag="evaluation_max_steps", minimum=1)
    held_out_episodes: int = setting(MOST_EPISODES, minimum=1)
    workers: int = setting(2, minimum=1)

    def __post_init__(self) -> None:
        record_flags.require_limits(self)
        if self.held_out_episodes > MOST_EPISODES:
            raise ValueError(
                f"held_out_episodes: expected at most {MOST_EPISODES}, got "
                f"{self.held_out_episodes}"
            )

    @property
    def is_simulated(self) -> bool:
        """Whether the package drives a simulated robot."""
        return self.environment != NO_ENVIRONMENT

    def trials(self, tasks: Sequence[str]) -> Trials:
        """Returns the trials of these tasks."""
        return Trials(
            environment=self.environment,
            tasks=tuple(tasks),
            episodes_per_task=self.episodes,
            first_seed=self.seed,
            max_steps=self.max_steps,
        )
