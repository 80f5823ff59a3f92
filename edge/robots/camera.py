"""A camera beside a robot: a thread of its own takes pictures, and the newest is held.

    source.open -> take, take, take ...     in the thread
    newest                                  for whoever senses, without waiting

Control never waits for a camera. Both are threads of one interpreter, so that one of
them computes at a time, and a thread that is interrupted by another program keeps the
interpreter: at a load of 11 steps began up to 180 ms late. So a camera has a real-time
priority where the system grants one, below that of control, and gives the interpreter
back within milliseconds (`docs/benchmarks.md`).

A camera that fails, or that is not there, is opened again each second: its
last picture stays with the time when it was taken, so its age grows,
and whoever drives sees that (`edge/control/camera_watch.py`).
"""

import contextlib
import os
import threading
from collections.abc import Callable
from typing import Final, Protocol

from base.errors import one_line
from edge.robots.clock import Clock
from edge.robots.robot import Camera, Picture

RETRY_S: Final = 1.0
PRIORITY: Final = 30
"""Below control (`edge.control.realtime`), above every ordinary program."""
_END_S: Final = 1.0  # a driver that hangs is left to the end of the process


class PictureSource(Protocol):
    """One camera; opened, read and closed in one thread, any number of times."""

    def open(self) -> None:
        """Opens the camera.

        Raises:
            Exception: it is not there, whatever its driver raises.
        """

    def take(self) -> tuple[bytes, int]:
        """Waits for the next picture; returns its JPEG, and its age in nanoseconds.

        Raises:
            Exception: it is gone, whatever its driver raises.
        """

    def close(self) -> None:
        """Closes the camera, if it is open."""


class CameraThread:
    """Takes pictures of one camera until it is closed.

    Attributes:
        camera: what it is.
        newest: the newest picture; None until there is one.
        trouble: why it takes none now; "" if it does.
    """

    def __init__(
        self,
        camera: Camera,
        source: PictureSource,
        clock: Clock,
        tell: Callable[[str], None] = lambda line: None,
        retry_s: float = RETRY_S,
    ) -> None:
        """Starts the thread.

        Args:
            camera: what it is.
            source: nobody else uses it.
            clock: that of the robot, which stamps the pictures.
            tell: gets a line when the camera cannot be opened or read, once for each
                reason; it is called in the thread.
            retry_s: time from a failure until it is opened again, in seconds.
        """
        self.camera = camera
        self.newest: Picture | None = None
        self.trouble = ""
        self._source = source
        self._clock = clock
        self._tell = tell
        self._retry_s = retry_s
        self._told = ""
        self._end = threading.Event()
        self._taken = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"camera {camera.name}", daemon=True
        )
        self._thread.start()

    def wait(self, limit_s: float) -> bool:
        """Waits for the first picture; whether there is one."""
        return self._taken.wait(limit_s)

    def close(self) -> None:
        """Ends the thread, and closes the camera unless its driver hangs."""
        self._end.set()
        self._thread.join(_END_S)

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        while not self._end.is_set():
            try:
                self._source.open()
                while not self._end.is_set():
                    jpeg, age_ns = self._source.take()
                    self.newest = Picture(jpeg, self._clock.now_ns() - age_ns)
                    self.trouble = ""
                    self._taken.set()
            except Exception as e:  # whatever a driver raises
                self._note(one_line(e) or type(e).__name__)
            finally:
                with contextlib.suppress(Exception):
                    self._source.close()
            self._end.wait(self._retry_s)

    def _note(self, trouble: str) -> None:
        self.trouble = trouble
        if trouble != self._told:
            self._told = trouble
            self._tell(
                f"camera {self.camera.name}: {trouble}; it is opened again each"
                f" {self._retry_s:g} s"
            )
