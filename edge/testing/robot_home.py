"""The folder of a robot that has a tiny package, and an episode to replay."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from base.digest import sha256_bytes
from edge.control import local_delta
from edge.control.local_delta import DeltaRecord, Evaluation
from edge.loops.delta_store import CURRENT, DeltaStore
from edge.ota import update
from edge.ota.decide import Origin, RobotRuntime
from edge.ota.state_folder import StateFolder
from edge.processes.home import Home
from edge.robots.robot import RobotSpec
from edge.runtime_version import RUNTIME_VERSION
from edge.testing import program_runs, tiny_package
from edge.testing.tiny_package import Publisher
from release import package

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

    def install(
        self,
        seed: int,
        robots: Mapping[str, RobotSpec] = tiny_package.ROBOTS,
        **options: Any,
    ) -> str:
        """Publishes a package and activates it, as the updater does.

        Args:
            seed: of the package.
            robots: that it must fit.
            options: those of `tiny_package.write_package`.
        """
        now = datetime.now(UTC)
        digest = self.publisher.release(seed, now=now, **options)
        update.update(
            StateFolder(self.home.packages),
            self.publisher.channel_uri,
            self.publisher.trusted,
            RobotRuntime("sim-00", RUNTIME_VERSION),
            robots,
            now,
        )
        return digest

    def call_seed(self) -> None:
        """Lets the pointer say that the package came by hand, and from no channel."""
        state = StateFolder(self.home.packages)
        with state.lock():
            installed = state.read_installed()
            assert installed is not None
            state.activate(dataclasses.replace(installed, origin=Origin.SEED))

    def active(self) -> str:
        """Digest of the package that the pointer names."""
        installed = StateFolder(self.home.packages).read_installed()
        assert installed is not None
        return installed.digest

    def keep_delta(self, base: str, length: float = 0.01) -> str:
        """Makes a delta the one that counts, whatever is in it; returns its digest.

        Args:
            base: digest of the package that it says it belongs to.
            length: of each of its vectors, whose bound is 1.
        """
        folder = StateFolder(self.home.packages).package_folder(self.active())
        manifest = package.parse((folder / package.MANIFEST).read_bytes())
        vectors = {
            name: np.full(one.size, length / one.size**0.5, np.float32)
            for name, one in manifest.surfaces.items()
        }
        record = DeltaRecord(
            base_package=base,
            parent=None,
            loop="slow",
            consolidations=0,
            created_at="2026-02-03T08:00:00Z",
            tensors_sha256=sha256_bytes(local_delta.encode_vectors(vectors)),
            episodes=(),
            evaluation=Evaluation(1, 0.2, 0.1, 0.95),
            wall_s=1.0,
            processor_s=1.0,
        )
        store = DeltaStore(self.home.deltas)
        digest = store.keep(vectors, record)
        store.point(CURRENT, digest)
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
