"""Turns robot strings such as `metaworld:reach-v3` into robots and operators.

`metaworld-poor:reach-v3` is the same robot behind poor sensors, and
`metaworld-changed:reach-v3` the same after its sensors and actuators have changed.
"""

import difflib
from pathlib import Path

from edge.errors import ReplayError, UnknownRobotError
from edge.robots import (
    metaworld_expert,
    metaworld_robot,
    poor_sensors,
    replay_robot,
)
from edge.robots.changed_robot import ChangedRobot
from edge.robots.clock import SimulatedClock, unix_ns_from_rfc3339
from edge.robots.metaworld_changes import CHANGES
from edge.robots.policy import Policy
from edge.robots.robot import Robot

DEFAULT_SIM_START = "2026-01-01T08:00:00Z"
_METAWORLD = "metaworld:"
_CHANGED = "metaworld-changed:"
_POOR = "metaworld-poor:"
_REPLAY = "replay:"


def require_known(name: str) -> None:
    """Checks a robot string before anything is opened or written.

    Raises:
        UnknownRobotError: there is no such robot; names those nearest to it.
        ReplayError: a recorded episode, which no expert operates.
        RobotUnavailableError: what the robot needs is not installed here.
    """
    _metaworld_task(name)


def is_simulated(name: str) -> bool:
    """Whether a known robot string names a robot that exists only as a program."""
    return name.startswith((_METAWORLD, _CHANGED, _POOR, _REPLAY))


def open_robot(name: str, clock: SimulatedClock | None = None) -> Robot:
    """Opens one robot.

    Args:
        name: for example `metaworld:reach-v3`; `metaworld-changed:reach-v3` for the
            same robot after all of `metaworld_changes`; or `replay:EPISODE` with the
            path of an `episode.tfrecord`.
        clock: the clock of a simulated robot; by default one that starts at
            `DEFAULT_SIM_START`.

    Raises:
        UnknownRobotError: there is no such robot; names those nearest to it.
        RobotUnavailableError: what the robot needs is not installed here.
        RldsError, ReplayError: the episode to replay is not one.
    """
    if clock is None:
        clock = SimulatedClock(unix_ns_from_rfc3339(DEFAULT_SIM_START))
    if name.startswith(_REPLAY):
        return replay_robot.open_replay(Path(name.removeprefix(_REPLAY)), clock)
    robot = metaworld_robot.MetaworldRobot(_metaworld_task(name), clock)
    if name.startswith(_CHANGED):
        return ChangedRobot(robot, CHANGES["all together"])
    return poor_sensors.PoorSensorsRobot(robot) if name.startswith(_POOR) else robot


def open_expert(name: str) -> Policy:
    """Opens the scripted expert that operates the robot `name`.

    Like a package, it goes by what the robot's sensors say, changed or not.

    Raises:
        UnknownRobotError: there is no such robot; names those nearest to it.
        ReplayError: a recorded episode, which no expert operates.
        RobotUnavailableError: what the robot needs is not installed here.
    """
    expert = metaworld_expert.ScriptedExpert(_metaworld_task(name))
    return poor_sensors.OperatorEyes(expert) if name.startswith(_POOR) else expert


def _metaworld_task(name: str) -> str:
    if name.startswith(_REPLAY):
        raise ReplayError(
            "--robot",
            "a robot that a scripted expert operates",
            f"{name!r}",
            "use metaworld:TASK here, or replay it with a package (//edge:run)",
        )
    tasks = metaworld_robot.task_names()
    prefix = next((p for p in (_CHANGED, _POOR) if name.startswith(p)), _METAWORLD)
    task = name.removeprefix(prefix)
    if name != task and task in tasks:
        return task
    raise UnknownRobotError(name, _remedy(prefix, task, tasks))


def _remedy(prefix: str, task: str, tasks: tuple[str, ...]) -> str:
    """What to write instead of an unknown task: all there are, or the nearest."""
    if not task:
        return f"TASK is one of {', '.join(tasks)}"
    nearest = difflib.get_close_matches(task, tasks)
    use = f"use {' or '.join(prefix + one for one in nearest)}; " if nearest else ""
    return f"{use}--robot={prefix} lists every task"
