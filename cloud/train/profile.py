"""A trace of a few updates, written on request by JAX's profiler.

TensorBoard's profile page and Perfetto can open it. A trace of every update would take
gigabytes and slow the run down, so only a range of updates is traced.
"""

import dataclasses
import re
from pathlib import Path

import jax

WARM_UP_STEPS = 5
"""Updates before the trace: the first compiles, the next ones fill caches."""


@dataclasses.dataclass(frozen=True)
class ProfileRange:
    """The first and the last update to trace, counted from 1, both included."""

    first: int
    last: int


def parse(text: str) -> ProfileRange | None:
    """Reads `10` (ten updates after warm-up) or `100-110`; empty text is None.

    Raises:
        ValueError: the text is neither a number nor a range.
    """
    if not text:
        return None
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)", text)
    if found:
        first = int(found[1]) if found[1] else WARM_UP_STEPS + 1
        last = int(found[2]) if found[1] else WARM_UP_STEPS + int(found[2])
        if 1 <= first <= last:
            return ProfileRange(first, last)
    raise ValueError(
        f"profile: expected a number of updates, or a range like 100-110, got {text!r}"
    )


class Profiler:
    """Starts and stops the trace when training reaches the range.

    Updates are counted from the start of this process, because that is where warm-up
    is.
    """

    def __init__(self, updates: ProfileRange | None, folder: Path) -> None:
        self._updates, self._folder = updates, folder
        self._tracing = False

    def before(self, update: int) -> None:
        """Is called before each update, the process's first being 1."""
        if self._updates is not None and update == self._updates.first:
            jax.profiler.start_trace(self._folder)
            self._tracing = True

    def after(self, update: int, result: object) -> None:
        """Is called after each update; waits for `result` at the end of the range."""
        if not self._tracing or self._updates is None:
            return
        if update >= self._updates.last:
            jax.block_until_ready(result)
            self.stop()

    def stop(self) -> None:
        """Ends a trace whose last update was not reached."""
        if self._tracing:
            self._tracing = False
            jax.profiler.stop_trace()
