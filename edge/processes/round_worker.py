"""Runs the rounds of the update service in child processes, one at a time.

The service itself stays small and answers: it counts episodes and says that it lives
while a child downloads for minutes or tries a package that may crash. A child that is
killed leaves what a power cut leaves, and so does one that does not end, which is
killed. It dies with the service, whose lock it holds.
"""

import contextlib
import json
import os
import signal
import time
import warnings
from collections.abc import Callable
from typing import Final

from edge.ota.service import Round
from edge.stop_signal import end_with_parent

LONGEST_S: Final = 6 * 3600.0
"""A store that neither answers nor fails would keep the service from every later round,
and so a bad package from falling back. In this time 1 Mbit/s brings 2.7 GB."""
_NICE: Final = 10
"""A round yields to control, which shares its cores with it."""
_LIMIT_BYTES: Final = 16 * 1024  # of what a round says; a pipe holds four times as much
_CHUNK_BYTES: Final = 64 * 1024


class RoundWorker:
    """Begins a round, tells when it has ended, and ends it early if need be."""

    def __init__(self, longest_s: float = LONGEST_S) -> None:
        self._longest_s = longest_s
        self._child = 0
        self._answer = -1
        self._started_s = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether a round runs, or its result was not taken yet."""
        return self._child != 0

    def start(self, act: Callable[[], Round]) -> None:
        """Begins a round; none may be running.

        Raises:
            OSError: the system makes no process.
        """
        service = os.getpid()
        answer, question = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        with warnings.catch_warnings():
            # Threads that others started do not run in the child, and it needs none.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            if not end_with_parent(service, signal.SIGKILL):
                os._exit(1)
            _run(act, question)
        os.close(question)
        self._child, self._answer = child, answer
        self._started_s = time.monotonic()

    def take(self) -> Round | None:
        """Returns what the round did once it has ended; None before."""
        if not self._child:
            return None
        ended, status = os.waitpid(self._child, os.WNOHANG)
        if not ended:
            if time.monotonic() - self._started_s < self._longest_s:
                return None
            self.stop()
            return Round(
                (
                    f"the round did not end within {self._longest_s:g} s and was "
                    "stopped; the next one resumes from there",
                ),
                failed=True,
            )
        raw = b""
        # What the child started may hold the pipe open for a moment longer.
        with contextlib.suppress(BlockingIOError):
            raw = os.read(self._answer, _CHUNK_BYTES)
        self._forget()
        with contextlib.suppress(ValueError, KeyError):
            value = json.loads(raw)
            return Round(tuple(value["lines"]), bool(value["failed"]))
        how = f"exit code {os.waitstatus_to_exitcode(status)}"
        if os.WIFSIGNALED(status):
            how = signal.Signals(os.WTERMSIG(status)).name
        return Round(
            (f"the round ended with {how}; the next one resumes from there",),
            failed=True,
        )

    def stop(self) -> None:
        """Ends a round that runs, at once."""
        if self._child:
            os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)
            self._forget()

    def _forget(self) -> None:
        os.close(self._answer)
        self._child, self._answer = 0, -1


def _run(act: Callable[[], Round], question: int) -> None:
    """Is the child: does the round, writes what it did, and ends."""
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.nice(_NICE)
        done = act()
        lines = [line[:1000] for line in done.lines[-12:]]
        raw = json.dumps({"lines": lines, "failed": done.failed}).encode()
        os.write(question, raw if len(raw) <= _LIMIT_BYTES else raw[:0])
        code = 0
    finally:
        os._exit(code)
