"""The programs of one robot as children of its supervisor.

A child that dies is started again, after a pause that grows from death to death, and
its reason is reported: the signal, or its last line. One that was used wrongly (exit
code 2) stays ended, since a restart corrects no flag.

Each child is the leader of a process group, so Ctrl-C reaches the supervisor alone, and
what a child leaves behind is ended with it. A child gets SIGTERM when its supervisor
dies, however that dies (`process.py`). What it writes comes through a pipe that never
blocks it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import util
from typing import Final

from edge.processes.process import SUPERVISOR_PID

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
LIVED_S: Final = 60.0
"""A child that lived this long was well; its deaths are counted from 0 again."""
GRACE_S: Final = 1.0
"""Time that what a dead child leaves has to end by itself: a watchdog that holds the
robot still outlives the control process that it watches."""
_KEPT_LINES: Final = 50
_PART_BYTES: Final = 64 << 10
"""What is read of one child's pipe at a time, which is all that a pipe holds: one that
writes without end keeps nobody from looking after the others."""
_EXIT_USAGE: Final = 2


@dataclass(frozen=True)
class Program:
    """A program of the table.

    Attributes:
        name: of its process.
        module: that Python runs.
        arguments: its flags.
        stop_after_s: time that it has to end by itself, in seconds.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    stop_after_s: float

    def is_here(self) -> bool:
        """Whether this runtime has the program."""
        return util.find_spec(self.module) is not None


@dataclass(frozen=True)
class Restart:
    """What follows a death.

    Attributes:
        pause_s: until the child is started again; None for never.
        deaths: deaths in a row, this one among them.
    """

    pause_s: float | None
    deaths: int


def decide_restart(deaths: int, lived_s: float, code: int) -> Restart:
    """Decides what follows when a child has ended that should not have.

    Args:
        deaths: deaths in a row before this one.
        lived_s: how long it lived, in seconds.
        code: its exit code; negative for a signal.
    """
    if code == _EXIT_USAGE:
        return Restart(None, deaths + 1)
    if lived_s >= LIVED_S:
        deaths = 0
    # 2.0 ** 10 is beyond the longest pause already.
    return Restart(
        min(FIRST_PAUSE_S * 2.0 ** min(deaths, 10), LONGEST_PAUSE_S), deaths + 1
    )


def describe_end(code: int, last_line: str) -> str:
    """Says why a child ended: the signal, or the exit code and its last line."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
        return f"killed by signal {-code}"
    return f"ended with {code}" + (f": {last_line}" if last_line else "")


class Child:
    """One program, running, dead or given up."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self.reason = ""
        self.given_up: int | None = None  # the exit code
        self.starts = 0
        self._running: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._partial = b""
        self._started_s = 0.0
        self._deaths = 0
        self._died_s: float | None = None
        self._next_s: float | None = 0.0
        self._stop_by_s: float | None = None

    @property
    def is_running(self) -> bool:
        """Whether the process is there and has not died."""
        return self._running is not None and self._died_s is None

    @property
    def is_gone(self) -> bool:
        """Whether nothing of it is left."""
        return self._running is None

    @property
    def pid(self) -> int | None:
        """Id of the process; None if there is none."""
        return None if self._running is None else self._running.pid

    def pause_left_s(self, now_s: float) -> float | None:
        """Time until it is started again; None if it is not waiting for that."""
        if self._next_s is None or self._running is not None or not self.starts:
            return None
        return max(0.0, self._next_s - now_s)

    def tick(self, now_s: float) -> list[str]:
        """Starts, reaps and restarts; returns the lines that were written meanwhile."""
        new = self._read()
        if self._running is None:
            if self._next_s is not None and now_s >= self._next_s:
                self._start(now_s)
        elif self._died_s is None:
            if (code := self._peek_exit()) is not None:
                self._died_s = now_s
                if code == 0:  # in good order: nothing of it is left
                    new += self._reap(now_s)
            elif self._stop_by_s is not None and now_s >= self._stop_by_s:
                self._signal(signal.SIGKILL)
        elif now_s - self._died_s >= GRACE_S:
            new += self._reap(now_s)
        return new

    def stop(self, now_s: float) -> None:
        """Asks it to end, and never starts it again; safe to call twice."""
        self._next_s = None
        if self._stop_by_s is None:
            self._stop_by_s = now_s + self.program.stop_after_s
            if self.is_running and self._running is not None:
                # Not `send_signal`, which reaps a child that has just died.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._running.pid, signal.SIGTERM)

    def _start(self, now_s: float) -> None:
        self._pipe, write = os.pipe()
        os.set_blocking(self._pipe, False)
        os.set_blocking(write, False)  # a child does not wait for a slow terminal
        environment = {
            **os.environ,
            SUPERVISOR_PID: str(os.getpid()),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        try:
            self._running = subprocess.Popen(
                [sys.executable, "-m", self.program.module, *self.program.arguments],
                stdin=subprocess.DEVNULL,
                stdout=write,
                stderr=write,
                env=environment,
                process_group=0,
            )
        except OSError as e:
            os.close(self._pipe)
            self._pipe = -1
            restart = decide_restart(self._deaths, 0.0, 1)
            self._deaths, self._next_s = restart.deaths, now_s + (restart.pause_s or 0)
            self.reason = f"does not start: {e.strerror}"
            return
        finally:
            os.close(write)
        self.starts += 1
        self._started_s = now_s
        self._next_s = None

    def _peek_exit(self) -> int | None:
        """The exit code; the process stays a zombie, so nobody else gets its id."""
        assert self._running is not None
        found = os.waitid(
            os.P_PID, self._running.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT
        )
        if found is None:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def _reap(self, now_s: float) -> list[str]:
        assert self._running is not None
        self._signal(signal.SIGKILL)  # whatever it left in its group
        code = self._running.wait()
        new = self._read()
        os.close(self._pipe)
        self._running, self._pipe, self._died_s = None, -1, None
        if self._stop_by_s is not None:
            return new
        self.reason = describe_end(code, self.lines[-1] if self.lines else "")
        restart = decide_restart(self._deaths, now_s - self._started_s, code)
        self._deaths = restart.deaths
        if restart.pause_s is None:
            self.given_up = code
        else:
            self._next_s = now_s + restart.pause_s
        return new

    def _signal(self, number: signal.Signals) -> None:
        assert self._running is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._running.pid, number)

    def _read(self) -> list[str]:
        if self._pipe < 0:
            return []
        with contextlib.suppress(BlockingIOError):
            self._partial += os.read(self._pipe, _PART_BYTES)
        *whole, self._partial = self._partial.split(b"\n")
        self._partial = self._partial[-_PART_BYTES:]  # a line that does not end
        lines = [line.decode(errors="replace").rstrip() for line in whole]
        self.lines.extend(line for line in lines if line)
        return [line for line in lines if line]


class Family:
    """All children of one robot, in the order in which they are stopped."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self.children = [Child(one) for one in programs if one.is_here()]
        self.absent = [one.name for one in programs if not one.is_here()]

    def tick(self, now_s: float) -> list[str]:
        """Looks after every child; returns what they wrote."""
        return [line for child in self.children for line in child.tick(now_s)]

    def stop(self, first: str) -> Iterator[str]:
        """Ends all: the child named `first` before the others begin to end.

        Yields:
            What they write meanwhile.
        """
        waves = (
            [child for child in self.children if child.program.name == first],
            self.children,
        )
        for wave in waves:
            for child in wave:
                child.stop(time.monotonic())
            while not all(child.is_gone for child in wave):
                yield from self.tick(time.monotonic())
                time.sleep(0.005)
