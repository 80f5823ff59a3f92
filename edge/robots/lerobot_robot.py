"""Arms that LeRobot drives: SO-100, SO-101, Koch, and LeKiwi, an arm on wheels.

`lerobot:so101_follower@/dev/ttyACM0` is one; `,id=blue` names its calibration file,
`,calibration=DIR` the folder of that where it is not LeRobot's own, `,speed=` how fast
its joints may move, `,hz=` the steps per second, and `,task=` what it is asked to do.

The action is how fast each joint moves, as a share of `speed`: degrees per second, or
hundredths of half its range where LeRobot's type counts in those (Koch, LeKiwi); twice
that for the jaw. So an action of 0 keeps it still, whoever acts, and nothing moves it
faster. LeKiwi's base follows: x, y and turning, as shares of `BASE_SPEEDS`.

The state is where each joint is, then where it was told to go, then how fast a base
moves. The goal is kept near the arm, so that one that was blocked does not leap when it
is free: a jaw may press, a joint may pull `LEAD` ahead.

To hold, the goal of each joint is brought to `HOLD_LEAD` of where it is: an arm that
carries stays up, one that pushes stops. Goals are asked of the servos, since the
watchdog knows no newer ones. The arm cannot tell success: whoever drives it does.

When it is closed its servos are switched off, as LeRobot does, and it sinks: lay it
down before. After a program that was killed they stay on, and hold it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from edge.errors import ActionShapeError, UnknownRobotError
from edge.robots import lerobot_arm, lerobot_classes, lerobot_name
from edge.robots.clock import Clock, MonotonicClock
from edge.robots.lerobot_arm import LerobotArm
from edge.robots.lerobot_name import Connection
from edge.robots.robot import Observation, RobotSpec, Transition, Vector
from rlds.known_words import MAX_CHARACTERS

PREFIX: Final = "lerobot:"
SPEED: Final = 120.0
"""Degrees per second: half of what an STS3215 can, and as fast as most people show."""
JAW_FACTOR: Final = 2.0
CONTROL_HZ: Final = 30.0
"""As LeRobot records, and as most cameras see."""
LEAD: Final = 15.0
"""An STS3215 with LeRobot's gain lags a few degrees behind, under load more."""
HOLD_LEAD: Final = 5.0
_ROUNDING: Final = 0.5
HOLD_AFTER_S: Final = 0.25
"""Three answers that are waited for in vain take 0.16 s."""
BASE_SPEEDS: Final = (0.2, 0.2, 60.0)
"""LeKiwi's middle speeds: m/s along x and y, degrees/s."""
_SPEEDS: Final = (1.0, 360.0)
_RATES: Final = (1.0, 60.0)


@dataclass(frozen=True)
class ArmSettings:
    """What `--robot` says of an arm.

    Attributes:
        connection: which one.
        speed: see the head of this file.
        control_hz: steps per second.
        task: what it is asked to do.
    """

    connection: Connection
    speed: float = SPEED
    control_hz: float = CONTROL_HZ
    task: str = "demonstrate"

    def step(self, is_jaw: Vector) -> Vector:
        """How far each joint may go in a step, [n] f32."""
        factors = np.where(is_jaw, JAW_FACTOR, 1.0)
        return np.asarray(factors * self.speed / self.control_hz, np.float32)


def parse(text: str) -> ArmSettings:
    """Reads what stands behind `lerobot:`.

    Raises:
        UnknownRobotError: it is not understood.
    """
    connection = lerobot_name.parse(
        PREFIX, text, lerobot_classes.FOLLOWERS, ("speed", "hz", "task")
    )
    options = connection.options
    task = options.get("task", ArmSettings.task)
    if len(task) > MAX_CHARACTERS:
        raise UnknownRobotError(PREFIX + text, "a task is a few words")
    speed = _read_number(text, options.get("speed"), SPEED, _SPEEDS)
    control_hz = _read_number(text, options.get("hz"), CONTROL_HZ, _RATES)
    return ArmSettings(connection, speed, control_hz, task)


def open_arm(text: str) -> "LerobotRobot":
    """Opens the arm that stands behind `lerobot:`.

    Raises:
        UnknownRobotError: the text is not understood.
        RobotUnavailableError: as `LerobotArm`.
    """
    return LerobotRobot(parse(text))


