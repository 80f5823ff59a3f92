"""An end for calls that cannot be interrupted.

A read from a mount whose server is gone blocks in the kernel. So does the client of a
bucket whose server sends a byte now and then, without ever reaching the timeout between
two pieces. Such a call runs in a thread, which is left behind when the time is over and
ends with its read; whoever waits for it goes on.
"""

import threading
import time
from collections.abc import Callable
from concurrent import futures

from base.errors import StoreError

# The rate of the slowest network that counts as one: a quarter of a megabit.
SLOWEST_BYTES_PER_S = 32 * 1024
# A robot that lives on asks again and again, and may run a few dozen threads in all.
_MOST_LEFT_BEHIND = 8

_REMEDY = "check the network, and the mount if it is a folder, and run it again"
_left_behind: list[threading.Thread] = []


class Deadline:
    """The time by which one or more calls must have ended, from its making on."""

    def __init__(self, seconds: float) -> None:
        self._limit_s = seconds
        self._begin_s = time.monotonic()

    def add_bytes(self, size_bytes: int) -> None:
        """Gives the calls the time that this many bytes take on a slow network."""
        self._limit_s += size_bytes / SLOWEST_BYTES_PER_S

    def run[T](self, source: str, call: Callable[[], T]) -> T:
        """Returns what `call` returns; `source` names what it asks, for errors.

        Raises:
            StoreError: the time is over, or too many calls were left behind already.
        """
        _left_behind[:] = [one for one in _left_behind if one.is_alive()]
        if len(_left_behind) >= _MOST_LEFT_BEHIND:
            raise StoreError(
                source,
                f"fewer than {_MOST_LEFT_BEHIND} calls that never end",
                len(_left_behind),
                _REMEDY,
            )
        done: futures.Future[T] = futures.Future()

        def answer() -> None:
            try:
                done.set_result(call())
            except BaseException as e:  # raised again where the answer is awaited
                done.set_exception(e)

        thread = threading.Thread(target=answer, name="store", daemon=True)
        left_s = self._begin_s + self._limit_s - time.monotonic()
        if left_s > 0:
            thread.start()
            futures.wait([done], left_s)
        if done.done():
            return done.result()
        if thread.is_alive():
            _left_behind.append(thread)
        raise StoreError(
            source,
            f"an answer within {self._limit_s:.0f} s",
            "a store that had not finished",
            _REMEDY,
        )
