"""Scripted experts, which demonstrate tasks, and noise on the actions of an expert.

The noise changes the executed action, while the recorded proposal stays free of noise:
a model that imitates the expert sees off-course states with the right action for them.
"""

import importlib
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.robots.robot import Observation, Vector

_HAND = slice(0, 3)


class ScriptedExpert:
    """The expert that Meta-World ships for one v3 task; a `Policy`.

    Proposals are clipped to [-1, 1]: the experts' gains reach far outside the action
    range, and a model should imitate what the arm can do.
    """

    def __init__(self, task: str, speed: float = 1.0) -> None:
        """Loads the expert of one task.

        Args:
            task: one of `metaworld_robot.task_names()`.
            speed: factor on the motion of the hand. The gripper keeps its whole force.
                An actor who sees that an arm responds late moves it slowly.
        """
        self._speed = speed
        policies = importlib.import_module("metaworld.policies")
        self._make: Any = policies.ENV_POLICY_MAP[task]
        self._expert: Any = self._make()

    def reset(self, task: str) -> None:
        """Begins an episode with a new expert, which keeps no state of the last one."""
        del task  # one expert knows one task
        self._expert = self._make()

    def propose(self, observation: Observation) -> Vector:
        """The expert's action for an observation, [4] f32 in [-1, 1]."""
        with warnings.catch_warnings():
            # Every call would warn that the gains saturate, but the action is clipped.
            warnings.simplefilter("ignore", UserWarning)
            action = self._expert.get_action(observation.state.astype(np.float64))
        clipped: Vector = np.clip(action, -1.0, 1.0).astype(np.float32)
        clipped[_HAND] *= np.float32(self._speed)
        return clipped


class GaussianNoise:
    """Adds independent normal noise to each action component; see `Disturbance`."""

    def __init__(self, sigma: float) -> None:
        """Sets the standard deviation of the noise, in units of the action.

        Raises:
            ValueError: `sigma` is negative.
        """
        if sigma < 0:
            raise ValueError(f"noise needs a standard deviation >= 0, got {sigma}")
        self._sigma = sigma
        self._generator = np.random.default_rng(0)

    def reset(self, seed: int) -> None:
        """See `Disturbance.reset`."""
        self._generator = np.random.default_rng(seed)

    def disturb(self, action: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """See `Disturbance.disturb`."""
        noise = self._generator.normal(0.0, self._sigma, size=action.shape)
        disturbed: npt.NDArray[Any] = action + noise
        return disturbed
