"""A Meta-World robot that senses little, late and imprecisely; its operator sees all.

What a policy is given, out of Meta-World's 39 values:

    index   value                                  here
    0-2     position of the hand, metres           noise
    3       opening of the gripper                 as it is
    4-10    first object: position, quaternion     late, often missing, noise
    11-17   second object: the same                the same; zeros where there is none
    18-35   the same 18 values one step earlier    hidden: zeros
    36-38   position of the goal, metres           as it is: told, not sensed

An object's reading is one of `DELAY_STEPS` steps ago, or of the first step while the
episode is younger; objects stand still before it. With probability `MISSING_SHARE` a
reading is missing and all its seven values are zero; each object's readings go missing
independently. Positions carry normal noise of `NOISE_M` per axis, fresh in every
reading. Everything depends on the episode's seed alone.

An operator looks with own eyes: `OperatorEyes` shows the true state to the expert
that drives such a robot, while the recording holds what the sensors said.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from edge.robots.clock import Clock
from edge.robots.policy import Policy
from edge.robots.robot import Observation, Robot, RobotSpec, Transition, Vector

DELAY_STEPS = 3
MISSING_SHARE = 0.5
NOISE_M = 0.01

_HAND = slice(0, 3)
_OBJECTS = (slice(4, 11), slice(11, 18))
_POSITION_SIZE = 3  # the first values of an object's reading
_PREVIOUS_FRAME = slice(18, 36)

_SENSOR_STREAM = 0x5E4505
"""Told to the generator beside the seed, so that sensors and an operator's noise, which
begin with the same seed, draw different numbers."""


@dataclass(frozen=True)
class WatchedObservation(Observation):
    """An observation with what somebody beside the robot sees.

    Attributes:
        scene: [state_size] f32, the true state.
    """

    scene: Vector


class PoorSensorsRobot:
    """Any Meta-World robot behind poor sensors; see `Robot`."""

    def __init__(self, robot: Robot) -> None:
        """Wraps an open robot, which must be driven through this one only."""
        self._robot = robot
        place = f"{robot.spec.environment_id}-poor-sensors"
        self._spec = dataclasses.replace(robot.spec, environment_id=place)
        self._random = np.random.default_rng(0)
        self._scenes: list[Vector] = []

    @property
    def spec(self) -> RobotSpec:
        """See `Robot.spec`; the environment's name ends in `-poor-sensors`."""
        return self._spec

    @property
    def clock(self) -> Clock:
        """See `Robot.clock`."""
        return self._robot.clock

    def reset(self, seed: int) -> Observation:
        """See `Robot.reset`; the seed also decides noise and missing readings."""
        self._random = np.random.default_rng((_SENSOR_STREAM, seed))
        self._scenes = []
        return self._sense(self._robot.reset(seed))

    def act(self, action: Vector) -> Transition:
        """See `Robot.act`."""
        done = self._robot.act(action)
        return Transition(
            observation=self._sense(done.observation),
            reward=done.reward,
            success=done.success,
            terminal=done.terminal,
        )

    def close(self) -> None:
        """See `Robot.close`."""
        self._robot.close()

    def _sense(self, seen: Observation) -> WatchedObservation:
        self._scenes = [*self._scenes[-DELAY_STEPS:], seen.state]
        state = poor_reading(seen.state, self._scenes[0], self._random)
        return WatchedObservation(state, seen.t_monotonic_ns, seen.state)


class OperatorEyes:
    """Shows the scene instead of the readings to an operator; see `Policy`."""

    def __init__(self, operator: Policy) -> None:
        """Wraps the policy that sees the scene."""
        self._operator = operator

    def reset(self, task: str) -> None:
        """See `Policy.reset`."""
        self._operator.reset(task)

    def propose(self, observation: Observation) -> Vector:
        """The operator's action for the scene.

        Raises:
            TypeError: the observation is not of a `PoorSensorsRobot`.
        """
        if not isinstance(observation, WatchedObservation):
            raise TypeError(
                "operator of a metaworld-poor robot: expected an observation with its"
                f" scene, got {type(observation).__name__}; open robot and expert by"
                " the same name"
            )
        seen = Observation(observation.scene, observation.t_monotonic_ns)
        action: Vector = self._operator.propose(seen)
        return action


def poor_reading(now: Vector, before: Vector, random: np.random.Generator) -> Vector:
    """What poor sensors say.

    Args:
        now: [39] true state.
        before: [39] true state when the objects were seen.
        random: advanced by the same amount whatever the states are.
    """
    noise = random.normal(0.0, NOISE_M, (1 + len(_OBJECTS), _POSITION_SIZE))
    missing = random.random(len(_OBJECTS)) < MISSING_SHARE
    state = now.copy()
    state[_HAND] += noise[0].astype(np.float32)
    state[_PREVIOUS_FRAME] = 0.0
    for index, values in enumerate(_OBJECTS):
        reading = before[values].copy()
        absent = not reading.any()
        if missing[index] or absent:
            reading[:] = 0.0
        else:
            reading[:_POSITION_SIZE] += noise[1 + index].astype(np.float32)
        state[values] = reading
    return state
