"""From a name to whoever acts: the actors here, and those of other packages.

Another package adds one with an entry point of the group `continuon.actors`, whose
name is what `--actor` takes and whose object is a callable from a `Stage` to an
`Actor`:

    [project.entry-points."continuon.actors"]
    space-mouse = "my_package.mice:SpaceMouse"

`leader:TYPE@PORT` is a leader arm (`leader.py`).
"""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from edge.actors import leader
from edge.actors.actor import (
    EXPERT,
    Actor,
    Stage,
)
from edge.actors.expert import Expert
from edge.actors.gamepad import Gamepad
from edge.actors.keyboard import Keyboard
from edge.actors.leader import Leader
from edge.actors.page import Page
from edge.errors import ActorUnavailableError, UnknownActorError
from edge.robots.registry import KEYBOARD as KEYBOARD

GAMEPAD: Final = "gamepad"
PAGE: Final = "page"
GROUP: Final = "continuon.actors"

Opener = Callable[[Stage], Actor]

ACTORS: Final[dict[str, Opener]] = {
    EXPERT: Expert,
    KEYBOARD: Keyboard,
    GAMEPAD: Gamepad,
    PAGE: Page,
}
"""Those of this package, by name; no entry point takes the place of one."""

FORMS: Final = (*ACTORS, f"{leader.PREFIX}TYPE@PORT")
"""Every form of a name here; docs/your-robot.md says who each is."""


def uses_keys(name: str | None) -> bool:
    """Whether an actor needs the keys of a terminal."""
    return name == KEYBOARD or (name or "").startswith(leader.PREFIX)


def require_known(name: str) -> None:
    """Checks a name before anything is opened or written.

    Raises:
        UnknownActorError: there is no such actor.
    """
    if name.startswith(leader.PREFIX):
        leader.parse(name.removeprefix(leader.PREFIX))
    elif name not in ACTORS and name not in _find_others():
        known = ", ".join((*FORMS, *sorted(_find_others().keys() - ACTORS.keys())))
        raise UnknownActorError(
            "--actor",
            f"one of {known}",
            repr(name),
            f"correct it, or install the package that has it ({GROUP})",
        )


def open_actor(name: str, stage: Stage) -> Actor:
    """Opens an actor for a robot; close it, so that its device is as it was.

    Raises:
        UnknownActorError: there is no such actor.
        ActorUnavailableError: it cannot act here, or its package does not load.
        EdgeError: what else opening it raises.
    """
    require_known(name)
    if name.startswith(leader.PREFIX):
        return Leader(name.removeprefix(leader.PREFIX), stage)
    opener = ACTORS[name] if name in ACTORS else _load(name)
    return opener(stage)


def _find_others() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _load(name: str) -> Opener:
    point = _find_others()[name]
    try:
        found: Opener = point.load()
    except Exception as e:
        raise ActorUnavailableError(
            f"--actor={name}",
            f"{point.value} to load",
            " ".join(str(e).split()),
            "install its package again",
        ) from e
    return found
