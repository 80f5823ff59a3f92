"""The flags of every program at which somebody may act that say how they do."""

import os
from collections.abc import Callable
from pathlib import Path

from absl import flags

from base import command_line, path_flags
from edge.actors import gamepad, registry
from edge.actors.actor import Actor, KeySource, Stage
from edge.actors.registry import GAMEPAD
from edge.robots.robot import RobotSpec

SPEED = flags.DEFINE_float(
    "actor_speed",
    None,
    "speed of the actor, as a share of the robot's action range, or of the"
    " scripted expert's own speed (default: 0.5 at a keyboard, else 1)",
    lower_bound=0.0,
    upper_bound=1.0,
)
DEVICE = flags.DEFINE_string(
    "actor_device",
    None,
    "input device of the actor (default: /dev/input/js0 for a gamepad)",
)
path_flags.files("actor_device")


def require_device(name: str | None) -> None:
    """Checks that the device of an actor is there, for another process to open it.

    Args:
        name: as `edge.actors.registry` knows it; None for nobody.

    Raises:
        ActorUnavailableError: it is not.
    """
    if name == GAMEPAD:
        os.close(gamepad.open_device(Path(DEVICE.value) if DEVICE.value else None))


def open_actor(
    name: str,
    robot: str,
    spec: RobotSpec,
    tell: Callable[[str], None] = command_line.say,
    keys: KeySource | None = None,
) -> Actor:
    """Opens the actor of a robot, with what the flags say of it.

    Args:
        name: as `edge.actors.registry` knows it.
        robot: the robot string.
        spec: the robot's properties.
        tell: gets lines for the person who acts.
        keys: where a person's keys come from; None for standard input.

    Raises:
        EdgeError: as `registry.open_actor`.
    """
    device = Path(DEVICE.value) if DEVICE.value else None
    return registry.open_actor(
        name, Stage(robot, spec, SPEED.value, device, tell, keys)
    )
