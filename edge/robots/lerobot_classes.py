"""LeRobot's own classes of arms, loaded without what they do not use.

The classes of robots and teleoperators, their motor buses and their calibration files
need a few small packages. Beside those, LeRobot's modules import PyTorch, datasets and
OpenCV at their top: for the names of two types (`lerobot.processor`), for two helpers
at a terminal (`lerobot.utils.utils`), and for cameras, which have their own way here
(`--camera`). So four modules are put in the place of those before anything is imported,
and 3 MB are loaded in the place of 2 GB. No class of LeRobot is changed.

Nothing of LeRobot is imported before an arm is named.
"""

import importlib
import importlib.util
import select
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol

from edge.errors import RobotUnavailableError
from edge.robots import outside

LOCK: Final = "third_party/python/locks/lerobot.txt"
_PACKAGE: Final = "lerobot"
_BARE: Final = ("lerobot.robots.lekiwi", "lerobot.cameras.opencv")
"""Packages whose `__init__` imports OpenCV, and of which single modules are used."""


@dataclass(frozen=True)
class ArmType:
    """One of LeRobot's types.

    Attributes:
        name: LeRobot's name of it, such as `so101_follower`.
        model: the machine, as episodes name it.
        module: where its classes are.
        device: name of its class; that of its settings is this and `Config`.
        joints_in_degrees: whether its joints are in degrees, gripper aside, and not in
            hundredths of half their range; as LeRobot has it.
    """

    name: str
    model: str
    module: str
    device: str
    joints_in_degrees: bool


def _list(*types: ArmType) -> dict[str, ArmType]:
    return {one.name: one for one in types}


_SO_FOLLOWER: Final = "lerobot.robots.so_follower"
_SO_LEADER: Final = "lerobot.teleoperators.so_leader"
FOLLOWERS: Final = _list(
    ArmType("so100_follower", "so100", _SO_FOLLOWER, "SO100Follower", True),
    ArmType("so101_follower", "so101", _SO_FOLLOWER, "SO101Follower", True),
    ArmType(
        "koch_follower", "koch", "lerobot.robots.koch_follower", "KochFollower", False
    ),
    ArmType("lekiwi", "lekiwi", "lerobot.robots.lekiwi.lekiwi", "LeKiwi", False),
)
"""Those that are driven."""
LEADERS: Final = _list(
    ArmType("so100_leader", "so100", _SO_LEADER, "SO100Leader", True),
    ArmType("so101_leader", "so101", _SO_LEADER, "SO101Leader", True),
    ArmType(
        "koch_leader", "koch", "lerobot.teleoperators.koch_leader", "KochLeader", False
    ),
)
"""Those that a person moves."""


class Bus(Protocol):
    """What is used here of LeRobot's `SerialMotorsBus`."""

    motors: dict[str, Any]
    calibration: dict[str, Any]
    port_handler: Any
    sync_reader: Any
    model_resolution_table: dict[str, int]

    def connect(self) -> None:
        """Opens the port, and looks whether each servo is there."""

    def disable_torque(self) -> None:
        """Switches the servos off."""

    def sync_read(self, data_name: str, motors: list[str]) -> dict[str, float]:
        """Asks servos for a number."""


class Device(Protocol):
    """What is used here of LeRobot's `Robot` and `Teleoperator`."""

    bus: Bus
    calibration: dict[str, Any]
    calibration_fpath: Path
    is_calibrated: bool

    def configure(self) -> None:
        """Sets the servos up; those of a robot are switched on then."""

    def get_observation(self) -> dict[str, float]:
        """What a robot senses."""

    def send_action(self, action: dict[str, float]) -> dict[str, float]:
        """Tells a robot where to go."""

    def stop_base(self) -> None:
        """Lets the wheels of a LeKiwi stand."""

    def calibrate(self) -> None:
        """Asks at the terminal, and writes servos and file."""

    def setup_motors(self) -> None:
        """Asks for one servo after the other, and gives each its number."""

    def disconnect(self) -> None:
        """Switches the servos off, and closes the port."""


def load(arm: ArmType, source: str) -> tuple[Callable[..., Device], type]:
    """Returns LeRobot's class of an arm, and that of its settings.

    Raises:
        RobotUnavailableError: LeRobot is not installed, or does not load.
    """
    outside.look_outside()
    try:
        _stand_in()
        module = importlib.import_module(arm.module)
    except ImportError as e:
        raise RobotUnavailableError(
            source,
            f"LeRobot and what it needs ({LOCK})",
            str(e),
            "start with `./bazelw run --config=lerobot`, or install it as"
            " docs/your-robot.md says",
        ) from e
    return getattr(module, arm.device), getattr(module, f"{arm.device}Config")


def _stand_in() -> None:
    """Puts four modules in the place of those that load what is not used here."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None:
        raise ModuleNotFoundError(f"No module named {_PACKAGE!r}", name=_PACKAGE)
    folder = next(iter(found.submodule_search_locations or ()))
    types = ModuleType("lerobot.processor")
    types.__dict__.update(RobotAction=dict[str, Any], RobotObservation=dict[str, Any])
    helpers = ModuleType("lerobot.utils.utils")
    helpers.__dict__.update(enter_pressed=_is_enter_pressed, move_cursor_up=_move_up)
    bare = [ModuleType(name) for name in _BARE]
    for package in bare:
        package.__path__ = ["/".join((folder, *package.__name__.split(".")[1:]))]
    for module in (types, helpers, *bare):
        sys.modules.setdefault(module.__name__, module)


def _is_enter_pressed() -> bool:
    """Whether a whole line waits at standard input; it is taken."""
    ready = select.select([sys.stdin], [], [], 0)[0]
    return bool(ready) and bool(sys.stdin.readline())


def _move_up(lines: int) -> None:
    """Moves the cursor, so that a table is shown in the place of the last."""
    sys.stdout.write(f"\033[{lines}A")
