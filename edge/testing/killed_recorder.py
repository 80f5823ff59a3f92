"""The program that records, which a test kills and starts again.

Whoever imports this has what the program needs: each start is a fork, which takes
milliseconds.
"""

import os
import signal
from pathlib import Path
from typing import Final

from base.testing import command
from edge import simulated_or_real  # noqa: F401 - heavy, and each recorder is a fork
from edge.episodes import ring_recording  # noqa: F401 - likewise
from edge.episodes.step_ring import StepSender
from edge.processes import home, process  # noqa: F401 - likewise
from edge.robots import machine_name  # noqa: F401 - likewise
from edge.testing import process_tree

ROBOT_ID: Final = "point-1"


class Recorder:
    """The program `record`, and its home."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.home = home.Home(folder / "home")
        self.home.run.mkdir(parents=True)
        self._flags = flags
        self.log = os.open(folder / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self.pid = self.start()

    def start(self) -> int:
        return command.start(
            "edge.processes.record",
            f"--home={self.home.root}",
            f"--robot_id={ROBOT_ID}",
            *self._flags,
            out=self.log,
            err=self.log,
        )

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.pid = self.start()

    def end(self, sender: StepSender) -> int:
        """Asks it to end once it has begun to read, and returns its exit code."""
        process_tree.wait_until(lambda: not sender.filled, self.said)
        os.kill(self.pid, signal.SIGTERM)
        codes: list[int] = []

        def look() -> bool:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            codes.extend([os.waitstatus_to_exitcode(status)] if pid else [])
            return bool(codes)

        process_tree.wait_until(look, self.said)
        self.pid = 0
        return codes[0]

    def said(self) -> str:
        return os.pread(self.log, 1 << 20, 0).decode()

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.log)
