"""A microphone beside a robot: what hears, and a thread that listens to a live one.

    source.open -> take, take, take ... -> powers      in the thread
    hear                                               for whoever senses, at once

Samples are in the memory of this thread and nowhere else, for as long as the powers of
a twentieth of a second take to be computed: no file, ring or message ever has them.

A microphone that fails, or that is not there, is opened again each second, and what it
last gave grows old (`edge/control/microphone_watch.py`).
"""

import contextlib
import os
import re
import threading
from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from base.errors import one_line
from edge.errors import MicrophoneError
from edge.robots.camera import PRIORITY, RETRY_S
from edge.robots.clock import NS_PER_S, Clock
from edge.robots.log_mel import LogMel
from edge.robots.robot import Microphone, Sound

RATE_NS: Final = 2 * NS_PER_S
"""Time in which samples are counted, since a device may have another rate."""
_MOST, _LEAST = 1.25, 0.75  # of the samples that should come; the first ones come late
_END_S: Final = 1.0  # a driver that hangs is left to the end of the process


class Ear(Protocol):
    """Something that hears beside a robot; nobody waits for it."""

    def begin(self, now_ns: int) -> None:
        """An episode begins at a time of the robot's clock."""

    def hear(self, now_ns: int) -> Sound | None:
        """The newest sound at a time of the robot's clock; None if there is none."""

    def close(self) -> None:
        """Stops listening."""


class SampleSource(Protocol):
    """One live microphone; used in one thread, opened any number of times."""

    rate: int
    """Samples per second."""

    def open(self) -> None:
        """Opens the microphone.

        Raises:
            Exception: it is not there.
        """

    def take(self) -> npt.NDArray[np.float32]:
        """Waits for samples [n] from -1 to 1, a second at most.

        Raises:
            Exception: none came.
        """

    def close(self) -> None:
        """Closes the microphone, if it is open."""


class MicrophoneThread:
    """Listens to one live microphone until it is closed; an `Ear`.

    Attributes:
        trouble: why it hears nothing now; "" if it does.
    """

    def __init__(
        self,
        microphone: Microphone,
        source: SampleSource,
        clock: Clock,
        tell: Callable[[str], None] = lambda line: None,
        retry_s: float = RETRY_S,
    ) -> None:
        """Starts the thread.

        Args:
            microphone: what it is.
            source: nobody else uses it.
            clock: that of the robot, which stamps what is heard.
            tell: gets a line when the microphone cannot be opened or read, once for
                each reason; it is called in the thread.
            retry_s: time from a failure until it is opened again, in seconds.
        """
        self.trouble = ""
        self._microphone = microphone
        self._source = source
        self._clock = clock
        self._tell = tell
        self._retry_s = retry_s
        self._told = ""
        self._newest: Sound | None = None
        self._end = threading.Event()
        self._heard = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="microphone", daemon=True
        )
        self._thread.start()

    def wait(self, limit_s: float) -> bool:
        """Waits for the first sound; whether there is some."""
        return self._heard.wait(limit_s)

    def begin(self, now_ns: int) -> None:
        """See `Ear.begin`: it listens all the time."""

    def hear(self, now_ns: int) -> Sound | None:
        """See `Ear.hear`."""
        del now_ns
        return self._newest

    def close(self) -> None:
        """Ends the thread, and closes the microphone unless its driver hangs."""
        self._end.set()
        self._thread.join(_END_S)

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # as a camera's thread does
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        while not self._end.is_set():
            try:
                self._source.open()
                self._listen()
            except Exception as e:  # whatever a driver raises
                self._note(one_line(e) or type(e).__name__)
            finally:
                with contextlib.suppress(Exception):
                    self._source.close()
            self._end.wait(self._retry_s)

    def _listen(self) -> None:
        rate, wanted = self._source.rate, self._microphone
        log_mel = LogMel(rate, wanted.hz, wanted.bands)
        count, since_ns = 0, 0  # from the first samples on: a device takes its time
        while not self._end.is_set():
            samples = self._source.take()
            now_ns = self._clock.now_ns()
            for powers, behind in log_mel.add(samples):
                self._newest = Sound(powers, now_ns - behind * NS_PER_S // rate)
                self.trouble = ""
                self._heard.set()
            count += len(samples)
            if not since_ns:
                count, since_ns = 0, now_ns
            elif now_ns - since_ns >= RATE_NS:
                self._require_rate(count * NS_PER_S / (now_ns - since_ns))
                count, since_ns = 0, now_ns

    def _require_rate(self, found: float) -> None:
        rate = self._source.rate
        if not _LEAST * rate <= found <= _MOST * rate:
            raise MicrophoneError(
                "its device",
                f"{rate} samples per second",
                f"{found:.0f}",
                "name a device that converts, such as alsa:plughw:1,0",
            )

    def _note(self, trouble: str) -> None:
        self.trouble = trouble
        kind = re.sub(r"\d+", "0", trouble)  # what is measured differs each time
        if kind != self._told:
            self._told = kind
            self._tell(
                f"microphone: {trouble}; it is opened again each {self._retry_s:g} s"
            )
