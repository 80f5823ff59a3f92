"""What the shipped files say of the robot's services: users, groups, folders, flags.

Read from `edge/bundle/continuon.sysusers`, `continuon.tmpfiles` and the units, so that
a test which builds a robot from them fails when they change.
"""

import configparser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NAMES: Final = ("control", "learn", "page", "record", "update", "upload")
ROOT: Final = Path("/var/lib/continuon")


class Unit(configparser.RawConfigParser):
    """A unit file, whose keys keep their case and may repeat."""

    def __init__(self, folder: Path, name: str) -> None:
        """Reads the unit of a process.

        Args:
            folder: of the shipped files.
            name: of the process.
        """
        super().__init__(strict=False)
        self.text = (folder / f"continuon-{name}.service").read_text()
        self.read_string(self.text)

    def optionxform(self, optionstr: str) -> str:
        """Keeps the case of a key."""
        return optionstr

    def service(self, key: str) -> str | None:
        """The value of a key of the section Service; None if it is not there."""
        return self.get("Service", key, fallback=None)

    def words(self, key: str) -> list[str]:
        """The words of such a value."""
        return (self.service(key) or "").split()


@dataclass(frozen=True)
class User:
    """Who runs a process.

    Attributes:
        user: name of the user.
        groups: names of the groups, the primary one first.
        umask: of the process.
    """

    user: str
    groups: tuple[str, ...]
    umask: int


@dataclass(frozen=True)
class Entry:
    """A folder or a link that `systemd-tmpfiles` makes.

    Attributes:
        path: where.
        mode: of a folder; 0 for a link.
        user: its owner.
        group: its group.
        target: where a link leads; None for a folder.
    """

    path: Path
    mode: int
    user: str
    group: str
    target: Path | None = None


def read_user(folder: Path, name: str) -> User:
    """Who runs the process of this name."""
    unit = Unit(folder, name)
    groups = (unit.service("Group") or "", *unit.words("SupplementaryGroups"))
    umask = int(unit.service("UMask") or "0022", 8)
    return User(unit.service("User") or "root", groups, umask)


def read_names(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the users and of the groups that are made; a user has one of its own."""
    lines = (folder / "continuon.sysusers").read_text().splitlines()
    fields = [line.split() for line in lines if line and not line.startswith("#")]
    users = [name for kind, name, *_ in fields if kind == "u"]
    return users, [name for kind, name, *_ in fields if kind == "g"] + users


def read_entries(folder: Path) -> list[Entry]:
    """What `systemd-tmpfiles` makes, in its order."""
    found = []
    for line in (folder / "continuon.tmpfiles").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        kind, path, mode, user, group, *rest = line.split()
        assert kind in "dL", line
        if kind == "d":
            found.append(Entry(Path(path), int(mode, 8), user, group))
        else:
            found.append(Entry(Path(path), 0, "root", "root", Path(rest[-1])))
    return found


def may(entry: Entry, who: User, want: int) -> bool:
    """Whether a user may do this with a folder, by its mode alone.

    Args:
        entry: the folder.
        who: the user, not root.
        want: of 4 to list, 2 to change, and 1 to enter.
    """
    bits = entry.mode
    if who.user == entry.user:
        bits >>= 6
    elif entry.group in who.groups:
        bits >>= 3
    return bits & want == want


def may_reach(entries: Mapping[Path, Entry], path: Path, who: User, want: int) -> bool:
    """The same with all folders above it, which have to be entered."""
    above = [entries[one] for one in path.parents if one in entries]
    return may(entries[path], who, want) and all(may(one, who, 1) for one in above)
