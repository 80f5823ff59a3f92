"""The programs of a robot: control, and those that work beside it.

The recorder takes each step from the ring. The updater asks a channel on this machine
every second and verifies what it says. The learner begins its next round when one has
ended, as by hand (`--once`) and with budgets that never end: by itself it would wait
until the robot rests.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from base.errors import ContinuonError
from edge.episodes import step_account
from edge.episodes.step_account import Account
from edge.ota.state_folder import StateFolder
from edge.processes.children import Family, Program
from edge.processes.home import Home
from edge.processes.mailbox import Mailbox
from edge.processes.process import SUPERVISOR
from edge.testing.no_budgets import NO_BUDGETS
from edge.testing.tiny_package import Publisher
from tests.benchmarks import process_usage

_NAME: Final = "--robot_id=benchmark"
Sizes = tuple[int, int]
_FIRST_PACKAGE_S: Final = 120.0
_STOP_S: Final = 10.0
_TICK_S: Final = 0.05


class Programs:
    """What runs beside control on one robot.

    Attributes:
        home: folder of the robot.
        lines: what the programs wrote.
        rounds: of the learner that have ended.
        status: what control said of itself last.
        drove: each package and delta that control said it drives with, in turn.
    """

    def __init__(self, home: Home, robot: str, publisher: Publisher) -> None:
        """Starts nothing yet.

        Args:
            home: folder of the robot.
            robot: robot string that packages must fit.
            publisher: whose channel the updater follows.
        """
        self.home = home
        self.lines: list[str] = []
        self.rounds = 0
        self.status: Mapping[str, object] = {}
        self.drove: list[tuple[object, object]] = []
        self._keys = (
            f"--keyring={publisher.keyring()}",
            "--allow_development_keys",
        )
        self._robot = robot
        self._own = (f"--home={home.root}", _NAME)
        self._family = Family(
            (
                Program("record", "edge.processes.record", self._own, 30.0),
                Program(
                    "update",
                    "edge.processes.update",
                    (
                        *self._own,
                        *self._keys,
                        f"--robot={robot}",
                        f"--channel={publisher.channel_uri}",
                        "--update_period_s=1",
                        "--update_jitter_s=0",
                    ),
                    5.0,
                ),
            )
        )
        self._mailbox = Mailbox(home.root, SUPERVISOR)
        self._learner: subprocess.Popen[str] | None = None
        self._ended_rounds_s = 0.0  # processor time
        self._round_s = 0.0

    @property
    def active(self) -> str:
        """Digest of the package that is installed; "" for none."""
        installed = StateFolder(self.home.packages).read_installed()
        return "" if installed is None else installed.digest

    def await_package(self) -> None:
        """Waits until the updater has installed one.

        Raises:
            ContinuonError: it has not; the text says what the programs wrote.
        """
        until_s = time.monotonic() + _FIRST_PACKAGE_S
        while not self.active:
            if time.monotonic() > until_s:
                raise ContinuonError(
                    self.home.packages,
                    f"a package within {_FIRST_PACKAGE_S:g} s",
                    " | ".join(self.lines) or "none",
                )
            self._look_after()

    def drive(
        self, episodes: int, max_steps: int, summary: Path, more: Sequence[str] = ()
    ) -> subprocess.Popen[str]:
        """Starts control, which drives so many episodes and ends.

        Args:
            episodes: how many.
            max_steps: of each.
            summary: file for its summary; see `release/run_summary.py`.
            more: flags of control.
        """
        return _start(
            "control",
            *(*self._own[:1], f"--robot={self._robot}", *self._keys),
            *(f"--episodes={episodes}", f"--max_steps={max_steps}"),
            f"--summary_json={summary}",
            *more,
            says=subprocess.PIPE,
        )

    def tick(self) -> None:
        """Looks after them, hears what control says, and waits a moment."""
        self._tend_learner()
        self._look_after()

    def _look_after(self) -> None:
        self.lines += self._family.tick(time.monotonic())
        for message in self._mailbox.receive():
            if message.sender == "control" and message.kind == "status":
                self.status = message.fields
                drives = self.status.get("package"), self.status.get("delta")
                if drives[0] is not None and drives not in self.drove[-1:]:
                    self.drove.append(drives)
        time.sleep(_TICK_S)

    def _tend_learner(self) -> None:
        """Begins a round when none runs, and counts what each uses."""
        learner = self._learner
        if learner is not None and learner.poll() is None:
            self._round_s = process_usage.processor_s(learner.pid)
            return
        if learner is not None:
            self.rounds += 1
            self._ended_rounds_s += self._round_s
            self._round_s = 0.0
        with (self.home.run / "learner.log").open("a") as says:
            self._learner = _start(
                "learn", "--once", *self._own, *self._keys, *NO_BUDGETS, says=says
            )

    @property
    def steps(self) -> int:
        """Steps of control's episodes that have ended."""
        steps = self.status.get("steps", 0)
        return steps if isinstance(steps, int) else 0

    def read_sizes(self, driving: subprocess.Popen[str]) -> Mapping[str, Sizes]:
        """Resident memory in KB and open files of control and what runs on beside it.

        Raises:
            OSError: control has ended.
        """
        found = {"control": process_usage.read_sizes(driving.pid)}
        for child in self._family.children:
            if child.is_running and child.pid is not None:
                with contextlib.suppress(OSError):
                    found[child.program.name] = process_usage.read_sizes(child.pid)
        return found

    def read_processor_s(self) -> dict[str, float]:
        """Processor time of each, with all that it started, in seconds."""
        return {
            **{
                child.program.name: process_usage.processor_s(child.pid)
                for child in self._family.children
                if child.pid is not None
            },
            "learn": self._ended_rounds_s + self._round_s,
        }

    @property
    def deaths(self) -> int:
        """How often one of them had to be started again."""
        return sum(max(0, child.starts - 1) for child in self._family.children)

    def stop(self) -> Account:
        """Ends them; returns what became of every step that was driven."""
        if self._learner is not None:
            self._learner.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._learner.wait(_STOP_S)
            self._learner.kill()
            self._learner.wait()
        self.lines += self._family.stop(first="record")
        self._mailbox.close()
        return step_account.read_account(self.home.private)


def _start(program: str, *flags: str, says: int | IO[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"edge.processes.{program}", *flags],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=says,
        text=True,
    )


@contextlib.contextmanager
def run(home: Home, robot: str, publisher: Publisher) -> Iterator[Programs]:
    """Runs them while the block runs."""
    programs = Programs(home, robot, publisher)
    try:
        yield programs
    finally:
        programs.stop()
