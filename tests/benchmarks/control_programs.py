"""The programs that a robot runs beside control, as its supervisor starts them.

The recorder takes each step from the ring. The learner runs nights, one after the other
as episodes come, with budgets that never end. The updater asks a channel on this
machine every second and verifies what it says.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from base.errors import ContinuonError
from edge.episodes import step_account
from edge.episodes.step_account import Account
from edge.ota.state_folder import StateFolder
from edge.processes.children import Family, Program
from edge.processes.home import Home
from tests.benchmarks import process_usage

_NAME: Final = "--robot_id=benchmark"
_ENDLESS: Final = 1e9
_BUDGETS: Final = (
    f"--learning_wall_s_per_night={_ENDLESS}",
    f"--learning_processor_s_per_day={_ENDLESS}",
    f"--learning_disk_mb_per_day={_ENDLESS}",
    "--learning_nights_per_day=1000000",
    f"--learning_load={_ENDLESS}",
)
_FIRST_PACKAGE_S: Final = 120.0
_TICK_S: Final = 0.05


class Programs:
    """The recorder, the learner and the updater of one robot, while they run.

    Attributes:
        home: folder of the robot.
        lines: what they wrote.
    """

    def __init__(self, home: Home, robot: str, channel: str, keys: list[str]) -> None:
        """Starts nothing yet.

        Args:
            home: folder of the robot.
            robot: robot string that the channel's package must fit.
            channel: that the updater follows.
            keys: flags of the keys that sign it.
        """
        self.home = home
        self.lines: list[str] = []
        own = (f"--home={home.root}", _NAME)
        self._family = Family(
            (
                Program("record", "edge.processes.record", own, 30.0),
                Program("learn", "edge.processes.learn", (*own, *keys, *_BUDGETS), 5.0),
                Program(
                    "update",
                    "edge.processes.update",
                    (
                        *own,
                        *keys,
                        f"--robot={robot}",
                        f"--channel={channel}",
                        "--update_period_s=1",
                        "--update_jitter_s=0",
                    ),
                    5.0,
                ),
            )
        )

    def tick(self) -> None:
        """Looks after them, and waits a moment."""
        self.lines += self._family.tick(time.monotonic())
        time.sleep(_TICK_S)

    def await_package(self) -> Path:
        """Waits until the updater has installed the package; returns its folder.

        Raises:
            ContinuonError: it has not; the text says what the programs wrote.
        """
        state = StateFolder(self.home.packages)
        until_s = time.monotonic() + _FIRST_PACKAGE_S
        while (installed := state.read_installed()) is None:
            if time.monotonic() > until_s:
                raise ContinuonError(
                    self.home.packages,
                    f"a package within {_FIRST_PACKAGE_S:g} s",
                    " | ".join(self.lines) or "none",
                )
            self.tick()
        return state.package_folder(installed.digest)

    def read_sizes(self) -> dict[str, tuple[int, int]]:
        """Resident memory in KB and open files of each that runs, by its name."""
        found = {}
        for child in self._family.children:
            if child.is_running and child.pid is not None:
                with contextlib.suppress(OSError):
                    found[child.program.name] = (
                        process_usage.resident_kb(child.pid),
                        process_usage.count_files(child.pid),
                    )
        return found

    def read_processor_s(self) -> dict[str, float]:
        """Processor time of each, with all that it started, in seconds."""
        return {
            child.program.name: process_usage.processor_s(child.pid)
            for child in self._family.children
            if child.pid is not None
        }

    @property
    def deaths(self) -> int:
        """How often one of them had to be started again."""
        return sum(max(0, child.starts - 1) for child in self._family.children)

    @property
    def learner_lines(self) -> int:
        """Lines that the learner wrote, one for each round that it ended."""
        return sum(line.startswith("learn: ") for line in self.lines)

    def stop(self) -> Account:
        """Ends them; returns what became of every step that was driven."""
        self.lines += self._family.stop(first="learn")
        return step_account.read_account(self.home.private)


@contextlib.contextmanager
def run(home: Path, robot: str, channel: str, keys: list[str]) -> Iterator[Programs]:
    """Runs them while the block runs."""
    programs = Programs(Home(home), robot, channel, keys)
    try:
        yield programs
    finally:
        programs.stop()
