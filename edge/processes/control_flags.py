"""The flags of control that its supervisor hands on: who may act, and where it stands.

A file that is malformed is wrong usage here (exit code 2), since starting control again
does not correct it.
"""

import os
from pathlib import Path
from typing import Final

from absl import app, flags

from base import path_flags
from edge import actor_flags
from edge.actors import registry
from edge.actors.actor import EXPERT
from edge.control import site_rules
from edge.control.safety import config_for
from edge.control.stop_rules import StopRules
from edge.errors import SafetyConfigError
from edge.processes import robot_flags
from edge.robots.robot import RobotSpec

# So that the flags belong to the program that defines them, for `--help`.
flags.disclaim_key_flags()

_STANDARD_INPUT: Final = 0
_ACTOR: Final = "actor"
_STOP_RULES: Final = "stop_rules"


def define_actor() -> "flags.FlagHolder[str | None]":
    """Defines --actor for programs of a robot that lives."""
    return flags.DEFINE_string(
        _ACTOR,
        None,
        "who may act beside the package: keyboard, gamepad, leader:TYPE@PORT, which is "
        "a leader arm, page (the operator's, from a phone), the scripted expert of a "
        "simulated robot, or one that another "
        "package adds; a person may take over and hand back, all may demonstrate "
        "(default: nobody)",
    )


def require_actor_usage(*, is_simulated_pace: bool) -> None:
    """Checks --actor and the flags that belong to it, before anything is opened.

    Args:
        is_simulated_pace: whether no real time is kept.

    Raises:
        app.UsageError: the flags do not fit each other.
        UnknownActorError: there is no such actor.
    """
    name = flags.FLAGS[_ACTOR].value
    if name is None:
        actor_flags.require_none()
        return
    if actor_flags.PAGE_HOME.value:
        raise app.UsageError(
            "expected no --actor_page: the page of this robot has its --home"
        )
    registry.require_known(name)
    if is_simulated_pace and name != EXPERT:
        raise app.UsageError("expected real time with --actor: a person needs it")


def require_keys(*, is_supervised: bool) -> None:
    """Checks that somebody can press the keys of an actor that has some.

    Args:
        is_supervised: whether a supervisor has the terminal, and hands keys on.

    Raises:
        app.UsageError: nobody can; no restart brings a service a terminal.
    """
    acts = registry.uses_keys(flags.FLAGS[_ACTOR].value)
    if acts and not is_supervised and not os.isatty(_STANDARD_INPUT):
        raise app.UsageError(
            f"expected --actor={flags.FLAGS[_ACTOR].value} at a terminal or under"
            " //edge:robot;"
            " a service has none, and a gamepad acts there"
            f" (--actor={registry.GAMEPAD})"
        )


def hand_on_actor() -> list[str]:
    """Returns --actor and the flags that belong to it for another program."""
    return robot_flags.hand_on(_ACTOR, actor_flags.SPEED.name, actor_flags.DEVICE.name)


def define_stop_rules() -> "flags.FlagHolder[str | None]":
    """Defines --stop_rules, for `read_stop_rules`."""
    path_flags.files("stop_rules")
    return flags.DEFINE_string(
        _STOP_RULES,
        None,
        "file of additional stop rules for this site, such as its workspace; they hold "
        "beside the package's (edge/control/site_rules.py; default: none)",
    )


def read_stop_rules() -> StopRules:
    """Reads the rules of the site; none if --stop_rules names no file.

    Raises:
        app.UsageError: the file cannot be read, or is malformed: no restart helps.
    """
    try:
        return site_rules.read(flags.FLAGS[_STOP_RULES].value)
    except SafetyConfigError as e:
        raise app.UsageError(f"--{_STOP_RULES}: {e}") from e
    except OSError as e:
        raise app.UsageError(f"--{_STOP_RULES}: {e.filename}: {e.strerror}") from e


def require_fit(rules: StopRules, spec: RobotSpec) -> None:
    """Checks that the rules of the site can hold for a robot.

    Raises:
        app.UsageError: they cannot.
    """
    try:
        site_rules.add(config_for(spec), rules, spec)
    except SafetyConfigError as e:
        name = flags.FLAGS[_STOP_RULES].value
        raise app.UsageError(
            f"--{_STOP_RULES}: {name}: expected {e.expected}, got {e.got}; correct it"
        ) from e


def hand_on_stop_rules() -> list[str]:
    """Returns the flag of `define_stop_rules` for another program.

    Raises:
        app.UsageError: as `read_stop_rules`.
    """
    read_stop_rules()
    name = flags.FLAGS[_STOP_RULES].value
    return [f"--{_STOP_RULES}={Path(name).absolute()}"] if name else []
