"""A person with a leader arm: what they move, the robot's arm follows.

`leader:so101_leader@/dev/ttyACM1` is one that LeRobot reads, for a robot that LeRobot
drives (`edge/robots/lerobot_robot.py`). It demonstrates, or takes over from a package
when it is moved. It hands back at the key for that, or when it is laid down where it
lay when the program began.

The robot never leaps: it goes slowly until both arms stand alike, and then as fast as
its own limit lets it. Keys say when an episode begins and how it went, and they move
what the leader has no joint for, as the wheels of a LeKiwi.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from edge.actors.actor import Ending, Loss, Signal, Stage
from edge.actors.keyboard import Keyboard
from edge.errors import (
    ActorAbsentError,
    ActorUnavailableError,
    RobotPortError,
    RobotUnavailableError,
    UnknownActorError,
    UnknownRobotError,
)
from edge.robots import lerobot_classes, lerobot_name, lerobot_robot
from edge.robots.lerobot_arm import LerobotArm
from edge.robots.lerobot_name import Connection
from edge.robots.robot import Observation, Vector

PREFIX: Final = "leader:"
APPROACH: Final = 0.25
"""Share of the robot's speed until the arms agree: 30 degrees a second by default."""
AGREE: Final = 5.0
"""Degrees or hundredths within which two joints stand alike."""
MOVED: Final = 3.0
"""As far as somebody moves it who means it; an encoder at rest wavers by 0.2."""
LAID: Final = 8.0
"""How near to where it lay it is laid down again."""
LAID_S: Final = 1.0
"""For how long it lies there before it hands back."""
LOSS: Final = Loss(
    "the leader arm is gone",
    "the leader arm answers again; the space bar lets the robot go on",
    "the servos of the leader arm to answer",
    "they do not",
)
_STILL: Final = 0.5  # between two control steps
_WHEELS: Final = "base: component 0 is forwards, 1 sideways, 2 turns"


def parse(text: str) -> Connection:
    """Reads what stands behind `leader:`.

    Raises:
        UnknownActorError: it is not understood.
    """
    try:
        return lerobot_name.parse(PREFIX, text, lerobot_classes.LEADERS)
    except UnknownRobotError as e:
        raise UnknownActorError(
            "--actor", f"{PREFIX}TYPE@PORT", repr(PREFIX + text), e.remedy
        ) from e


