"""Who can drive a robot, and what may disturb it: the two protocols the loop calls."""

from typing import Any, Protocol

import numpy.typing as npt

from edge.robots.robot import Observation


class Policy(Protocol):
    """Whatever decides what to do: a package, a scripted expert, a human."""

    def reset(self, task: str) -> None:
        """Begins an episode of `task`: forgets the last one."""

    def propose(self, observation: Observation) -> npt.NDArray[Any]:
        """The wanted action, [action_size], before any limit is applied."""


class Disturbance(Protocol):
    """Something that changes what is executed, but not what is proposed."""

    def reset(self, seed: int) -> None:
        """Begins an episode; `seed` fully determines what follows."""

    def disturb(self, action: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The disturbed action; it is clamped afterwards."""