class LerobotRobot:
    """One arm; it stands where it is until the first action."""

    def __init__(self, settings: ArmSettings) -> None:
        """Opens it.

        Raises:
            RobotUnavailableError: as `LerobotArm`.
        """
        self._arm = LerobotArm(settings.connection)
        self._clock = MonotonicClock()
        self._step = settings.step(self._arm.is_jaw)
        self._lead = np.where(self._arm.is_jaw, np.inf, LEAD)
        count = len(self._arm.joints)
        self._base = np.array(BASE_SPEEDS if self._arm.has_base else (), np.float32)
        base = len(self._base)
        self._spec = RobotSpec(
            state_size=2 * count + base,
            action_size=count + base,
            control_hz=settings.control_hz,
            robot_model=settings.connection.arm.model,
            environment_id="desk",
            task=settings.task,
            action_minimum=(-1.0,) * (count + base),
            action_maximum=(1.0,) * (count + base),
            simulated=False,
            hold_after_s=max(HOLD_AFTER_S, 4 / settings.control_hz),
        )
        self._goals = self._positions = np.zeros(count, np.float32)
        self._take_goals()

    @property
    def spec(self) -> RobotSpec:
        """See `Robot.spec`."""
        return self._spec

    @property
    def clock(self) -> Clock:
        """See `Robot.clock`."""
        return self._clock

    def observe(self) -> Observation:
        """See `Observing.observe`.

        Raises:
            RobotPortError: a servo does not answer.
        """
        self._positions = self._arm.read_positions()
        now_ns = self._clock.now_ns()
        parts = [self._positions, self._goals]
        if self._arm.has_base:
            parts.append(self._arm.read_rates())
        return Observation(np.concatenate(parts), now_ns)

    def reset(self, seed: int) -> Observation:
        """Begins an episode where the arm is; the seed has no effect.

        Raises:
            RobotPortError: a servo does not answer.
        """
        del seed
        self._take_goals()
        return self.observe()

    def act(self, action: Vector) -> Transition:
        """See `Robot.act`.

        Raises:
            ActionShapeError: the action has the wrong shape.
            RobotPortError: a servo does not answer.
        """
        if action.shape != (self._spec.action_size,):
            raise ActionShapeError(
                f"robot {self._spec.robot_model}",
                f"{self._spec.action_size} numbers",
                str(action.shape),
            )
        count = len(self._arm.joints)
        near = self._positions
        goals = self._goals + action[:count] * self._step
        goals = np.clip(goals, near - self._lead, near + self._lead)
        self._goals = np.clip(goals, self._arm.low, self._arm.high).astype(np.float32)
        self._arm.write(self._goals, action[count:] * self._base)
        return Transition(self.observe(), 0.0, success=None, terminal=False)

    def hold(self) -> None:
        """See `Robot.hold`.

        Raises:
            RobotPortError: a servo does not answer.
        """
        lead = np.where(self._arm.is_jaw, np.inf, HOLD_LEAD)
        if self._arm.has_base:
            self._arm.stop_base()
        for _ in range(lerobot_arm.HOLD_TRIES):
            near = self._arm.read_positions(lerobot_arm.HOLD_TRIES)
            goals = self._arm.read_goals(lerobot_arm.HOLD_TRIES)
            held = np.clip(goals, near - lead, near + lead).astype(np.float32)
            far = np.abs(held - goals) > _ROUNDING
            if not far.any():
                return
            # Nobody answers a goal: whether it came, the next look says.
            self._arm.write(held, which=far)

    def close(self) -> None:
        """See `Robot.close`; the arm sinks."""
        self._arm.close()

    def _take_goals(self) -> None:
        """Begins with the goals that the servos have."""
        self._goals = self._arm.read_goals()


def _read_number(
    text: str, said: str | None, default: float, limits: tuple[float, float]
) -> float:
    if said is None:
        return default
    low, high = limits
    try:
        number = float(said)
    except ValueError:
        number = -1.0
    if not low <= number <= high:
        raise UnknownRobotError(
            PREFIX + text, f"{said!r} is no number from {low:g} to {high:g}"
        )
    return number
