"""A robot as its services are installed: real users, folders and programs.

For a test that runs as root of a namespace (`many_users.py`): it makes what
`systemd-sysusers` and `systemd-tmpfiles` make from the shipped files, and starts the
programs of units as their users. What systemd does beyond that, such as
`InaccessiblePaths=`, is not there: files must be safe without it.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from edge.processes.home import Home
from edge.testing import many_users, process_tree, processes, service_units

FIRST_ID: Final = 60_600
"""A range that no system gives to anybody (systemd's users-and-groups table)."""
STRANGER: Final = "stranger"
"""A user of the same machine, of none of the groups."""
LOGS: Final = Path("/var/lib/logs")


class ServiceRobot:
    """The users, folders and running programs of a robot.

    Attributes:
        home: where things lie.
        uids: id of each user, by the name of its process.
    """

    def __init__(self, shipped: Path) -> None:
        """Makes users and folders.

        Args:
            shipped: folder of the units and the files beside them.
        """
        self._shipped = shipped
        self.home = Home(service_units.ROOT)
        users, groups = service_units.read_names(shipped)
        names = [*dict.fromkeys((*users, *groups)), STRANGER]
        self._ids = {name: FIRST_ID + n for n, name in enumerate(names)} | {"root": 0}
        self._who = {
            name: service_units.read_user(shipped, name) for name in service_units.NAMES
        }
        self.uids = {name: self._ids[who.user] for name, who in self._who.items()}
        for entry in service_units.read_entries(shipped):
            if entry.target is not None:
                entry.path.symlink_to(entry.target)
                continue
            entry.path.mkdir()
            os.chown(entry.path, self._ids[entry.user], self._ids[entry.group])
            entry.path.chmod(entry.mode)
        LOGS.mkdir()
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def stranger(self) -> int:
        """Id of the stranger."""
        return self._ids[STRANGER]

    def run_as[T](self, name: str, work: Callable[[], T]) -> T:
        """Runs `work` as the user of a process, with its groups and umask."""
        if name == STRANGER:
            return many_users.run_as(self._ids[name], [self._ids[name]], work)
        who = self._who[name]

        def do() -> T:
            os.umask(who.umask)
            return work()

        return many_users.run_as(self.uids[name], self._groups(name), do)

    def start(self, name: str, *flags: str) -> int:
        """Starts the program of a unit as its user; returns its process id."""
        unit = service_units.Unit(self._shipped, name)
        _, *given = unit.words("ExecStart")
        assert given.pop() == "$CONTINUON_FLAGS"
        module = unit.service("Environment")
        assert module is not None
        primary, *others = self._groups(name)
        with (LOGS / name).open("ab") as log:
            running = subprocess.Popen(
                processes.command(
                    module.removeprefix("CONTINUON_PROGRAM="), *given, *flags
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=processes.environment() | {"PYTHONDONTWRITEBYTECODE": "1"},
                user=self.uids[name],
                group=primary,
                extra_groups=others,
                umask=self._who[name].umask,
                cwd="/",
            )
        self._running.append(running)
        return running.pid

    def run(self, name: str, *flags: str) -> str:
        """Runs the program of a unit to its end, which is good; what it said."""
        self.start(name, *flags)
        code = self._running.pop().wait(process_tree.LONGEST_S)
        assert code == 0, self.said(name)
        return self.said(name)

    def said(self, name: str) -> str:
        """What the program of a unit has said so far."""
        path = LOGS / name
        return path.read_text() if path.exists() else ""

    def wait_until(self, done: Callable[[], object]) -> None:
        """Waits until `done` says so."""
        names = sorted(self.uids)
        process_tree.wait_until(
            done, lambda: "\n".join(self.said(name) for name in names)
        )

    def close(self) -> None:
        """Ends the programs."""
        for running in self._running:
            running.send_signal(signal.SIGTERM)
        for running in self._running:
            running.wait(process_tree.LONGEST_S)

    def _groups(self, name: str) -> Sequence[int]:
        # A group that the system brings and the robot's files do not need has no id.
        return [self._ids[group] for group in self._who[name].groups]
