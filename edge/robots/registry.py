"""Turns robot strings such as `metaworld:reach-v3` into robots and operators."""

from pathlib import Path

from edge.clock import SimulatedClock, unix_ns_from_rfc3339
from edge.control import Policy
from edge.errors import UnknownRobotError
from edge.robots import metaworld_expert, metaworld_robot, replay_robot
from edge.robots.robot import Robot

DEFAULT_SIM_START = "2026-01-01T08:00:00Z"
_METAWORLD = "metaworld:"
_REPLAY = "replay:"


def known_robots() -> tuple[str, ...]:
    """Every string that `open_robot` accepts, sorted."""
    return tuple(_METAWORLD + task for task in metaworld_robot.task_names())


def require_known(name: str) -> None:
    """Checks a robot string before anything is opened or written.

    Raises:
        UnknownRobotError: there is no such robot; lists the known ones.
        RobotUnavailableError: what the robot needs is not installed here.
    """
    _metaworld_task(name)


def is_simulated(name: str) -> bool:
    """Whether a known robot string names a robot that exists only as a program."""
    return name.startswith((_METAWORLD, _REPLAY))


def open_robot(name: str, clock: SimulatedClock | None = None) -> Robot:
    """Opens one robot.

    Args:
        name: for example `metaworld:reach-v3`, or `replay:EPISODE` with the path of
            an `episode.tfrecord`.
        clock: the clock of a simulated robot; by default one that starts at
            `DEFAULT_SIM_START`.

    Raises:
        UnknownRobotError: there is no such robot; lists the known ones.
        RobotUnavailableError: what the robot needs is not installed here.
        RldsError, ReplayError: the episode to replay is not one.
    """
    if clock is None:
        clock = SimulatedClock(unix_ns_from_rfc3339(DEFAULT_SIM_START))
    if name.startswith(_REPLAY):
        return replay_robot.open_replay(Path(name.removeprefix(_REPLAY)), clock)
    task = _metaworld_task(name)
    return metaworld_robot.MetaworldRobot(task, clock)


def open_expert(name: str) -> Policy:
    """Opens the scripted expert that operates the robot `name`.

    Raises:
        UnknownRobotError: there is no such robot; lists the known ones.
        RobotUnavailableError: what the robot needs is not installed here.
    """
    return metaworld_expert.ScriptedExpert(_metaworld_task(name))


def _metaworld_task(name: str) -> str:
    known = known_robots()
    if name not in known:
        raise UnknownRobotError(name, known)
    return name.removeprefix(_METAWORLD)
