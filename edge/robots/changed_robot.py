"""A robot after a change that its model was not trained for.

    action -> gain, clipped -> delay by some steps -> robot -> scale, bias -> sensors

A sensor that was remounted reads too far to one side, a worn drive moves too little for
its command, a radio link delays every action. The wrapper turns simulated robots into
such robots, so that the effect of adaptation can be measured.
"""

import dataclasses
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from edge.errors import ActionShapeError, RobotChangeError
from edge.robots import metaworld_robot as sawyer
from edge.robots.clock import Clock
from edge.robots.robot import Observation, Robot, RobotSpec, Transition, Vector


@dataclass(frozen=True)
class RobotChange:
    """What is different about a robot, per channel of its spec.

    Attributes:
        sensor_scale: factor on the value of each channel.
        sensor_bias: added to the scaled value, in the channel's unit.
        actuator_gain: factor on each action component; the result is clipped to the
            robot's limits.
        latency_steps: delay of each action, in control steps; the robot does not move
            until the first action arrives.
    """

    sensor_scale: tuple[float, ...]
    sensor_bias: tuple[float, ...]
    actuator_gain: tuple[float, ...]
    latency_steps: int

    def __post_init__(self) -> None:
        """Checks that all numbers are finite.

        Raises:
            RobotChangeError: a number is not finite, or the latency is negative.
        """
        numbers = (*self.sensor_scale, *self.sensor_bias, *self.actuator_gain)
        if not np.isfinite(numbers).all() or self.latency_steps < 0:
            raise RobotChangeError(
                "robot change",
                "finite numbers and a latency of at least 0 steps",
                self,
                "give every channel its number",
            )


def no_change(spec: RobotSpec) -> RobotChange:
    """A change without effect, as a base for `dataclasses.replace`."""
    return RobotChange(
        sensor_scale=(1.0,) * spec.state_size,
        sensor_bias=(0.0,) * spec.state_size,
        actuator_gain=(1.0,) * spec.action_size,
        latency_steps=0,
    )


class ChangedRobot:
    """A robot seen through its change; see `Robot`."""

    def __init__(self, robot: Robot, change: RobotChange) -> None:
        """Wraps an open robot, which must then be driven only through this one.

        Raises:
            RobotChangeError: the change does not have the robot's number of channels or
                action components.
        """
        spec = robot.spec
        sizes = (
            len(change.sensor_scale),
            len(change.sensor_bias),
            len(change.actuator_gain),
        )
        expected = (spec.state_size, spec.state_size, spec.action_size)
        if sizes != expected:
            raise RobotChangeError(
                "robot change",
                f"{expected} numbers of scale, bias and gain for {spec.robot_model}",
                sizes,
                "give every channel its number",
            )
        self._robot = robot
        self._scale = np.asarray(change.sensor_scale, np.float32)
        self._bias = np.asarray(change.sensor_bias, np.float32)
        self._gain = np.asarray(change.actuator_gain, np.float32)
        self._minimum = np.asarray(spec.action_minimum, np.float32)
        self._maximum = np.asarray(spec.action_maximum, np.float32)
        self._latency_steps = change.latency_steps
        self._pending: deque[Vector] = deque()
        self._seen: Observation | None = None

    @property
    def spec(self) -> RobotSpec:
        """See `Robot.spec`; that of the unchanged robot, as models know it."""
        return self._robot.spec

    @property
    def clock(self) -> Clock:
        """See `Robot.clock`."""
        return self._robot.clock

    @property
    def unchanged_observation(self) -> Observation:
        """The last observation without the change of the sensors.

        Raises:
            RobotChangeError: `reset` has not been called yet.
        """
        if self._seen is None:
            raise RobotChangeError(
                "changed robot",
                "a reset before its observation is read",
                "none",
                "call reset",
            )
        return self._seen

    def reset(self, seed: int) -> Observation:
        """See `Robot.reset`; actions that have not arrived are dropped."""
        still = np.clip(np.zeros_like(self._gain), self._minimum, self._maximum)
        self._pending = deque([still] * self._latency_steps)
        return self._sense(self._robot.reset(seed))

    def act(self, action: Vector) -> Transition:
        """See `Robot.act`; executes the action that arrives now."""
        if action.shape != self._gain.shape:
            raise ActionShapeError(
                "changed robot",
                f"an action of shape {self._gain.shape}",
                action.shape,
                "use a policy of this robot",
            )
        self._pending.append(self._amplify(action))
        done = self._robot.act(self._pending.popleft())
        observation = self._sense(done.observation)
        return Transition(observation, done.reward, done.success, done.terminal)

    def hold(self) -> None:
        """See `Robot.hold`."""
        self._robot.hold()

    def close(self) -> None:
        """See `Robot.close`."""
        self._robot.close()

    def _amplify(self, action: Vector) -> Vector:
        scaled: Vector = np.clip(self._gain * action, self._minimum, self._maximum)
        return scaled

    def _sense(self, observation: Observation) -> Observation:
        self._seen = observation
        state: Vector = self._scale * observation.state + self._bias
        return Observation(state, observation.t_monotonic_ns)


_HAND = (0, 1, 2, 18, 19, 20)

NO_CHANGE = RobotChange(
    sensor_scale=(1.0,) * sawyer.STATE_SIZE,
    sensor_bias=(0.0,) * sawyer.STATE_SIZE,
    actuator_gain=(1.0,) * sawyer.ACTION_SIZE,
    latency_steps=0,
)


def _channels(
    neutral: float, changed: Iterable[float], channels: tuple[int, ...] = _HAND
) -> tuple[float, ...]:
    values = dict(zip(channels, changed, strict=True))
    return tuple(values.get(i, neutral) for i in range(sawyer.STATE_SIZE))


CHANGES: Mapping[str, RobotChange] = {
    # The arm's own encoders read 3 cm off in each direction.
    "sensor bias": dataclasses.replace(
        NO_CHANGE, sensor_bias=_channels(0.0, (0.03, -0.03, 0.03) * 2)
    ),
    # Links longer than the arm assumes; 6 cm at the far end of the table.
    "sensor scale": dataclasses.replace(
        NO_CHANGE, sensor_scale=_channels(1.0, (1.07,) * len(_HAND))
    ),
    # Another drive: each command moves the hand 2.5 times as far.
    "actuator gain": dataclasses.replace(NO_CHANGE, actuator_gain=(2.5, 2.5, 2.5, 1.0)),
    # A radio link: 100 ms at 80 Hz.
    "latency": dataclasses.replace(NO_CHANGE, latency_steps=8),
    "all together": RobotChange(
        sensor_scale=_channels(1.0, (1.03,) * len(_HAND)),
        sensor_bias=_channels(0.0, (0.02, -0.02, 0.02) * 2),
        actuator_gain=(1.5, 1.5, 1.5, 1.0),
        latency_steps=2,
    ),
}
"""Changes by name, first of one part of the robot each, then of all together."""
