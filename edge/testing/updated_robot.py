"""A robot that follows a tiny store, for the tests of updates.

A refusal is checked on the disk and afterwards: nothing has changed, the package before
still opens, and the next good release is installed. A package that was refused for what
it is is not fetched again, and nothing but the note of that has come to the disk.
"""

from datetime import datetime
from pathlib import Path
from typing import Unpack

import pytest

from edge.ota import active_package, errors, refusals, update
from edge.ota.active_package import ActivePackage
from edge.ota.decide import Installed, Move, RobotRuntime
from edge.ota.state_folder import StateFolder
from edge.testing import tampering
from edge.testing.tampering import RecordChanges
from edge.testing.tiny_package import NOW, ROBOTS, Publisher
from release import channel
from release.testing.tiny_release import PrivateKey
from release.trusted_keys import TrustedKeys

RUNTIME = RobotRuntime("sim-00", "0.1.0")
NEXT_COUNTER = 50


class UpdatedRobot:
    """A robot with one active package, and the store that it follows."""

    def __init__(self, folder: Path) -> None:
        self.publisher = Publisher(folder)
        self.state = StateFolder(folder / "state")
        self.first = self.publisher.release(0)
        self.update()
        self.good = self.envelope().read_bytes()

    def update(
        self, keys: TrustedKeys | None = None, now: datetime = NOW
    ) -> ActivePackage:
        return update.update(
            self.state,
            self.publisher.channel_uri,
            keys or self.publisher.trusted,
            RUNTIME,
            ROBOTS,
            now,
        )

    def refuse(
        self,
        error: type[Exception],
        match: str,
        now: datetime = NOW,
        *,
        noted: bool = False,
    ) -> None:
        """An update fails with `error`; the first package is still the active one.

        Args:
            error: class of the error.
            match: what its text says.
            now: time of the update.
            noted: whether the package is refused for what it is.
        """
        before = snapshot(self.state.root)
        with pytest.raises(error, match=match):
            self.update(now=now)
        if noted:
            self.refuse_again(match, now)
        assert snapshot(self.state.root, without=refusals.FILE) == before
        assert (self.state.root / refusals.FILE).exists() == noted
        active = self.open()
        assert active.package.digest == self.first
        self.install_next()
        assert self.read_installed().previous == self.first

    def refuse_again(self, match: str, now: datetime = NOW) -> None:
        """An update refuses the package without fetching it, for the same reason."""
        stored, away = self.publisher.root / "packages", self.publisher.root / "away"
        noted = (self.state.root / refusals.FILE).read_bytes()
        stored.rename(away)
        with pytest.raises(errors.RefusedBeforeError, match=match):
            self.update(now=now)
        away.rename(stored)
        assert (self.state.root / refusals.FILE).read_bytes() == noted

    def install_next(self) -> str:
        """The publisher mends its store and releases a good package, which is taken."""
        self.envelope().write_bytes(self.good)
        counter = max(NEXT_COUNTER, self.read_installed().release_counter + 1)
        # Whoever signed what the robot took may have used up counters.
        self.replace_record(release_counter=counter - 1)
        digest = self.publisher.release(99, channel_counter=counter)
        active = self.update()
        assert (active.move, active.package.digest) == (Move.INSTALL, digest)
        assert self.read_installed() == active.installed
        assert active.installed.release_counter == counter
        return digest

    def open(self) -> ActivePackage:
        """Starts without asking the channel."""
        return active_package.open_active_package(
            self.state, self.publisher.trusted, ROBOTS
        )

    def envelope(self) -> Path:
        return tampering.envelope(self.publisher)

    def read_installed(self) -> Installed:
        installed = self.state.read_installed()
        assert installed is not None
        return installed

    def record(self) -> channel.Channel:
        return tampering.record(self.publisher)

    def replace_record(
        self, key: PrivateKey | None = None, **changes: Unpack[RecordChanges]
    ) -> None:
        tampering.replace_record(self.publisher, key, **changes)

    def replace_tar(self, raw: bytes, package_digest: str | None = None) -> None:
        tampering.replace_tar(self.publisher, raw, package_digest)


def snapshot(folder: Path, without: str = "") -> dict[str, bytes]:
    """Every file below a folder, by relative path, except those of one name."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != without
    }
