"""Holds a robot still when the loop that drives it is late, hangs or is gone.

A policy is native code. Where it hangs it may keep Python's lock, so that no thread and
no signal handler of its process runs; and a process that was killed runs nothing. The
watchdog is therefore a process of its own: a fork of the one that opened the robot,
with the same open port. It holds no policy and takes no orders but two:

    deadline   a number in memory that both see: by then the loop must have fed it again
    token      a counter of the kernel: whoever takes it may speak to the robot

The loop feeds the watchdog when a step begins, takes the token for `Robot.act`, and
gives it back. When the deadline passes, the watchdog takes the token, calls
`Robot.hold`, and keeps the token: the policy may come back, but its action does not
reach the robot. The loop sees that and ends the episode with `StopRule.WATCHDOG`. If it
does not come back for `kill_after_s`, the watchdog kills its process, so that whoever
supervises that starts it again. If the token is out when the deadline passes, the
driver itself hangs: its process is killed first, then the robot is held. If the process
of the loop ends in any other way, the robot is held at once.

Why not a thread, a signal or a message to the supervisor:
`docs/decisions/0014-control-that-keeps-time.md`.
"""

import contextlib
import mmap
import os
import select
import signal
import time
import warnings
from collections.abc import Callable
from typing import Final, Self

from edge.control import realtime
from edge.errors import WatchdogError
from edge.robots.clock import NS_PER_S
from edge.robots.robot import Robot

_LONGEST_HOLD_AFTER_S: Final = 0.25
_SHORTEST_HOLD_AFTER_S: Final = 0.1
_HOLD_AFTER_PERIODS: Final = 4
KILL_AFTER_S: Final = 2.0
"""A step takes milliseconds; one that has taken two seconds will not come back."""
_IDLE_S: Final = 0.02  # longest time until a deadline that was just set is seen
_DEATH_S: Final = 0.5  # for a killed process to be gone; more is a driver in the kernel
_RETURN_S: Final = 1.0  # for the watchdog to give the token back
_SIGNALS: Final = (
    signal.SIGALRM,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGTSTP,
)


def choose_hold_after_s(control_hz: float) -> float:
    """Time after which a robot is held, from when its step was due, in seconds.

    Four periods, but at least 0.1 s, which a busy machine may take without being
    broken, and at most 0.25 s, in which an arm at 1 m/s goes a hand's length.
    """
    wanted_s = _HOLD_AFTER_PERIODS / control_hz
    return min(max(wanted_s, _SHORTEST_HOLD_AFTER_S), _LONGEST_HOLD_AFTER_S)


