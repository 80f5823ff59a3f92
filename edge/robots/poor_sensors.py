"""A Meta-World robot with little, late and noisy sensing; its expert sees everything.

What a policy receives of Meta-World's 39 values:

    index   value                                  here
    0-2     position of the hand, metres           noise
    3       opening of the gripper                 unchanged
    4-10    first object: position, quaternion     late, often missing, noise
    11-17   second object: the same                the same; zeros if there is none
    18-35   the same 18 values one step earlier    hidden: zeros
    36-38   position of the goal, metres           unchanged: given, not sensed

An object's reading is that of `DELAY_STEPS` steps ago, or of the first step if the
episode is younger than that. With probability `MISSING_SHARE` a reading is missing and
all its seven values are zero; each object's readings go missing independently.
Positions have normal noise of `NOISE_M` per axis, drawn again for every reading.
Everything depends only on the episode's seed.

`scene_view.py` shows the true state to the expert that drives such a robot.
"""

import dataclasses

import numpy as np

from edge.robots.clock import Clock
from edge.robots.robot import Observation, Robot, RobotSpec, Transition, Vector
from edge.robots.scene_view import WatchedObservation

DELAY_STEPS = 3
MISSING_SHARE = 0.5
NOISE_M = 0.01

_HAND = slice(0, 3)
_OBJECTS = (slice(4, 11), slice(11, 18))
_POSITION_SIZE = 3  # the first values of an object's reading
_PREVIOUS_FRAME = slice(18, 36)

_SENSOR_STREAM = 0x5E4505
"""Given to the generator with the seed, so that the sensors and the noise on actions,
which begin with the same seed, draw different numbers."""


class PoorSensorsRobot:
    """Any Meta-World robot behind poor sensors; see `Robot`."""

    def __init__(self, robot: Robot) -> None:
        """Wraps an open robot, which must then be driven only through this one."""
        self._robot = robot
        environment_id = f"{robot.spec.environment_id}-poor-sensors"
        self._spec = dataclasses.replace(robot.spec, environment_id=environment_id)
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

    def hold(self) -> None:
        """See `Robot.hold`."""
        self._robot.hold()

    def close(self) -> None:
        """See `Robot.close`."""
        self._robot.close()

    def _sense(self, seen: Observation) -> WatchedObservation:
        self._scenes = [*self._scenes[-DELAY_STEPS:], seen.state]
        state = degrade_reading(seen.state, self._scenes[0], self._random)
        return WatchedObservation(
            state,
            seen.t_monotonic_ns,
            seen.state,
            pictures=seen.pictures,
            sound=seen.sound,
        )


def degrade_reading(now: Vector, before: Vector, random: np.random.Generator) -> Vector:
    """Computes what poor sensors read.

    Shapes: now [39], before [39] to [39], f32.

    Args:
        now: true state, in Meta-World's units.
        before: true state at the time when the objects were seen.
        random: generator, advanced by the same amount for all states.
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
