"""The flags of every program at which somebody may act that say how they do."""

import os
from collections.abc import Callable
from pathlib import Path

from absl import app, flags

from base import command_line, path_flags
from edge.actors import gamepad, registry
from edge.actors.actor import Actor, KeySource, MoveSource, Stage
from edge.actors.registry import GAMEPAD, PAGE
from edge.errors import ActorUnavailableError
from edge.page_moves import PageMoves
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
PAGE_HOME = flags.DEFINE_string(
    "actor_page",
    None,
    "--home of an //edge:page that runs beside this program, where --actor=page acts"
    " (default: that of //edge:robot, which needs no other)",
)
path_flags.folders("actor_page")


def require_none() -> None:
    """Checks that nothing is said of an actor where nobody acts.

    Raises:
        app.UsageError: something is.
    """
    said = (DEVICE.value, PAGE_HOME.value)
    if SPEED.value is not None or any(said):
        raise app.UsageError(
            "expected --actor_speed, --actor_device and --actor_page with --actor only"
        )


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
    moves: MoveSource | None = None,
) -> Actor:
    """Opens the actor of a robot, with what the flags say of it.

    Args:
        name: as `edge.actors.registry` knows it.
        robot: the robot string.
        spec: the robot's properties.
        tell: gets lines for the person who acts.
        keys: where a person's keys come from; None for standard input.
        moves: hears the operator's page; None to hear the one of --actor_page.

    Raises:
        EdgeError: as `registry.open_actor`.
    """
    device = Path(DEVICE.value) if DEVICE.value else None
    if name == PAGE and moves is None:
        if not PAGE_HOME.value:
            raise ActorUnavailableError(
                f"--actor={PAGE}",
                "--actor_page, the folder of an //edge:page that runs",
                "none",
                "start //edge:page -- --home=DIR and add --actor_page=DIR; //edge:robot"
                " -- --actor=page --page=local needs neither",
            )
        moves = PageMoves(Path(PAGE_HOME.value), robot, spec)
    return registry.open_actor(
        name, Stage(robot, spec, SPEED.value, device, tell, keys, moves)
    )
