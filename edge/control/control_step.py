"""What is recorded of one control period, and how it is made."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from edge.actors.actor import Ending
from edge.robots.robot import Observation, Transition, Vector

_F32_MAX: Final = float(np.finfo(np.float32).max)
_SAID: Final[Mapping[Ending, bool | None]] = MappingProxyType(
    {Ending.SUCCESS: True, Ending.FAILURE: False, Ending.LEFT_OUT: None}
)


@dataclass(frozen=True)
class ControlStep:
    """Everything that is recorded of one control period.

    Every step holds an observation and the action that was executed from it. The last
    step is the one whose action ended the episode: every step has an action.

    Attributes:
        observation: what the policy saw.
        action: [action_size] f32, the action that was executed; that of
            `safety.hold_action` if the robot was held instead.
        proposed_action: [action_size] f32, the action that the policy proposed;
            components that were not finite are recorded as 0 and the step is marked as
            a safety violation.
        reward: reward of the action, from the robot.
        discount: 0.0 when the episode ended in success, otherwise 1.0.
        is_first: whether this is the first step of the episode.
        is_last: whether no step follows.
        is_terminal: whether the task was fulfilled by this action.
        deadline_missed: whether the action was ready later than one period after the
            step was due.
        safety_violation: whether a stop rule fired.
        intervention: whether an actor acted, in the place of the policy.
    """

    observation: Observation
    action: Vector
    proposed_action: Vector
    reward: float
    discount: float
    is_first: bool
    is_last: bool
    is_terminal: bool
    deadline_missed: bool
    safety_violation: bool
    intervention: bool = False


class StepRecorder(Protocol):
    """Receives the steps of an episode; see `edge.episodes.recorder`."""

    def append(self, step: ControlStep) -> None:
        """Records a step; once this returns, a crash of this process cannot lose it."""


def make_step(
    observation: Observation,
    action: Vector,
    proposed: npt.NDArray[Any],
    transition: Transition | None,
    *,
    is_first: bool,
    at_limit: bool,
    missed: bool,
    violated: bool,
    intervention: bool,
) -> ControlStep:
    """Makes the record of a step; without a transition the robot was held."""
    finite = np.nan_to_num(proposed, nan=0.0, posinf=0.0, neginf=0.0)
    finite = np.clip(finite, -_F32_MAX, _F32_MAX)
    held = transition is None
    success = transition is not None and bool(transition.success)
    terminal = transition is not None and transition.terminal
    return ControlStep(
        observation=observation,
        action=action,
        proposed_action=finite.astype(np.float32),
        reward=0.0 if transition is None else transition.reward,
        discount=0.0 if success else 1.0,
        is_first=is_first,
        is_last=success or terminal or held or at_limit,
        is_terminal=success,
        deadline_missed=missed,
        safety_violation=violated,
        intervention=intervention,
    )


def judge(found: Transition, ending: Ending | None) -> Transition:
    """What followed, with the actor's word on success where there is one."""
    if ending is None or ending not in _SAID:
        return found
    return dataclasses.replace(found, success=_SAID[ending])
