"""Hears the operator's page in a program that is not one of a living robot's processes.

//edge:record, //edge:run and //edge:trials have no folder in which processes meet. With
--actor_page they stand in the place of control in that of an //edge:page which runs
beside them:

    ./bazelw run //edge:page -- --home=DIR
    ./bazelw run //edge:record -- --actor=page --actor_page=DIR ...

They hear who drives there and the stop button, and tell what they do.
"""

import os
import time
from pathlib import Path
from typing import Final

from edge.actors.told_moves import HeardMoves, Told
from edge.errors import MailboxError
from edge.processes.mailbox import Mailbox, take_name
from edge.processes.process import PAGE, STATUS_PERIOD_S
from edge.robots.robot import RobotSpec

_CONTROL: Final = "control"


class PageMoves:
    """A `MoveSource` with a mailbox of its own."""

    def __init__(self, home: Path, robot: str, spec: RobotSpec) -> None:
        """Takes the place of control in a folder.

        Args:
            home: the folder of the page.
            robot: the robot string.
            spec: the robot's properties.

        Raises:
            AlreadyRunningError: a robot lives in that folder.
            MailboxError: it cannot be written to.
        """
        self._heard = HeardMoves()
        self._told = {"robot": robot, "task": spec.task, "axes": spec.action_size}
        self._shown_s = -STATUS_PERIOD_S
        self._lock = take_name(
            home,
            _CONTROL,
            "--actor_page to name a folder of its own",
            "that of a robot that runs",
            "let the page act there: //edge:robot -- --actor=page",
        )
        try:
            self._mailbox = Mailbox(home, _CONTROL)
        except MailboxError:
            os.close(self._lock)
            raise

    def read(self, wait_s: float = 0.0) -> list[Told]:
        """See `MoveSource.read`."""
        now_s = time.monotonic()
        if now_s - self._shown_s >= STATUS_PERIOD_S:
            self._shown_s = now_s
            doing = "waits until somebody takes over" if wait_s else "drives"
            self._mailbox.send(PAGE, "status", {"doing": doing, **self._told})
        if wait_s:
            self._mailbox.wait(min(wait_s, STATUS_PERIOD_S))
        for message in self._mailbox.receive():
            if message.kind == "acts":
                self._heard.hear(message.fields, time.monotonic())
            elif message.kind == "stop_key":
                self._heard.stop(time.monotonic())
        return self._heard.take(time.monotonic())

    def close(self) -> None:
        """See `MoveSource.close`."""
        self._mailbox.close()
        os.close(self._lock)
