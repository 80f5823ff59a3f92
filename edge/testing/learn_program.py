"""The process `learn` of a robot whose other programs are a test."""

import signal
import time
from collections.abc import Callable
from typing import Any, Final

from edge.processes.mailbox import Mailbox
from edge.testing import process_tree, processes
from edge.testing.learning_home import LearningHome
from edge.testing.no_budgets import NEVER_TOO_BUSY
from edge.testing.tiny_learning import ROBOT_ID

MODULE: Final = "edge.processes.learn"
# Another program of this machine may keep the cores busy while the tests run.
FLAGS: Final = (
    f"--robot_id={ROBOT_ID}",
    *NEVER_TOO_BUSY,
)

Fields = dict[str, Any]


class LearnProgram:
    """A `learn` that runs, and the supervisor that it reports to."""

    def __init__(self, home: LearningHome, prelude: str = "") -> None:
        """Starts it; `prelude` is that of `processes.command`."""
        self.supervisor = Mailbox(home.root, "robot")
        self.home = home
        self.process = processes.start(
            MODULE, f"--home={home.root}", *FLAGS, prelude=prelude
        )
        self.status: Fields = {}

    def tell(self, mode: str, **fields: float) -> None:
        assert self.supervisor.send("learn", "mode", {"mode": mode, **fields})

    def wait_for(self, wanted: Callable[[Fields], object]) -> Fields:
        """The next status that is wanted."""
        end_s = time.monotonic() + process_tree.LONGEST_S
        while time.monotonic() < end_s:
            self.supervisor.wait(1.0)
            for message in self.supervisor.receive():
                assert message.kind == "status"
                self.status = dict(message.fields)
                if wanted(self.status):
                    return self.status
        raise AssertionError(f"last: {self.status}, {self.process.poll()}")

    def list_learners(self) -> list[int]:
        """Ids of the learners that it has started and that run."""
        below = process_tree.list_descendants(self.process.pid)
        return [one.pid for one in below if "edge.loops.learner" in one.words]

    def close(self) -> str:
        """Ends it as a supervisor does; returns what it has said."""
        self.process.send_signal(signal.SIGTERM)
        said, _ = self.process.communicate(timeout=process_tree.LONGEST_S)
        self.supervisor.close()
        assert self.process.returncode == 0
        return said

    def kill(self) -> None:
        """Ends it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        self.supervisor.close()
