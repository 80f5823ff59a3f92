"""Finds and opens a robot that somebody else wrote, by its name.

    my_arm.py:MyArm           the class MyArm in a file
    my_package.arms:MyArm     the same in a module
    my-arm                    a class that an installed package gives this name

A module is looked for behind all of ours: where `PYTHONPATH` of whoever starts the
program says (`third_party/python/private/start.sh` hands it on as
`CONTINUON_ROBOT_PATH`, since a program takes nothing else from there), then in the
folder where it was started. A package that is installed there names its robots by
entry points of the group `continuon.robots`:

    [project.entry-points."continuon.robots"]
    my-arm = "my_package.arms:MyArm"

The class implements `Robot`. What stands behind one more colon is handed to it as one
string, as it is to a robot of ours: a port, an address, a task
(`my_arm.py:MyArm:/dev/ttyUSB0`). One string needs no second language with quotes of its
own, and has the form ENVIRONMENT:TASK by which an evaluation names its robots. A class
that takes no string has one task, and may be named with that.
A parameter that is named `clock` gets the clock that a simulated robot advances. What
the class has as `expert`, a function from an `Observation` to an action, is its
scripted expert.
"""

import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np

from edge.errors import (
    EdgeError,
    NoExpertError,
    OutsideRobotError,
    RobotFaultError,
    RobotUnavailableError,
)
from edge.robots.clock import SimulatedClock
from edge.robots.guarded_robot import GuardedRobot, describe_fault
from edge.robots.robot import Observation, Policy, RobotSpec, Vector

GROUP: Final = "continuon.robots"
PATH_VARIABLE: Final = "CONTINUON_ROBOT_PATH"
EXAMPLE: Final = "my_arm.py:MyArm"
FORMS: Final = ("FILE.py:CLASS", "MODULE:CLASS", "ENTRY_POINT")
"""The forms of the names of classes, each with `:ARGUMENT` behind it or not."""
_FILE: Final = re.compile(r"(.+?\.py):([^:]*)(?::(.*))?", re.DOTALL)
_MODULE: Final = re.compile(r"([^\W\d][\w.]*):([^\W\d]\w*)(?::(.*))?", re.DOTALL)
_METHODS: Final = ("reset", "act", "hold", "close")