class Watchdog:
    """The loop's side of the watchdog of one robot; close it before the robot."""

    def __init__(
        self,
        robot: Robot,
        hold_after_s: float | None = None,
        kill_after_s: float = KILL_AFTER_S,
        on_hang: Callable[[], object] | None = None,
    ) -> None:
        """Starts the watchdog's process.

        Args:
            robot: open; its `hold` must work in a fork of this process.
            hold_after_s: longest time from one `feed` to the next, in seconds; None for
                that of the robot, else what `choose_hold_after_s` gives.
            kill_after_s: time after that until this process is killed, in seconds.
            on_hang: called in the watchdog's process when it has killed this one and
                the robot is held; for a note of it.

        Raises:
            WatchdogError: the system starts no process.
        """
        if hold_after_s is None:
            hold_after_s = robot.spec.hold_after_s
        if hold_after_s is None:
            hold_after_s = choose_hold_after_s(robot.spec.control_hz)
        self.hold_after_s = hold_after_s
        self._name = f"watchdog of {robot.spec.robot_model}"
        self._hold_after_ns = round(hold_after_s * NS_PER_S)
        self._map = mmap.mmap(-1, mmap.PAGESIZE)
        self._deadline_ns = memoryview(self._map).cast("q")
        self._files: list[int] = []
        self._child: int | None = None
        self._taken = False
        try:
            # What a fork gets and a program that is started does not.
            self._token = self._open(os.eventfd(1, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
            self._end = self._open(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
            loop = self._open(os.pidfd_open(os.getpid()))
            self._child = _fork()
            if self._child == 0:
                files = self._token, self._end, loop
                _watch(robot, self._deadline_ns, files, kill_after_s, on_hang)
        except OSError as e:
            self.close()
            raise WatchdogError(
                self._name, "a process of its own", e.strerror or type(e).__name__
            ) from e

    def arm(self) -> None:
        """Begins to watch: the first step is due now.

        Raises:
            WatchdogError: the watchdog has died, or does not let go of the robot.
        """
        self._require_alive()
        if not select.select([self._token], [], [], _RETURN_S)[0]:
            raise WatchdogError(
                self._name, f"the robot let go within {_RETURN_S:g} s", "it is held"
            )
        self.feed()

    def feed(self) -> None:
        """Says that a step begins; call it at least every `hold_after_s`."""
        self._deadline_ns[0] = time.monotonic_ns() + self._hold_after_ns

    def take(self) -> bool:
        """Takes the token before an action; False if the watchdog holds the robot.

        Raises:
            WatchdogError: the watchdog has died.
        """
        try:
            os.eventfd_read(self._token)
        except BlockingIOError:
            return False
        self._taken = True
        self._require_alive()
        return True

    def seize(self) -> bool:
        """Takes the token to hold the robot, or keeps that of an action that failed.

        False if the watchdog has it and holds the robot. A watchdog that has died has
        let it go.
        """
        if self._taken:
            return True
        try:
            return self.take()
        except WatchdogError:
            return True

    def give(self) -> None:
        """Gives the token back after the action."""
        self._taken = False
        os.eventfd_write(self._token, 1)

    def disarm(self) -> None:
        """Ends watching until the next `arm`; the robot must stand still by then."""
        self._deadline_ns[0] = 0

    def close(self) -> None:
        """Ends the watchdog's process; safe to call twice."""
        if self._child:
            os.eventfd_write(self._end, 1)
            _reap(self._child)
        self._child = None
        for file in self._files:
            os.close(file)
        self._files.clear()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *raised: object) -> None:
        """See `close`."""
        self.close()

    def _open(self, file: int) -> int:
        self._files.append(file)
        return file

    def _require_alive(self) -> None:
        """A robot without its watchdog is not driven. Takes 1 us."""
        ended = 0
        if self._child is not None:
            with contextlib.suppress(ChildProcessError):
                ended, _ = os.waitpid(self._child, os.WNOHANG)
        if ended or self._child is None:
            self._child = None
            raise WatchdogError(self._name, "it to run", "it has ended")


def _fork() -> int:
    with warnings.catch_warnings():
        # Threads of this process do not run in the child, and it needs none of them.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _reap(child: int) -> None:
    """Waits for the watchdog to end, and kills it where a driver holds it up."""
    with contextlib.suppress(ChildProcessError, ProcessLookupError):
        ended = os.pidfd_open(child)
        try:
            if not select.select([ended], [], [], _RETURN_S)[0]:
                os.kill(child, signal.SIGKILL)
        finally:
            os.close(ended)
        os.waitpid(child, 0)


def _watch(
    robot: Robot,
    deadline_ns: memoryview,
    files: tuple[int, int, int],
    kill_after_s: float,
    on_hang: Callable[[], object] | None,
) -> None:
    """The watchdog's process, from its first line to its last."""
    code = 1
    try:
        for number in _SIGNALS:
            # Ctrl-C and Ctrl-Z reach this process too, and it must outlive the loop.
            signal.signal(number, signal.SIG_IGN)
        realtime.rise_above_control()
        watch = _Watch(robot, deadline_ns, files, kill_after_s)
        watch.run()
        if watch.has_killed and on_hang is not None:
            on_hang()
        code = 0
    except BaseException as e:
        # The last resort: at least nobody commands the robot any more.
        _say(f"the robot could not be held ({type(e).__name__}: {e})")
        _kill(files[-1])
    finally:
        os._exit(code)


class _Watch:
    """The watchdog's side."""

    def __init__(
        self,
        robot: Robot,
        deadline_ns: memoryview,
        files: tuple[int, int, int],
        kill_after_s: float,
    ) -> None:
        self._robot = robot
        self._deadline_ns = deadline_ns
        self._token, self._end, self._loop = files
        self._kill_after_s = kill_after_s
        self.has_killed = False

    def run(self) -> None:
        """Watches until it is told to end, or the loop's process has ended."""
        while True:
            deadline_ns = self._deadline_ns[0]
            left_s = (deadline_ns - time.monotonic_ns()) / NS_PER_S
            if deadline_ns and left_s <= 0.0:
                if not self._hold_late():
                    return
                continue
            ready = self._wait(left_s if deadline_ns else _IDLE_S)
            if self._loop in ready:
                # Also between two episodes: a robot may still go to its start.
                self._hold("the process that drives it has ended")
                return
            if self._end in ready:
                return

    def _hold_late(self) -> bool:
        """Holds the robot of a late loop; False if there is no more to watch."""
        try:
            os.eventfd_read(self._token)
        except BlockingIOError:
            self._kill_loop()
            self._hold("its driver did not return from an action in time")
            return False
        if not self._deadline_ns[0]:  # the episode ended at this instant
            os.eventfd_write(self._token, 1)
            return True
        self._hold("its next action did not come in time")
        killed_ns = time.monotonic_ns() + round(self._kill_after_s * NS_PER_S)
        while self._deadline_ns[0]:
            if self._loop in self._wait(_IDLE_S):
                return False
            if time.monotonic_ns() >= killed_ns:
                self._kill_loop()
                return False
        os.eventfd_write(self._token, 1)
        return True

    def _hold(self, reason: str) -> None:
        self._robot.hold()
        _say(f"the robot is held: {reason}")

    def _kill_loop(self) -> None:
        self.has_killed = True
        _say("the process that drives it hangs and is killed")
        _kill(self._loop)
        select.select([self._loop], [], [], _DEATH_S)

    def _wait(self, seconds: float) -> list[int]:
        return select.select([self._loop, self._end], [], [], seconds)[0]


def _kill(loop: int) -> None:
    with contextlib.suppress(OSError):
        signal.pidfd_send_signal(loop, signal.SIGKILL)


def _say(text: str) -> None:
    """Writes a line to stderr, past Python's buffers, which a fork has copied."""
    with contextlib.suppress(OSError):
        os.write(2, f"watchdog: {text}\n".encode())