class Leader:
    """An `Actor` with a leader arm, and at a terminal."""

    def __init__(
        self, text: str, stage: Stage, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Opens the arm, which can be moved by hand from here on.

        Args:
            text: what stands behind `leader:`.
            stage: the robot, who is told, and where the keys come from.
            now_s: real time.

        Raises:
            UnknownActorError: the text is not understood.
            ActorAbsentError: there is nothing at its port.
            ActorUnavailableError: it does not open, the robot is none that it can
                lead, or standard input is no terminal.
        """
        self._spec, self._tell, self._now_s = stage.spec, stage.tell, now_s
        connection = parse(text)
        self._source = f"--actor={connection}"
        settings = _read_robot(self._source, stage)
        self._arm = _open(self._source, connection, settings.connection)
        self._count = len(self._arm.joints)
        self._step = settings.step(self._arm.is_jaw)
        speed = 1.0 if stage.speed is None else stage.speed
        axes = stage.spec.action_size - self._count
        try:
            self._home = self._pose = self._rest = self._arm.read_positions()
            self._keyboard = Keyboard(replace(stage, speed=speed), now_s, axes)
        except RobotPortError as e:
            self._arm.close()
            raise ActorUnavailableError(
                self._source, e.expected, e.got, e.remedy
            ) from e
        except BaseException:
            self._arm.close()
            raise
        if axes:
            self._tell(_WHEELS)
        self._lost = self._leads = self._agrees = self._was_apart = False
        self._was_away = False
        self._goals_before: Vector | None = None
        self._begin(acts=False)

    @property
    def name(self) -> str:
        """See `Actor.name`."""
        return self._keyboard.name

    @property
    def loss(self) -> Loss:
        """See `describe_loss`; the terminal may be gone, and not the arm."""
        return LOSS if self._lost else self._keyboard.loss

    def may_begin(self, wait_s: float = 0.0) -> bool | None:
        """See `Actor.may_begin`: by key."""
        if self._lost:
            raise LOSS.make_error(self._source)
        return self._keyboard.may_begin(wait_s)

    def reset(self, task: str) -> None:
        """See `Actor.reset`; it leads when it is moved from where it is then."""
        self._keyboard.reset(task)
        self._leads = False
        self._read()
        self._begin(acts=False)

    def signal(self) -> Signal:
        """See `Actor.signal`; reading the arm takes some milliseconds."""
        heard = self._keyboard.signal()
        if not self._read():
            return Signal(takes_over=True, ending=Ending.LOST)
        if not self._leads:  # somebody else drove since
            self._agrees = self._was_apart = False
            self._goals_before = None
        self._leads = False
        if heard.takes_over != self._acts:  # by key
            self._begin(acts=heard.takes_over)
        if not self._acts and _is_apart(self._pose, self._rest, MOVED):
            self._begin(acts=True)
        elif self._acts and self._is_laid_down():
            self._tell("the leader was laid down: it hands back")
            self._begin(acts=False)
        self._was_away = self._was_away or _is_apart(self._pose, self._home, LAID)
        self._keyboard.act(self._acts)
        return Signal(self._acts, heard.ending)

    def propose(self, observation: Observation) -> Vector:
        """See `Actor.propose`: towards where the leader is."""
        self._leads = True
        goals = observation.state[self._count : 2 * self._count]
        gap = self._pose - goals
        speed = self._keyboard.speed
        if not self._agrees:
            # A joint that goes no further, at its limit or before a wall, cannot agree.
            stands = self._goals_before is not None and goals == self._goals_before
            self._agrees = bool(np.all((np.abs(gap) <= AGREE) | stands))
            self._goals_before = goals
            if not self._agrees:
                speed = min(speed, APPROACH)
            elif self._was_apart:
                self._tell("both arms stand alike: the robot follows at its own speed")
            self._was_apart = True
        lead = np.clip(gap / self._step, -speed, speed)
        return np.concatenate([lead, self._keyboard.axes() * self._keyboard.speed])

    def close(self) -> None:
        """See `Actor.close`."""
        self._keyboard.close()
        self._arm.close()

    def _begin(self, *, acts: bool) -> None:
        """Begins to lead, or to lie."""
        self._acts, self._rest = acts, self._pose
        self._was_away = False
        self._laid_s: float | None = None

    def _read(self) -> bool:
        """Looks where the leader is; False if it is lost."""
        if self._lost:
            return False
        self._before = self._pose
        try:
            self._pose = self._arm.read_positions()
        except RobotPortError as e:
            self._lost = True
            self._tell(f"{LOSS.gone} ({e.got}): the robot holds still")
        return not self._lost

    def _is_laid_down(self) -> bool:
        """Whether it was carried about, and lies where it lay at first."""
        away = _is_apart(self._pose, self._home, LAID)
        moves = _is_apart(self._pose, self._before, _STILL)
        if away or moves or not self._was_away:
            self._laid_s = None
            return False
        if self._laid_s is None:
            self._laid_s = self._now_s()
        return self._now_s() - self._laid_s >= LAID_S


def _is_apart(pose: Vector, other: Vector, far: float) -> bool:
    return bool(np.max(np.abs(pose - other)) > far)


def _read_robot(source: str, stage: Stage) -> lerobot_robot.ArmSettings:
    if not stage.robot.startswith(lerobot_robot.PREFIX):
        raise ActorUnavailableError(
            source,
            f"a robot with its joints, {lerobot_robot.PREFIX}TYPE@PORT",
            stage.robot,
            "act by --actor=keyboard or gamepad there",
        )
    return lerobot_robot.parse(stage.robot.removeprefix(lerobot_robot.PREFIX))


def _open(source: str, leader: Connection, robot: Connection) -> LerobotArm:
    """Opens the leader in the units of the robot.

    Raises:
        ActorAbsentError: there is nothing at its port.
        ActorUnavailableError: it does not open, or has no such units.
    """
    in_degrees = robot.arm.joints_in_degrees
    if in_degrees and not leader.arm.joints_in_degrees:
        raise ActorUnavailableError(
            source,
            f"a leader for {robot.arm.name}, whose joints are in degrees",
            "one of which LeRobot gives shares of a range",
            f"lead by {' or '.join(_name_fitting())}",
        )
    if not Path(leader.port).exists():
        raise ActorAbsentError(
            source, f"an arm at {leader.port}", "nothing", "look at its cable"
        )
    try:
        return LerobotArm(leader, in_degrees)
    except (RobotPortError, RobotUnavailableError) as e:
        raise ActorUnavailableError(source, e.expected, e.got, e.remedy) from e


def _name_fitting() -> list[str]:
    arms = lerobot_classes.LEADERS.values()
    return [arm.name for arm in arms if arm.joints_in_degrees]