@dataclass(frozen=True)
class OutsideClass:
    """A class that was found, and has what a robot has.

    Attributes:
        name: the robot string.
        make: the class, or a function that makes the robot.
        argument: what stands behind the class; None if nothing does.
        file: source of the class.
    """

    name: str
    make: Callable[..., Any]
    argument: str | None
    file: str

    @property
    def has_expert(self) -> bool:
        """Whether the class has a scripted expert."""
        return callable(getattr(self.make, "expert", None))

    @property
    def is_known_as_simulated(self) -> bool:
        """Whether the class itself says so, before any robot is opened."""
        spec = getattr(self.make, "spec", None)
        return isinstance(spec, RobotSpec) and spec.simulated

    def open(self, clock: SimulatedClock) -> GuardedRobot:
        """Opens the robot.

        Args:
            clock: for a class that takes one, which is a simulated robot.

        Raises:
            OutsideRobotError: the class takes another argument, or what it makes is no
                robot.
            RobotUnavailableError: the class raised.
        """
        named = {"clock": clock} if self._takes("clock") else {}
        arguments = () if self.argument is None else (self.argument,)
        knows_one_task = bool(arguments) and not self._takes_string(named)
        if knows_one_task:
            arguments = ()
        self._require_call(arguments, named)
        try:
            robot = self.make(*arguments, **named)
        except EdgeError:
            raise
        except Exception as e:
            raise RobotUnavailableError(
                f"robot {self.name}",
                "its class to open it",
                describe_fault(e, self.file),
                "correct the class, or connect what it needs",
            ) from e
        self._require_robot(robot)
        if knows_one_task and robot.spec.task != self.argument:
            raise self._no_argument(f"its task is {robot.spec.task!r}")
        return GuardedRobot(robot, self.name, self.file)

    def open_expert(self, speed: float) -> Policy:
        """Returns its scripted expert.

        Raises:
            NoExpertError: it has none, or none of this speed.
        """
        if not self.has_expert:
            raise NoExpertError(
                "--robot",
                "a robot with a scripted expert",
                self.name,
                "act yourself (--actor=keyboard), or give its class a function `expert`"
                " from an observation to an action",
            )
        if speed != 1.0:
            raise NoExpertError(
                "--actor_speed",
                "no speed for the expert of this robot, which has one of its own",
                f"{speed:g}",
                "leave the flag out",
            )
        return _OutsideExpert(self)

    def _takes(self, name: str) -> bool:
        parameters = _parameters(self.make)
        return parameters is not None and name in parameters.parameters

    def _takes_string(self, named: dict[str, SimulatedClock]) -> bool:
        parameters = _parameters(self.make)
        if parameters is None:
            return True
        others = [
            one
            for one in parameters.parameters.values()
            if one.name not in named and one.kind is not one.KEYWORD_ONLY
        ]
        return bool(others)

    def _require_call(
        self, arguments: tuple[str, ...], named: dict[str, SimulatedClock]
    ) -> None:
        """Checks what the class takes, before errors of its own can be meant."""
        parameters = _parameters(self.make)
        if parameters is None:
            return
        try:
            parameters.bind(*arguments, **named)
        except TypeError as e:
            raise self._no_argument(str(e)) from e

    def _no_argument(self, reason: str) -> OutsideRobotError:
        return OutsideRobotError(
            "--robot",
            "what its class takes behind it, or its task",
            f"{self.name} ({reason})",
            f"write {EXAMPLE}:ARGUMENT for a class that takes one string, and {EXAMPLE}"
            " for one that takes none",
        )

    def _require_robot(self, robot: object) -> None:
        spec = getattr(robot, "spec", None)
        if not isinstance(spec, RobotSpec):
            raise _no_robot(self.name, "a `spec` that is a RobotSpec", _show(spec))
        clock = getattr(robot, "clock", None)
        if not all(hasattr(clock, one) for one in ("now_ns", "unix_ns")):
            raise _no_robot(
                self.name,
                "a `clock`: MonotonicClock() for a robot that exists",
                _show(clock),
            )
        if spec.simulated and not isinstance(clock, SimulatedClock):
            raise _no_robot(
                self.name,
                "a simulated robot to use and advance the clock that its parameter"
                " `clock` gets",
                _show(clock),
            )
        _require_methods(self.name, robot)


class _OutsideExpert:
    """The function of a class as a `Policy`."""

    def __init__(self, found: OutsideClass) -> None:
        self._found = found
        self._expert: Callable[[Observation], Any] = found.make.expert  # type: ignore[attr-defined] # `has_expert`

    def reset(self, task: str) -> None:
        """See `Policy.reset`; a function keeps no state."""
        del task

    def propose(self, observation: Observation) -> Vector:
        """See `Policy.propose`.

        Raises:
            RobotFaultError: the function raised, or returned no numbers.
        """
        try:
            return np.asarray(self._expert(observation), np.float32)
        except Exception as e:
            raise RobotFaultError(
                f"robot {self._found.name}",
                "its expert to return an action",
                describe_fault(e, self._found.file),
            ) from e


def find(name: str) -> OutsideClass | None:
    """Finds the class that a robot string names.

    Args:
        name: a string that names no robot of ours.

    Returns:
        The class; None if the string does not have the form of any.

    Raises:
        OutsideRobotError: there is no such file, module or class, it does not load, or
            it is no robot.
    """
    if matched := _FILE.fullmatch(name):
        path, attribute, argument = matched.groups()
        return _take(name, _load_file(Path(path), name), attribute, argument)
    own, _, rest = name.partition(":")
    for point in _find_points(own):
        return _take_point(name, point, rest if ":" in name else None)
    if matched := _MODULE.fullmatch(name):
        module, attribute, argument = matched.groups()
        return _take(name, _load_module(module, name), attribute, argument)
    return None


