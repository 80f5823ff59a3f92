"""A robot after a change that its model was not trained for.

    action -> gain, clipped -> delay by some steps -> play -> robot
    robot -> what the play hides -> scale, bias -> gaps -> sensors

A sensor that was remounted reads too far to one side, a worn drive moves too little for
its command, a radio link delays every action, a drive with play loses the first part of
every reversal, and a plug that has come loose leaves gaps in what a sensor says. The
wrapper turns simulated robots into such robots, so that the effect of adaptation can be
measured.
"""

import dataclasses
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from edge.errors import ActionShapeError, RobotChangeError
from edge.robots import metaworld_robot as sawyer
from edge.robots.clock import Clock
from edge.robots.robot import Observation, Robot, RobotSpec, Transition, Vector


@dataclass(frozen=True)
class Gaps:
    """A sensor that is not heard for some of the time; it then keeps its last value.

    That is what drivers do: a servo bus that does not answer, or a topic without a new
    message, leaves the number that was read last. When a gap begins and ends is decided
    by the episode's seed, step by step; the first reading of an episode is heard.
    Source of the two states: Gilbert 1960, "Capacity of a Burst-Noise Channel".

    Attributes:
        channels: the channels of the state that the sensor fills.
        share: of all steps that are in a gap, below 1.
        mean_steps: length of a gap in the mean, in control steps, at least 1.
    """

    channels: tuple[int, ...]
    share: float
    mean_steps: float

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            RobotChangeError: one is out of its range.
        """
        if not (self.channels and 0 <= self.share < 1 and self.mean_steps >= 1):
            raise RobotChangeError(
                "gaps of a sensor",
                "channels, a share from 0 to below 1 and gaps of at least 1 step",
                self,
                "correct the numbers",
            )

    @property
    def begins(self) -> float:
        """Probability that a gap begins in a step that is in none."""
        return min(1.0, self.share / (1.0 - self.share) / self.mean_steps)


@dataclass(frozen=True)
class MotorSensors:
    """Sensors on the motors' side of a drive with play, which they do not see.

    They read where the robot would be if its motors moved it without play.

    Attributes:
        channels: the channel of the state that the motor of each of the first action
            components is read by.
        earlier_channels: where the state repeats what they read one step before.
        per_action: change of a channel by a command of 1, in the channel's unit.
    """

    channels: tuple[int, ...]
    earlier_channels: tuple[int, ...]
    per_action: float


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
        play: of each action component, how much of its command a reversal takes up
            before anything moves again, as a sum over steps; empty for none.
        motor_sensors: which sensors do not see the play; None if all do.
        gaps: which sensor is not always heard; None if all are.
        things_moved_m: how much further along x, y and z the things around the robot
            stand. It is no change of the robot: whoever opens the simulated robot
            places them, and `ChangedRobot` does nothing about it.
    """

    sensor_scale: tuple[float, ...]
    sensor_bias: tuple[float, ...]
    actuator_gain: tuple[float, ...]
    latency_steps: int
    play: tuple[float, ...] = ()
    motor_sensors: MotorSensors | None = None
    gaps: Gaps | None = None
    things_moved_m: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        """Checks that all numbers are finite.

        Raises:
            RobotChangeError: a number is not finite, or the latency or a play is
                negative.
        """
        numbers = (*self.sensor_scale, *self.sensor_bias, *self.actuator_gain)
        if (
            not np.isfinite((*numbers, *self.play, *self.things_moved_m)).all()
            or min(self.latency_steps, *self.play, 0) < 0
        ):
            raise RobotChangeError(
                "robot change",
                "finite numbers, and latency and play of at least 0",
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
        _check_parts(spec, change)
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
        self._play = np.asarray(change.play or (0.0,) * spec.action_size, np.float32)
        self._slack = np.zeros_like(self._play)
        self._motor_sensors = change.motor_sensors
        self._hidden = self._slack
        self._gaps = change.gaps
        self._random = np.random.default_rng(0)
        self._heard: Vector | None = None
        self._in_gap = False
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
        self._slack = self._hidden = np.zeros_like(self._play)
        self._random = np.random.default_rng((_GAP_STREAM, seed))
        self._heard, self._in_gap = None, False
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
        done = self._robot.act(self._take_up(self._pending.popleft()))
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

    def _take_up(self, action: Vector) -> Vector:
        """What of an action moves the robot, beyond the play of its drive.

        The drive is somewhere between the two flanks, `_slack` from their middle; it
        moves the robot only while it pushes a flank before itself.
        """
        driven = self._slack + action
        self._slack = np.clip(driven, -self._play / 2, self._play / 2)
        return np.where(self._play > 0, driven - self._slack, action)

    def _sense(self, observation: Observation) -> Observation:
        self._seen = observation
        state = observation.state
        if self._motor_sensors is not None:
            state = self._read_motors(state, self._motor_sensors)
        state = self._scale * state + self._bias
        if self._gaps is not None:
            state = self._hear(state, self._gaps)
        return dataclasses.replace(observation, state=state)

    def _read_motors(self, state: Vector, sensors: MotorSensors) -> Vector:
        """The state as the motors have it, ahead of the robot by what play takes up."""
        state = state.copy()
        parts = len(sensors.channels)
        state[list(sensors.channels)] += sensors.per_action * self._slack[:parts]
        earlier = list(sensors.earlier_channels)
        state[earlier] += sensors.per_action * self._hidden[: len(earlier)]
        self._hidden = self._slack
        return state

    def _hear(self, state: Vector, gaps: Gaps) -> Vector:
        """The state with the last values that were heard, while there is a gap."""
        drawn = self._random.random()
        if self._heard is None:
            self._in_gap = False
        elif self._in_gap:
            self._in_gap = drawn >= 1.0 / gaps.mean_steps
        else:
            self._in_gap = drawn < gaps.begins
        channels = list(gaps.channels)
        if self._heard is None or not self._in_gap:
            self._heard = state[channels]
        state[channels] = self._heard
        return state


def _check_parts(spec: RobotSpec, change: RobotChange) -> None:
    """Checks play, its sensors and gaps, which a change may leave out.

    Raises:
        RobotChangeError: the robot has other components or channels.
    """
    channels = change.gaps.channels if change.gaps else ()
    if (sensors := change.motor_sensors) is not None:
        channels += sensors.channels + sensors.earlier_channels
    if len(change.play) not in (0, spec.action_size) or not all(
        0 <= channel < spec.state_size for channel in channels
    ):
        raise RobotChangeError(
            "robot change",
            f"play of {spec.action_size} components, and sensors that fill the"
            f" {spec.state_size} channels of {spec.robot_model}",
            f"{len(change.play)} and {channels}",
            "give every component its number",
        )


_HAND = (0, 1, 2, 18, 19, 20)
_GAP_STREAM = 0x6A9
"""Given to the generator with the seed, so that the gaps and the noise on actions,
which begin with the same seed, draw different numbers."""

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


ALL_TOGETHER = "all together"

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
    # The wire of the arm's encoders has come loose: half of the time nothing is heard
    # of the hand, for 200 ms in the mean, where the network card of a moving robot that
    # changes its access point is silent for 60 to 400 ms (Mishra, Shin and Arbaugh
    # 2003, "An Empirical Analysis of the IEEE 802.11 MAC Layer Handoff Process").
    "sensor gaps": dataclasses.replace(
        NO_CHANGE, gaps=Gaps(channels=_HAND, share=0.5, mean_steps=16.0)
    ),
    # Worn gears: five joints with a play of 0.5 degrees each, which makers of small
    # servos allow when these are new, move a hand that is 0.5 m away by 2 cm before it
    # follows; an action of 1 is 1 cm.
    "backlash": dataclasses.replace(NO_CHANGE, play=(2.0, 2.0, 2.0, 0.0)),
    # Twice that, with encoders on the motors' shafts: the hand is up to 2 cm behind
    # where they say that it is.
    "unseen backlash": dataclasses.replace(
        NO_CHANGE,
        play=(4.0, 4.0, 4.0, 0.0),
        motor_sensors=MotorSensors((0, 1, 2), (18, 19, 20), per_action=0.01),
    ),
    # A table that was pushed towards the arm: what stands on it is 15 cm nearer, where
    # most of it has never been. The robot is as it was.
    "things nearer": dataclasses.replace(NO_CHANGE, things_moved_m=(0.0, -0.15, 0.0)),
    ALL_TOGETHER: RobotChange(
        sensor_scale=_channels(1.0, (1.03,) * len(_HAND)),
        sensor_bias=_channels(0.0, (0.02, -0.02, 0.02) * 2),
        actuator_gain=(1.5, 1.5, 1.5, 1.0),
        latency_steps=2,
    ),
}
"""Changes by name, first of one part of the robot each, then of some together."""

