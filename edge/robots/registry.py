"""Turns robot strings such as `metaworld:reach-v3` into robots and their experts.

`metaworld-poor:reach-v3` is the same robot behind poor sensors, and
`metaworld-camera:reach-v3` the same with a camera, by which alone it sees things.
`metaworld-changed:reach-v3` is the same robot after a change of sensors and actuators,
and `metaworld-changed:reach-v3@latency` names the change: one of `CHANGES`, its words
joined by `-`; `@latency:0.5` is half of it.

`gym:CartPole-v1` is an environment of Gymnasium (`gym_robot.py`), and a class of
somebody else's is a robot too: `my_arm.py:MyArm` (`outside.py`).

`DRIVERS` holds the drivers of robots that exist. They get no clock from here, since
their clock is the machine's.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.errors import (
    NoExpertError,
    ReplayError,
    RobotChangeError,
    SimulatedOnlyError,
    UnknownRobotError,
)
from edge.robots import (
    experts,
    gym_robot,
    lerobot_classes,
    lerobot_robot,
    metaworld_camera,
    metaworld_robot,
    outside,
    poor_sensors,
    replay_robot,
    serial_car,
    so101_robot,
)
from edge.robots.changed_robot import (
    ALL_TOGETHER,
    ChangedRobot,
    RobotChange,
    parse_change,
)
from edge.robots.clock import SimulatedClock, unix_ns_from_rfc3339
from edge.robots.guarded_robot import GuardedRobot
from edge.robots.outside import OutsideClass
from edge.robots.robot import Policy, Robot, RobotSpec
from edge.robots.scene_view import SceneView

DEFAULT_SIM_START = "2026-01-01T08:00:00Z"
EXPERT = "expert"
KEYBOARD = "keyboard"
_METAWORLD = "metaworld:"
_CHANGED = "metaworld-changed:"
_POOR = "metaworld-poor:"
_SEEING = "metaworld-camera:"
_REPLAY = "replay:"
_GYM = "gym:"
_SO101 = "so101-sim:"
_SO101_CAMERA = "so101-camera:"
_SO101_ROBOTS = (_SO101, _SO101_CAMERA)
_AT = "@"
_OWN = {
    _METAWORLD: "TASK",
    _SEEING: "TASK",
    _POOR: "TASK",
    _CHANGED: "TASK",
    _SO101: "TASK",
    _SO101_CAMERA: "TASK",
    _GYM: "ENV_ID",
    _REPLAY: "PATH",
}
"""What stands behind the prefix of each robot that `DRIVERS` does not hold."""


@dataclass(frozen=True)
class RobotDriver:
    """Opens robots that exist.

    Attributes:
        open_robot: opens the robot, given the text after the prefix.
        rest: what stands behind the prefix, as people are told it.
        actor: who demonstrates on it if nobody is named, such as `keyboard`.
    """

    open_robot: Callable[[str], Robot]
    rest: str
    actor: str


DRIVERS: dict[str, RobotDriver] = {
    serial_car.PREFIX: RobotDriver(serial_car.open_car, "PORT", KEYBOARD),
    lerobot_robot.PREFIX: RobotDriver(lerobot_robot.open_arm, "TYPE@PORT", KEYBOARD),
}
"""Drivers by the prefix of their robot strings."""

FORMS = (
    *(prefix + rest for prefix, rest in _OWN.items()),
    *(prefix + driver.rest for prefix, driver in DRIVERS.items()),
    *outside.FORMS,
)
"""Every form of a robot string; docs/your-robot.md says what each means."""
HELP = (
    f"{', '.join(FORMS)} (docs/your-robot.md says what each is; tasks of so101:"
    f" {', '.join(so101_robot.TASKS)}, types: {', '.join(lerobot_classes.FOLLOWERS)},"
    " --robot=metaworld: lists the tasks there)"
)
"""What --robot takes, for the help of programs."""


def require_known(name: str) -> None:
    """Checks a robot string before anything is opened or written.

    Raises:
        UnknownRobotError: there is no such robot; the text names similar ones.
        ReplayError: it is a recorded episode, which no expert can drive.
        RobotUnavailableError: a package that the robot needs is not installed.
        OutsideRobotError, GymRobotError: it names a class or an environment that is not
            there, or is no robot.
    """
    if name.startswith(_GYM):
        gym_robot.require_known(name.removeprefix(_GYM))
    elif name.startswith(_SO101_ROBOTS):
        _parse_so101(name)
    elif _find_driver(name) is None and _find_outside(name) is None:
        _parse_task(name)


def open_robot(name: str, clock: SimulatedClock | None = None) -> Robot:
    """Opens one robot.

    Args:
        name: for example `metaworld:reach-v3`; `metaworld-changed:reach-v3` for the
            same robot after all changes together, or, with `@` and its name behind the
            task, after the change that `parse_change` reads there; or `replay:EPISODE`
            with the path of an `episode.tfrecord`; or `so101-sim:pick-place`, or
            `so101-camera:pick-place`; or `gym:ENV_ID`; or a class, as `outside.py`
            finds it.
        clock: the clock of a simulated robot; by default one that starts at
            `DEFAULT_SIM_START`. A robot of `DRIVERS` does not get it.

    Raises:
        UnknownRobotError: there is no such robot; the text names similar ones.
        OutsideRobotError, GymRobotError: it names a class or an environment that is not
            there, or is no robot.
        RobotUnavailableError: a package that the robot needs is not installed, or the
            class does not open it.
        RldsError, ReplayError: the file is not an episode that can be replayed.
    """
    if (found := _find_driver(name)) is not None:
        driver, rest = found
        return driver.open_robot(rest)
    if clock is None:
        clock = SimulatedClock(unix_ns_from_rfc3339(DEFAULT_SIM_START))
    if (outsider := _find_outside(name)) is not None:
        return outsider.open(clock)
    if name.startswith(_GYM):
        environment = gym_robot.GymRobot(name.removeprefix(_GYM), clock)
        return GuardedRobot(environment, name, file="")
    if name.startswith(_SO101_ROBOTS):
        camera = name.startswith(_SO101_CAMERA)
        return so101_robot.So101Robot(_parse_so101(name), clock, camera=camera)
    if name.startswith(_REPLAY):
        return replay_robot.open_replay(Path(name.removeprefix(_REPLAY)), clock)
    if name.startswith(_SEEING):
        return metaworld_camera.MetaworldCameraRobot(_parse_task(name), clock)
    task = _parse_task(name)
    if name.startswith(_CHANGED):
        change = _parse_change(name)
        robot = metaworld_robot.MetaworldRobot(task, clock, change.things_moved_m)
        return ChangedRobot(robot, change)
    robot = metaworld_robot.MetaworldRobot(task, clock)
    return poor_sensors.PoorSensorsRobot(robot) if name.startswith(_POOR) else robot


def read_spec(name: str) -> RobotSpec:
    """Opens a robot, reads its properties and closes it.

    Raises:
        What `open_robot` raises.
    """
    robot = open_robot(name)
    try:
        return robot.spec
    finally:
        robot.close()


def open_expert(name: str, speed: float = 1.0) -> Policy:
    """Opens the scripted expert that drives the robot `name`.

    Like a package, it acts on what the robot's sensors read, changed or not; only the
    expert of a robot with poor sensors sees the true state.

    Args:
        name: the robot string.
        speed: how fast it moves the hand, as a share of its own speed.

    Raises:
        UnknownRobotError: there is no such robot; the text names similar ones.
        ReplayError: it is a recorded episode, which no expert can drive.
        RobotUnavailableError: a package that the robot needs is not installed.
        NoExpertError: the robot has none.
    """
    if (outsider := _find_outside(name)) is not None:
        return outsider.open_expert(speed)
    if name.startswith(_GYM):
        raise NoExpertError(
            "--robot",
            "a robot with a scripted expert",
            name,
            "act yourself (--actor=keyboard), or write one (docs/your-robot.md)",
        )
    if name.startswith(_SO101_ROBOTS):
        _parse_so101(name)
        placer = so101_robot.So101Expert(speed)
        return placer if name.startswith(_SO101) else SceneView(placer)
    expert = experts.ScriptedExpert(_parse_task(name), speed)
    return SceneView(expert) if name.startswith((_POOR, _SEEING)) else expert


def name_actor(name: str) -> str:
    """Names who demonstrates on the robot `name` if nobody is named."""
    if (found := _find_driver(name)) is not None:
        return found[0].actor
    if (outsider := _find_outside(name)) is not None:
        return EXPERT if outsider.has_expert else KEYBOARD
    return KEYBOARD if name.startswith(_GYM) else EXPERT


def require_simulated(source: str, who: str, name: str, spec: RobotSpec) -> None:
    """Checks that a robot is simulated, before `who` drives it.

    Raises:
        SimulatedOnlyError: it is not.
    """
    if not spec.simulated:
        raise SimulatedOnlyError(
            source,
            f"a simulated robot for {who}",
            name,
            "drive it with a package that is signed and published",
        )


def has_driver(name: str) -> bool:
    """Whether opening the robot may touch one that exists.

    That is so for `DRIVERS`, and for a class whose `spec` does not say otherwise before
    it is opened.
    """
    outsider = _find_outside(name)
    if outsider is not None:
        return not outsider.is_known_as_simulated
    return _find_driver(name) is not None


def _find_driver(name: str) -> tuple[RobotDriver, str] | None:
    """Returns the driver of a robot that exists, and the text after its prefix."""
    for prefix, driver in DRIVERS.items():
        if name.startswith(prefix):
            return driver, name.removeprefix(prefix)
    return None


def _find_outside(name: str) -> OutsideClass | None:
    """Returns the class that the name means, if it is no robot of ours."""
    if name.startswith((*_OWN, *DRIVERS)):
        return None
    return outside.find(name)


def _parse_task(name: str) -> str:
    if name.startswith(_REPLAY):
        raise ReplayError(
            "--robot",
            "a robot that a scripted expert can drive",
            f"{name!r}",
            "use metaworld:TASK here, or replay it with a package (//edge:run)",
        )
    tasks = metaworld_robot.task_names()
    prefix = next(
        (p for p in (_CHANGED, _POOR, _SEEING) if name.startswith(p)), _METAWORLD
    )
    task = name.removeprefix(prefix)
    if prefix == _CHANGED and _AT in task:
        _parse_change(name)
        task = task[: task.index(_AT)]
    if name != task and task in tasks:
        return task
    raise UnknownRobotError(name, _remedy(prefix, task, tasks))


def _parse_so101(name: str) -> str:
    task = name.partition(":")[2]
    if task in so101_robot.TASKS:
        return task
    raise UnknownRobotError(name, f"TASK is one of {', '.join(so101_robot.TASKS)}")


def _parse_change(name: str) -> RobotChange:
    """The change that a robot string names; all together if it names none.

    Raises:
        UnknownRobotError: there is no such change.
    """
    _, at, change = name.partition(_AT)
    try:
        return parse_change(change if at else ALL_TOGETHER)
    except RobotChangeError as e:
        raise UnknownRobotError(
            name, f"behind {_AT} use {e.expected}; {e.remedy}"
        ) from e


def _remedy(prefix: str, task: str, tasks: tuple[str, ...]) -> str:
    """Says what to write instead of an unknown task: similar tasks, or all of them."""
    if not task:
        return f"TASK is one of {', '.join(tasks)}"
    nearest = difflib.get_close_matches(task, tasks)
    use = f"use {' or '.join(prefix + one for one in nearest)}; " if nearest else ""
    return f"{use}--robot={prefix} lists every task"
