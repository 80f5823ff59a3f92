"""A program in a fork of the test, which takes a tenth of the time of a new process."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from base.testing import command
from edge.testing import processes

_LOOK_S = 0.005  # how often whether it has ended


class Fork:
    """A running program, by the names that `subprocess.Popen` has for it.

    Like a new process it has no file of the test's but its stdin, stdout and stderr.

    Attributes:
        pid: id of its process.
        returncode: its exit code, or minus the signal; None while it runs.
        stdout: all that it says, unless that goes elsewhere.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        into: int | None = None,
        keys: int | None = None,
        before: Callable[[], object] = lambda: None,
    ) -> None:
        """Starts a module; see `base.testing.command.start`.

        Args:
            module: its name.
            *arguments: its arguments.
            into: descriptor that becomes its stdout and stderr; a pipe if None.
            keys: descriptor that becomes its stdin; nothing to read if None.
            before: called in the child first.
        """
        self.returncode: int | None = None
        self.stdout: TextIO | None = None
        written = into
        if written is None:
            read, written = os.pipe()
            self.stdout = os.fdopen(read)

        def begin() -> None:
            _let_go_of_files(keys)
            os.environ.update(processes.environment())
            before()

        self.pid = command.start(
            module, *arguments, out=written, err=written, before=begin
        )
        if into is None:
            os.close(written)

    def poll(self) -> int | None:
        """Its exit code if it has ended; None while it runs."""
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = command.LONGEST_S) -> int:
        """Waits until it has ended; its exit code."""
        end_s = time.monotonic() + timeout
        while (code := self.poll()) is None:
            assert time.monotonic() < end_s, f"{self.pid} has not ended"
            time.sleep(_LOOK_S)
        return code

    def communicate(self, timeout: float = command.LONGEST_S) -> tuple[str, str]:
        """Waits until it has ended; what it said and was not yet read, and nothing."""
        assert self.stdout is not None
        killer = threading.Timer(timeout, self.kill)
        killer.start()
        with self.stdout:
            said = self.stdout.read()
        code = self.wait()
        assert killer.is_alive() or code != -signal.SIGKILL, f"hangs: {said}"
        killer.cancel()
        return said, ""

    def send_signal(self, number: int) -> None:
        """Sends it a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills it, if it has not ended."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Asks it to end, if it has not."""
        self.send_signal(signal.SIGTERM)


def start(
    module: str,
    *arguments: str,
    log: Path | None = None,
    before: Callable[[], object] = lambda: None,
) -> Fork:
    """Starts a module that says all at the end of the file `log`, or in a pipe."""
    if log is None:
        return Fork(module, *arguments, before=before)
    with log.open("ab") as said:
        return Fork(module, *arguments, into=said.fileno(), before=before)


def _let_go_of_files(keys: int | None) -> None:
    """Leads every open file but stdout and stderr nowhere, and stdin to `keys`.

    None is closed: an object of the test's that closes it later, when Python throws it
    away, would close whatever the program has opened under that number since.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere if keys is None else keys, 0)
    sys.stdin = os.fdopen(0, closefd=False)
    for one in list(Path("/proc/self/fd").iterdir()):
        number = int(one.name)
        if number > 2 and number != nowhere:
            os.dup2(nowhere, number, inheritable=False)