@cache
def look_outside() -> None:
    """Adds the folders of whoever started the program, behind all of ours.

    It is called when a robot was named that is not here, and not before.
    """
    folders = os.environ.get(PATH_VARIABLE, "").split(os.pathsep)
    for folder in [*filter(None, folders), "."]:
        _add_to_path(Path(folder))


def _find_points(name: str) -> tuple[EntryPoint, ...]:
    if not name:
        return ()
    look_outside()
    return tuple(entry_points(group=GROUP, name=name))


def _take_point(name: str, point: EntryPoint, argument: str | None) -> OutsideClass:
    module = _load_module(point.module, name)
    return _take(name, module, point.attr, argument)


def _take(
    name: str, module: ModuleType, attribute: str, argument: str | None
) -> OutsideClass:
    """Takes a class out of its module, if it is there and may be a robot."""
    file = str(module.__file__)
    found = getattr(module, attribute, None)
    if found is None:
        classes = [
            one
            for one, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == module.__name__
        ]
        raise OutsideRobotError(
            "--robot",
            f"a class of {file}",
            f"{attribute!r}, which it has not",
            f"it has {', '.join(classes)}" if classes else "it has no class",
        )
    if not callable(found):
        raise _no_robot(name, "a class", _show(found))
    if isinstance(found, type):
        _require_methods(name, found)
    return OutsideClass(name, found, argument, file)


def _require_methods(name: str, found: object) -> None:
    missing = [one for one in _METHODS if not callable(getattr(found, one, None))]
    if missing:
        raise _no_robot(
            name,
            f"the methods {', '.join(_METHODS)}",
            f"none named {' or '.join(missing)}",
        )


def _no_robot(name: str, expected: str, got: str) -> OutsideRobotError:
    return OutsideRobotError(
        "--robot",
        f"{expected} in {name}",
        got,
        "docs/your-robot.md shows a whole robot",
    )


def _show(value: object) -> str:
    return "none" if value is None else f"a {type(value).__name__}"


def _parameters(make: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(make)
    except (TypeError, ValueError):  # of some classes written in C
        return None


def _add_to_path(folder: Path) -> None:
    absolute = str(folder.absolute())
    if absolute not in sys.path:
        sys.path.append(absolute)


def _load_module(module: str, name: str) -> ModuleType:
    look_outside()
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as e:
        if e.name is None or not f"{module}.".startswith(f"{e.name}."):
            raise _does_not_load(name, e, "") from e
        raise OutsideRobotError(
            "--robot",
            f"a module {module} on PYTHONPATH or in this folder",
            f"none named {e.name}, for {name!r}",
            f"correct it, name a file ({EXAMPLE}), or see --help for the robots here",
        ) from e
    except Exception as e:
        raise _does_not_load(name, e, "") from e


def _load_file(path: Path, name: str) -> ModuleType:
    """Loads a file once, under its whole path, so that it takes no module's name."""
    path = path.expanduser().absolute()
    if (loaded := sys.modules.get(str(path))) is not None:
        return loaded
    if not path.is_file():
        raise OutsideRobotError(
            "--robot",
            f"a file {path}",
            "none",
            f"correct the path in {name!r}",
        )
    # What lies beside it can be imported, as if Python had started it.
    _add_to_path(path.parent)
    spec = importlib.util.spec_from_file_location(str(path), path)
    assert spec is not None and spec.loader is not None  # for a name that ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as e:
        del sys.modules[spec.name]
        raise _does_not_load(name, e, str(path)) from e
    return module


def _does_not_load(name: str, error: Exception, file: str) -> OutsideRobotError:
    return OutsideRobotError(
        "--robot",
        f"{name} to load",
        describe_fault(error, file),
        "correct the file, or install what it imports",
    )
