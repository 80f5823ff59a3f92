"""How an arm of LeRobot is named: by a type, a port and options.

`so101_follower@/dev/ttyACM0,id=blue` behind the prefix of a robot or of an actor.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.errors import UnknownRobotError
from edge.robots.lerobot_classes import ArmType

ID: Final = "id"
CALIBRATION: Final = "calibration"


@dataclass(frozen=True)
class Connection:
    """How an arm is named.

    Attributes:
        prefix: what stands before the type, such as `lerobot:`.
        arm: its type.
        port: path of its port.
        options: what else was said, by name.
    """

    prefix: str
    arm: ArmType
    port: str
    options: Mapping[str, str]

    def __str__(self) -> str:
        """Without its options, as errors name it."""
        return f"{self.prefix}{self.arm.name}@{self.port}"

    @property
    def name(self) -> str:
        """Name of its calibration file, without `.json`."""
        return self.options.get(ID, self.arm.name)

    @property
    def calibration(self) -> Path | None:
        """Folder of its calibration file; None for LeRobot's own."""
        folder = self.options.get(CALIBRATION)
        return Path(folder).expanduser() if folder else None


def parse(
    prefix: str,
    text: str,
    types: Mapping[str, ArmType],
    options: Collection[str] = (),
) -> Connection:
    """Reads what stands behind `prefix`.

    Args:
        prefix: such as `lerobot:`.
        text: `TYPE@PORT`, and `,NAME=VALUE` for each option.
        types: those that may be named, by name.
        options: names that are allowed beside `id` and `calibration`.

    Raises:
        UnknownRobotError: it is not understood.
    """
    known = (ID, CALIBRATION, *options)
    device, *said = text.split(",")
    name, _, port = device.partition("@")
    example = f"{prefix}{next(iter(types))}@/dev/ttyACM0"
    if name not in types:
        raise UnknownRobotError(
            prefix + text, f"TYPE is one of {', '.join(types)}, as in {example}"
        )
    if not port.startswith("/"):
        raise UnknownRobotError(
            prefix + text, f"a port is a path behind @, as in {example}"
        )
    found: dict[str, str] = {}
    for option in said:
        key, equals, value = option.partition("=")
        if not equals or not value or key in found or key not in known:
            raise UnknownRobotError(
                prefix + text,
                f"{option!r} is not understood: behind the port stand any of"
                f" {', '.join(f'{one}=' for one in known)}",
            )
        found[key] = value
    if "/" in found.get(ID, ""):
        raise UnknownRobotError(prefix + text, "an id is the name of a file, no path")
    return Connection(prefix, types[name], port, found)
