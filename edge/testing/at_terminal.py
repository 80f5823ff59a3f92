"""A program at a pseudo terminal, whose keys a test presses; for its tests."""

import contextlib
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from typing import Any

from edge.testing import processes
from edge.testing.fork import Fork

_PATIENCE_S = 60.0


class AtTerminal:
    """A running program, its terminal, and all that it has written there."""

    def __init__(self, command: Sequence[str], *, forked: bool = False) -> None:
        """Starts the program in a session of its own, with the terminal as its own.

        Args:
            command: its command line.
            forked: `command` is a module and its arguments. They run in a fork of the
                test, which takes a tenth of the time of a new process.
        """
        self._keys, self._terminal = pty.openpty()
        self.before: list[Any] = self.settings()
        start = self._fork if forked else self._start
        self.process = start(*command)
        self.said = ""

    def _start(self, *command: str) -> subprocess.Popen[bytes] | Fork:
        return subprocess.Popen(
            command,
            stdin=self._terminal,
            stdout=self._terminal,
            stderr=self._terminal,
            env=processes.environment(),
            start_new_session=True,
        )

    def _fork(self, *command: str) -> Fork:
        ends = self._terminal
        return Fork(*command, into=ends, keys=ends, before=os.setsid)

    def settings(self) -> list[Any]:
        """The settings of the terminal, which a program should put back."""
        return termios.tcgetattr(self._terminal)

    def press(self, keys: bytes) -> None:
        """Presses keys, one after the other without a pause."""
        os.write(self._keys, keys)

    def hold(self, key: bytes, seconds: float) -> None:
        """Holds a key down, which a terminal repeats 30 times a second."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self.press(key)
            time.sleep(1 / 30)

    def wait_for(self, text: str, count: int = 1) -> None:
        """Waits until the program has written `text` so often."""
        end_s = time.monotonic() + _PATIENCE_S
        while self.said.count(text) < count:
            if not self.listen(0.1) and self.process.poll() is not None:
                raise AssertionError(f"ended without {text!r}: {self.said}")
            if time.monotonic() > end_s:
                raise AssertionError(f"no {text!r}: {self.said}")

    def unplug(self) -> None:
        """Closes the terminal, as a connection that is lost does."""
        os.close(self._keys)
        self._keys = -1

    def listen_for(self, seconds: float) -> None:
        """Lets time pass, and reads what is written meanwhile."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self.listen(left_s)

    def finish(self) -> int:
        """Waits for the end of the program; returns its exit code."""
        end_s = time.monotonic() + _PATIENCE_S
        while (code := self.process.poll()) is None:
            assert time.monotonic() < end_s, self.said
            self.listen(0.05)
        while self.listen(0.0):
            pass
        return code

    def listen(self, wait_s: float) -> bool:
        """Reads what was written, or waits for that; False if it is nothing."""
        if self._keys < 0:
            time.sleep(wait_s)
            return False
        ready, _, _ = select.select([self._keys], [], [], wait_s)
        if not ready:
            return False
        try:
            raw = os.read(self._keys, 65536)
        except OSError:
            return False
        self.said += raw.decode(errors="replace").replace("\r\n", "\n")
        return bool(raw)

    def close(self) -> None:
        """Ends the program, if it has not ended, and closes the terminal."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for descriptor in (self._keys, self._terminal):
            if descriptor >= 0:
                os.close(descriptor)


@contextlib.contextmanager
def start(module: str, *arguments: str) -> Iterator[AtTerminal]:
    """Starts a module of this repository at a terminal, in a fork of the test."""
    running = AtTerminal([module, *arguments], forked=True)
    with contextlib.closing(running):
        yield running
