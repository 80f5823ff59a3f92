"""A robot that follows a tiny store, for the tests of updates.

A refusal is checked on the disk and afterwards: nothing has changed, the package before
still opens, and the next good release is installed.
"""

from datetime import datetime
from pathlib import Path
from typing import Unpack

import pytest

from edge.ota import active_package, update
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

    def refuse(self, error: type[Exception], match: str, now: datetime = NOW) -> None:
        """An update fails with `error`; the first package is still the active one."""
        before = snapshot(self.state.root)
        with pytest.raises(error, match=match):
            self.update(now=now)
        assert snapshot(self.state.root) == before
        active = self.open()
        assert active.package.digest == self.first
        self.install_next()
        assert self.read_installed().previous == self.first

    def install_next(self) -> str:
        """The publisher mends its store and releases a good package, which is taken."""
        self.envelope().write_bytes(self.good)
        digest = self.publisher.release(99, channel_counter=NEXT_COUNTER)
        active = self.update()
        assert (active.move, active.package.digest) == (Move.INSTALL, digest)
        assert self.read_installed() == active.installed
        assert active.installed.release_counter == NEXT_COUNTER
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


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }
