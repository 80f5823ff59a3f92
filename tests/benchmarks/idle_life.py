"""A life in which the robot learns while it is idle: the medium loop of a seed package.

A package from a channel is learned on by the slow loop alone, so `//edge:life`, which
takes one from a channel, never sees the medium loop. Here the package is installed by
hand, and `//edge:learn --once --loop=medium` runs when the day is over.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.benchmarks import measured_robot
from tests.benchmarks.measured_robot import ProgramFailedError

_ACTOR_NOISE: Final = 0.2  # as in //edge:life
_PATIENCE_S: Final = 60.0
"""Until the recorder has written what it has."""


@dataclass(frozen=True)
class IdleLife:
    """A robot with a package of its own, and how much of everything its life has.

    Attributes:
        home: folder of the robot; it gets the package.
        keys: flags of the keys that the package is signed with.
        own: episodes of each task before the change.
        driven: episodes of each task after it that the package drives.
        shown: episodes of each task after it that the expert shows.
        speed: share of its own speed at which the expert shows.
        rounds: of the medium loop.
    """

    home: Path
    keys: Sequence[str]
    own: int
    driven: int
    shown: int
    speed: float
    rounds: int

    def live(self, before: Sequence[str], changed: Sequence[str], seed: int) -> str:
        """Lives it; returns what the last round came to.

        Args:
            before: robot strings of each task before the change.
            changed: robot strings of each task after it.
            seed: of the first episode.

        Raises:
            ProgramFailedError: a program of the robot did not end well.
        """
        with self._record():
            seed = self._drive(before, self.own, seed)
            seed = self._drive(changed, self.driven, seed)
            self._drive(
                changed,
                self.shown,
                seed,
                "--actor=expert",
                f"--actor_noise={_ACTOR_NOISE}",
                f"--actor_speed={self.speed}",
            )
        said = ""
        for _ in range(self.rounds):
            said = measured_robot.run(
                "learn",
                self.home,
                self.keys,
                *("--once", "--loop=medium", "--learning_load=1000"),
                "--learner_threads=0",
            )
        return said

    def _drive(
        self, robots: Sequence[str], episodes: int, seed: int, *actor: str
    ) -> int:
        """Drives some episodes of each task; returns the seed of the next."""
        for robot in robots if episodes else ():
            measured_robot.run(
                "control",
                self.home,
                self.keys,
                f"--robot={robot}",
                f"--episodes={episodes}",
                f"--seed={seed}",
                "--pace=simulated",
                *actor,
            )
            seed += episodes
        return seed

    @contextlib.contextmanager
    def _record(self) -> Iterator[None]:
        """The recorder beside what happens within; it ends with all of it on disk."""
        module = "edge.processes.record"
        with subprocess.Popen(
            [sys.executable, "-P", "-m", module, f"--home={self.home}"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as running:
            try:
                yield
                running.send_signal(signal.SIGTERM)
                said = running.communicate(timeout=_PATIENCE_S)[1]
            finally:
                running.kill()
        if running.returncode:
            lines = said.strip().splitlines() or [f"exit code {running.returncode}"]
            raise ProgramFailedError(module, "to end well", lines[-1], "see its flags")
