"""What the channels of a robot are called, and in which units they are.

An episode holds numbers without names. Whoever knows the robot writes them down once:

    {"schema_version": 1,
     "state": [{"name": "shoulder_pan", "unit": "deg"}, {"name": "gripper"}],
     "action": [{"name": "shoulder_pan", "unit": "deg"}]}

`state` or `action` may be left out, and its channels are then numbered.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from base import plain_file
from base.json_fields import Fields, decode
from rlds.errors import ShowError

SCHEMA_VERSION: Final = 1
_LIMIT_BYTES: Final = 4 << 20
_LONGEST: Final = 100  # characters of a name or unit
_KINDS: Final = ("state", "action")


@dataclasses.dataclass(frozen=True)
class Channel:
    """One number of a state or of an action.

    Attributes:
        name: what it is called; its position where nobody said.
        unit: unit of the number; "" if it has none, or nobody said.
    """

    name: str
    unit: str = ""


@dataclasses.dataclass(frozen=True)
class ChannelNames:
    """The channels of a robot, as far as somebody wrote them down.

    Attributes:
        source: the file, for errors; "" for none.
        known: the channels of `state` and of `action`, by these words.
    """

    source: str = ""
    known: Mapping[str, Sequence[Channel]] = dataclasses.field(default_factory=dict)

    def name(self, kind: str, size: int, episode: str) -> tuple[Channel, ...]:
        """Returns the channels of a `state` or an `action` of this size.

        Args:
            kind: `state` or `action`.
            size: number of channels that the episode has.
            episode: the episode's file, for errors.

        Raises:
            ShowError: the file names another number of them.
        """
        known = self.known.get(kind)
        if known is None:
            return tuple(Channel(str(number)) for number in range(size))
        if len(known) != size:
            raise ShowError(
                self.source,
                f"{kind} with the {size} channels of {episode}",
                f"{len(known)}",
                "name every channel of this robot, or leave --names out",
            )
        return tuple(known)


def read(path: Path) -> ChannelNames:
    """Reads a file of names.

    Raises:
        MalformedError: it is not such a file, or has a field that is not known.
        OversizedError, OSError: it cannot be read.
    """
    raw = plain_file.read(path, _LIMIT_BYTES)
    value = decode(raw, path, _LIMIT_BYTES)
    fields = Fields(value, path, ["schema_version"], optional=_KINDS)
    fields.version(SCHEMA_VERSION)
    known = {
        kind: tuple(
            _read_channel(one, path, f"{kind}[{number}]")
            for number, one in enumerate(fields.items(kind))
        )
        for kind in _KINDS
        if fields.has(kind)
    }
    return ChannelNames(str(path), known)


def _read_channel(value: object, path: Path, where: str) -> Channel:
    fields = Fields(value, path, ["name"], where, optional=["unit"])
    channel = Channel(
        fields.text("name"), fields.text("unit") if fields.has("unit") else ""
    )
    for key, text in (("name", channel.name), ("unit", channel.unit)):
        if len(text) > _LONGEST:
            raise fields.fail(key, f"to have at most {_LONGEST} characters")
    return channel