_TIMES = ":"


def parse_change(text: str) -> RobotChange:
    """The change that a user names, for example `latency` or `sensor-bias:-0.5`.

    Args:
        text: one of `CHANGES`, its words joined by dashes or not; behind a colon how
            much of it, as `strengthen` takes it.

    Raises:
        RobotChangeError: there is no such change, or no such strength of it.
    """
    name, times, strength = text.partition(_TIMES)
    change = CHANGES.get(name.replace("-", " "))
    try:
        factor = float(strength) if times else 1.0
    except ValueError:
        factor = math.nan
    if change is None or not math.isfinite(factor):
        known = ", ".join(one.replace(" ", "-") for one in CHANGES)
        raise RobotChangeError(
            "change",
            f"one of {known}",
            f"{text!r}",
            "for more or less of it, write a number behind it: latency:0.5",
        )
    return strengthen(change, factor)


def strengthen(change: RobotChange, factor: float) -> RobotChange:
    """The same kind of change, `factor` times as strong.

    With 0 nothing is changed. With a negative factor sensors move the other way, and
    scale and gain are the inverse; latency, play and gaps have no other way.

    Args:
        change: the change.
        factor: on bias, latency (rounded to whole steps) and play; the power of scale
            and gain; on the odds that a sensor is not heard.

    Raises:
        RobotChangeError: latency, play or gaps would be negative.
    """
    gaps = change.gaps
    right, away, up = change.things_moved_m
    if factor < 0 and (change.latency_steps or any(change.play) or gaps):
        raise RobotChangeError(
            "change",
            "at least 0 times what has no other way: latency, play, gaps",
            factor,
            "leave out the sign",
        )
    if gaps is not None:
        silent = factor * gaps.share
        gaps = dataclasses.replace(gaps, share=silent / (1 - gaps.share + silent))
    return RobotChange(
        sensor_scale=tuple(one**factor for one in change.sensor_scale),
        sensor_bias=tuple(one * factor for one in change.sensor_bias),
        actuator_gain=tuple(one**factor for one in change.actuator_gain),
        latency_steps=round(change.latency_steps * factor),
        play=tuple(one * factor for one in change.play),
        motor_sensors=change.motor_sensors,
        gaps=gaps,
        things_moved_m=(right * factor, away * factor, up * factor),
    )
