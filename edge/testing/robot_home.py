"""The folder of a robot that has a tiny package, and an episode to replay."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edge.ota import update
from edge.ota.decide import RobotRuntime
from edge.ota.state_folder import StateFolder
from edge.processes.home import Home
from edge.runtime_version import RUNTIME_VERSION
from edge.testing import program_runs, tiny_package
from edge.testing.tiny_package import Publisher

STEPS: Final = 40
"""Steps of the episode: half a second at 80 Hz."""


@dataclass(frozen=True)
class RobotHome:
    """A robot's folder, its publisher and the episode that stands in for a robot.

    Attributes:
        home: where things lie.
        publisher: signs what the robot trusts.
        episode: the file of the episode.
    """

    home: Home
    publisher: Publisher
    episode: Path

    @property
    def flags(self) -> list[str]:
        """The flags of control, and of the supervisor."""
        return [
            f"--home={self.home.root}",
            f"--keyring={self.publisher.keyring()}",
            "--allow_development_keys",
            f"--robot=replay:{self.episode}",
        ]

    def install(self, seed: int) -> str:
        """Publishes a package and activates it, as the updater does."""
        now = datetime.now(UTC)
        digest = self.publisher.release(seed, now=now)
        update.update(
            StateFolder(self.home.packages),
            self.publisher.channel_uri,
            self.publisher.trusted,
            RobotRuntime("sim-00", RUNTIME_VERSION),
            tiny_package.ROBOTS,
            now,
        )
        return digest


def make(folder: Path, steps: int = STEPS) -> RobotHome:
    """Makes the folder of a robot, with one package that drives."""
    publisher = program_runs.publish_first(folder)
    made = RobotHome(
        Home(folder / "home"), publisher, program_runs.write_episode(folder, steps)
    )
    made.home.root.mkdir()
    made.install(0)
    return made
