"""What every process of a robot does beside its work.

    with process.open_process(home, "learn") as me:
        while not me.is_stopped():
            me.show({"doing": "waits for an episode"})
            me.rest(0.2)

It is the only one of its name (`home/run/NAME.lock`), has a mailbox, ends after SIGTERM
or Ctrl-C when its loop next looks, says what it is doing every half second, feeds the
watchdog of systemd while it does, and ends when the supervisor that started it dies.

What lies in `home/run` may be removed at any time, and then nobody hears this process
or knows that it is there: another one of its name could start, and two would command
one robot. So it looks four times a second whether what it made there is still its own,
and ends with an error if it is not. Whoever started it starts it again, and it makes
everything anew.
"""

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from base.errors import printable
from edge.errors import RunFolderError
from edge.processes.mailbox import Mailbox, Message, identify, lock_path, take_name
from edge.stop_signal import StopSignal, end_with_parent

STATUS_PERIOD_S: Final = 0.5
_LOOK_PERIOD_S: Final = 0.25  # less than it takes another process to start
SUPERVISOR: Final = "robot"
"""Name of the process that receives every status."""
PAGE: Final = "page"
"""Name of the process that receives every status too, where there is one."""
SUPERVISOR_PID: Final = "CONTINUON_SUPERVISOR_PID"
"""Environment variable: the process with whose death this one ends."""


class Process:
    """One running process of a robot; `open_process` makes it."""

    def __init__(self, home: Path, name: str, mailbox: Mailbox) -> None:
        self.home = home
        self.name = name
        self.mailbox = mailbox
        self.stop = StopSignal()
        self._shown_s = -STATUS_PERIOD_S
        self._notify = _open_notify()
        self._own = {mailbox.path: mailbox.identity}
        self._looked_s = time.monotonic()
        self._lost: Path | None = None

    @property
    def is_service(self) -> bool:
        """Whether systemd started this process, and starts it again."""
        return self._notify is not None

    def is_stopped(self) -> bool:
        """Whether this process is to end: it was told to, or is lost to the others."""
        return self.stop.is_requested() or self._look() is not None

    def keep(self, path: Path, identity: tuple[int, int]) -> None:
        """Ends this process, too, when a file is removed or replaced.

        Args:
            path: of the file, which this process has opened or made.
            identity: device and inode of the open file.
        """
        self._own[path] = identity

    def check_kept(self) -> None:
        """Raises a RunFolderError if what ended this process was such a loss."""
        if self._lost is not None and not self.stop.is_requested():
            raise RunFolderError(
                self._lost, "to stay while a robot runs", "it was removed or replaced"
            )

    def _look(self) -> Path | None:
        """The file of its own that was lost, looked for from time to time."""
        now_s = time.monotonic()
        if self._lost is None and now_s - self._looked_s >= _LOOK_PERIOD_S:
            self._looked_s = now_s
            for path, identity in self._own.items():
                if identify(path) != identity:
                    self._lost = path
        return self._lost

    def is_status_due(self) -> bool:
        """Whether half a second has passed since the last status."""
        return time.monotonic() - self._shown_s >= STATUS_PERIOD_S

    def show(self, fields: Mapping[str, object]) -> None:
        """Sends a status if one is due; `fields` needs a text `doing`."""
        if self.is_status_due():
            self.show_now(fields)

    def show_now(self, fields: Mapping[str, object]) -> None:
        """Sends a status, and tells systemd that this process lives."""
        self._shown_s = time.monotonic()
        told = {"pid": os.getpid(), **fields}
        self.mailbox.send(SUPERVISOR, "status", told)
        if self.name != PAGE:
            self.mailbox.send(PAGE, "status", told)
        self._tell_systemd(f"WATCHDOG=1\nSTATUS={fields.get('doing', '')}")

    def say_ready(self) -> None:
        """Tells systemd that this process has begun its work."""
        self._tell_systemd("READY=1")

    def receive(self) -> list[Message]:
        """Takes the messages that have come."""
        return self.mailbox.receive()

    def rest(self, timeout_s: float) -> None:
        """Waits for a message, a signal or `timeout_s`, whichever comes first."""
        self.mailbox.wait(timeout_s)

    def say(self, text: str) -> None:
        """Writes a line for the operator to stderr, which is the log.

        A log that nobody reads any more loses the line: no process waits for one.
        """
        line = f"{self.name}: {printable(text)}\n"
        with contextlib.suppress(OSError):
            os.write(sys.stderr.fileno(), line.encode(errors="replace"))

    def _tell_systemd(self, text: str) -> None:
        if self._notify is not None:
            with contextlib.suppress(OSError):
                self._notify.send(text.encode(errors="replace"))


@contextlib.contextmanager
def open_process(home: Path, name: str) -> Iterator[Process]:
    """Makes this process the one of its name, until it ends.

    Call it in the main thread, before the work begins.

    Args:
        home: the robot's folder, made when absent.
        name: of the process, such as `control`.

    Raises:
        AlreadyRunningError: another process has this name.
        MailboxError: `home/run` is something else, or cannot be written.
        RunFolderError: at the end, if it ended because it was lost to the others.
    """
    _end_with_supervisor()
    wanted = f"no other {name} process of this robot"
    descriptor = take_name(home, name, wanted, "one that runs")
    try:
        with Mailbox(home, name) as mailbox:
            me = Process(home, name, mailbox)
            found = os.fstat(descriptor)
            me.keep(lock_path(home, name), (found.st_dev, found.st_ino))
            yield me
            me.check_kept()
    finally:
        os.close(descriptor)


def is_supervised() -> bool:
    """Tells whether a supervisor started this process."""
    return bool(os.environ.get(SUPERVISOR_PID))


def _end_with_supervisor() -> None:
    """Lets the system send SIGTERM when the supervisor dies, however it dies."""
    wanted = os.environ.get(SUPERVISOR_PID, "")
    if not wanted.isdigit():
        return
    if not end_with_parent(int(wanted), signal.SIGTERM):
        raise SystemExit(0)


def _open_notify() -> socket.socket | None:
    """Connects to the socket that systemd names; None where there is none."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    if not address:
        return None
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender.setblocking(False)
    try:
        sender.connect("\0" + address[1:] if address[0] == "@" else address)
    except OSError:
        sender.close()
        return None
    return sender
