"""A robot whose updater puts each package on trial, for tests."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from base.errors import ContinuonError
from edge.episodes import robot_key
from edge.ota import active_package, health
from edge.ota.active_package import ActivePackage
from edge.ota.decide import Installed, RobotRuntime
from edge.ota.health import EpisodeReport
from edge.ota.receipts import Receipts
from edge.ota.service import Round, Updater
from edge.ota.start_count import StartCount
from edge.ota.state_folder import StateFolder
from edge.ota.watch import Rules
from edge.testing.tiny_package import NOW, ROBOTS, Publisher
from rlds import receipt
from rlds.receipt import Receipt

ROBOT_ID = "sim-00"
KEY = robot_key.derive_simulated(ROBOT_ID)
TRIAL_EPISODES = 5


class TriedRobot:
    """A robot's home, the store that it follows, and its updater.

    Attributes:
        now: time of the next round; each round takes a second.
    """

    def __init__(self, home: Path, publisher: Publisher) -> None:
        self.home = home
        self.publisher = publisher
        self.state = StateFolder(home / "packages")
        self.receipts = Receipts(home / "receipts", KEY, ROBOT_ID)
        self.now = NOW
        self.updater = Updater(
            state=self.state,
            receipts=self.receipts,
            keys=publisher.trusted,
            robot=RobotRuntime(ROBOT_ID, "0.1.0"),
            robots=ROBOTS,
            memories=home / "memories",
            rules=Rules(episodes=TRIAL_EPISODES),
        )

    def poll(self, channel: str | None = None) -> Round:
        """Asks the channel once."""
        return self.updater.poll(channel or self.publisher.channel_uri, self._tick())

    def seed(self, path: Path) -> Round:
        """Installs a seed."""
        return self.updater.install_seed(path, self._tick())

    def settle(self) -> Round:
        """Does what is due."""
        return self.updater.settle(self._tick())

    def install(self, seed: int) -> str:
        """The publisher releases a package, and the robot takes it."""
        digest = self.publisher.release(seed, now=self.now)
        done = self.poll()
        assert not done.failed, done.lines
        assert self.active() == digest
        return digest

    def drive(self, episodes: int, **changes: str | int | None) -> None:
        """Control drives so many episodes and reports them; nothing is judged."""
        digest = self.active()
        found = health.read(self.state.root, digest)
        for _ in range(episodes):
            values: dict[str, Any] = {"delta": None, "success": True, "steps": 80}
            values |= {"missed_deadlines": 0, "stop_rules": 0, **changes}
            report = EpisodeReport(digest, **values)
            found = found.add(report)
        health.write(self.state.root, found)

    def be_stopped(self, episodes: int) -> None:
        """A person stops so many episodes by key; nothing is judged."""
        self.drive(episodes, success=None, stopped=True, stop_key=True)

    def die(self, times: int, episodes_first: int = 0) -> None:
        """Control starts and dies so many times, after an episode if there are any."""
        for _ in range(times):
            starts = StartCount(self.state)
            starts.begin()
            if episodes_first:
                starts.clear()
                self.drive(episodes_first)

    def commit(self) -> None:
        """The active package drives its trial well."""
        self.drive(TRIAL_EPISODES)
        assert not self.settle().failed

    def pointer(self) -> Installed:
        installed = self.state.read_installed()
        assert installed is not None
        return installed

    def active(self) -> str:
        """Digest that the pointer names."""
        return self.pointer().digest

    def open(self) -> ActivePackage:
        """Opens what drives, as control does."""
        return active_package.open_active_package(
            self.state, self.publisher.trusted, ROBOTS
        )

    def read_receipts(self) -> list[Receipt]:
        """Reads and verifies every receipt, the oldest first."""
        keys = {KEY.keyid: KEY.signing.public_key()}
        return [
            receipt.verify(path.read_bytes(), keys, path)
            for path in self.receipts.list_paths()
        ]

    def outcomes(self) -> list[tuple[str, str]]:
        """Outcome and first digits of the package of every receipt."""
        return [(one.outcome, one.package_digest[:6]) for one in self.read_receipts()]

    def _tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def has_trial(robot: TriedRobot) -> bool:
    """Whether a record of a trial is on the disk, whatever it says."""
    return (robot.state.root / "trial").exists()


def opens(robot: TriedRobot, digest: str) -> bool:
    """Whether this package, and no other, opens as the active one."""
    try:
        return robot.open().package.digest == digest
    except ContinuonError:
        return False
