"""Starts a learner, listens to it, and stops it within 200 ms."""

import contextlib
import ctypes
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Final

from base import durable_file, plain_file
from base.errors import ContinuonError
from edge.loops import learning_job
from edge.loops.learning_job import Compiled, Failed, Job, Judged, Report

MODULE: Final = "edge.loops.learner"
LOG: Final = "learner.log"
GRACE_S: Final = 0.1
"""How long a learner that has said its last word may take to end before it is killed.
"""
_LOG_LIMIT_BYTES: Final = 1 << 20
_PROCESS_MRELEASE: Final = 448
"""Number of this system call on every processor; Linux 5.15 and later have it."""
_ONE_THREAD: Final = "--xla_cpu_multi_thread_eigen=false"


class LearnerProcess:
    """One child process and what it has said.

    Attributes:
        started_s: when it was started, in `time.monotonic`.
        judged: what it said last before it ended a round well; None until then.
        failure: why it ended otherwise; None if it did not.
    """

    def __init__(self, job: Job, run_folder: Path) -> None:
        """Starts it.

        Args:
            job: what it is to do.
            run_folder: existing folder for what it says on stderr.

        Raises:
            DiskError, OSError: it cannot be started.
        """
        self.started_s = time.monotonic()
        self.judged: Judged | None = None
        self.failure: str | None = None
        self._log = run_folder / LOG
        self._rest = b""
        self._compiled = False
        durable_file.make_way(self._log)
        with self._log.open("wb") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(job.threads),
                start_new_session=True,  # Ctrl-C is for the parent
            )
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._output, selectors.EVENT_READ)
        with contextlib.suppress(BrokenPipeError):
            self._input.write(job.encode())
            self._input.flush()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._child.returncode is None

    def poll(self, timeout_s: float) -> list[Report]:
        """What it has said since; waits at most `timeout_s` for a first word.

        After its end `running` is False. Then `failure` is set, or `judged` after a
        round, or neither after a function was compiled.
        """
        if not self.running or not self._selector.select(timeout_s):
            return []
        content = os.read(self._output.fileno(), learning_job.LIMIT_BYTES)
        if not content:
            self._finish()
            return []
        *lines, self._rest = (self._rest + content).split(b"\n")
        reports = []
        for line in lines:
            try:
                reports.append(learning_job.parse_report(line))
            except ContinuonError as e:
                reports.append(Failed(str(e)))
        for report in reports:
            if isinstance(report, Failed):
                self.failure = report.reason
            elif isinstance(report, Judged):
                self.judged = report
            elif isinstance(report, Compiled):
                self._compiled = True
        return reports

    def stop(self) -> float:
        """Ends it, whatever it does; returns how long that took, in seconds."""
        begin_s = time.monotonic()
        # It writes nothing that counts, and at its priority it might be long in hearing
        # that it should end by itself.
        self._child.kill()
        _lift(self.pid)
        _free_memory(self.pid)
        self._child.wait()
        self._close_input()
        self._close()
        self.judged = None
        self.failure = self.failure or "it was stopped"
        return time.monotonic() - begin_s

    def _finish(self) -> None:
        """Waits for the end of a child that has closed its output."""
        self._close_input()
        try:
            code = self._child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            code = self._child.wait()
        self._close()
        ended_well = self._compiled or self.judged is not None
        if not ended_well and self.failure is None:
            self.failure = f"it ended with code {code}: {self._last_words()}"
        if self.failure is not None:
            self.judged = None

    def _close(self) -> None:
        self._selector.close()
        self._output.close()

    def _close_input(self) -> None:
        with contextlib.suppress(OSError):
            self._input.close()

    def _last_words(self) -> str:
        with contextlib.suppress(OSError, ContinuonError):
            raw = plain_file.read(self._log, _LOG_LIMIT_BYTES)
            lines = raw.decode(errors="replace").strip().splitlines()
            if lines:
                return lines[-1]
        return "it said nothing"

    @property
    def _input(self) -> IO[bytes]:
        assert self._child.stdin is not None  # it was asked for
        return self._child.stdin

    @property
    def _output(self) -> IO[bytes]:
        assert self._child.stdout is not None  # it was asked for
        return self._child.stdout


def _lift(pid: int) -> None:
    """Lets a process die at ordinary priority, where the system allows that.

    At its own it would wait for the processor to do so, for up to a second on a machine
    with ten times the work that it can do.
    """
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, int(thread.name), 0)


def _free_memory(pid: int) -> None:
    """Frees the memory of a killed process at the priority of this one.

    That is most of what a process does in order to die, and needs no right of its own.
    """
    with contextlib.suppress(OSError, AttributeError):
        process = os.pidfd_open(pid)
        try:
            # Whatever it answers, the process frees what is left by itself.
            ctypes.CDLL(None).syscall(_PROCESS_MRELEASE, process, 0)
        finally:
            os.close(process)


def _environment(threads: int) -> dict[str, str]:
    flags = os.environ.get("XLA_FLAGS", "")
    if threads == 1:
        flags = f"{flags} {_ONE_THREAD}".strip()
    return {
        "JAX_PLATFORMS": "cpu",  # a graphics card is for those who drive
        **os.environ,
        # What jax took out of its own cache has no code that could be kept: it loads,
        # and its first call finds no function.
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        "PYTHONPATH": os.pathsep.join(sys.path),
        **({"XLA_FLAGS": flags} if flags else {}),
    }
