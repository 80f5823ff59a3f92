"""The end of a run without end: SIGTERM, as systemd sends it, or Ctrl-C.

While a robot moves, the signal is only a wish: the control loop grants it after the
current step, and the episode is then closed, redacted and shared as any other. While
the program waits for a channel, it ends at once; an update survives that as it survives
a power cut. A second signal ends the program wherever it is, unless it comes at once:
where the parent of a process dies, the kernel sends a signal for each of its threads.

A process that another one started ends with it (`end_with_parent`): nobody would look
after it any more, and the locks that it has inherited would keep the next one out.
"""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_ONE_S: Final = 1.0  # signals within this time are one
_PR_SET_PDEATHSIG: Final = 1
_SYSTEM: Final = ctypes.CDLL(
    None
)  # loaded here: a fork may find the loader's lock held


def end_with_parent(parent: int, number: signal.Signals) -> bool:
    """Lets the system send this process a signal when its parent ends, however it ends.

    Args:
        parent: process id of the parent.
        number: the signal.

    Returns:
        False if the parent has ended already, so that no signal will come.
    """
    _SYSTEM.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    return os.getppid() == parent


class StopSignal:
    """Whether this process has been told to stop."""

    def __init__(self) -> None:
        """Listens from now on; call it in the main thread."""
        self._requested = False
        self._first_s = 0.0
        self._at_once = False
        for number in _SIGNALS:
            signal.signal(number, self._handle)

    def is_requested(self) -> bool:
        """Whether a signal has come."""
        return self._requested

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Lets a signal end the program with exit code 0 while the block runs.

        Raises:
            SystemExit: a signal came before the block, or comes within it.
        """
        self._at_once = True
        try:
            if self._requested:
                raise SystemExit(0)
            yield
        finally:
            self._at_once = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        now_s = time.monotonic()
        if not self._requested:
            self._requested, self._first_s = True, now_s
        elif now_s - self._first_s >= _ONE_S:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if self._at_once:
            raise SystemExit(0)
