"""A trace of a few training steps, written on request by JAX's profiler.

TensorBoard's profile page and Perfetto open what is written. A trace of every step
would cost gigabytes and slow the run down, so only a range of steps is traced.
"""

import dataclasses
import re
from pathlib import Path

import jax

WARM_UP_STEPS = 5
"""Steps before the trace: the first compiles, the next fill caches."""


@dataclasses.dataclass(frozen=True)
class ProfileRange:
    """The steps to trace, both counted from 1, both included."""

    first: int
    last: int


def parse(text: str) -> ProfileRange | None:
    """Reads `10` (ten steps after warm-up) or `100-110`; empty text is None.

    Raises:
        ValueError: the text is neither.
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
        f"profile: expected a number of steps, or a range like 100-110, got {text!r}"
    )


class Profiler:
    """Starts and stops the trace as training passes the range.

    Steps count from where this process began, because that is where warm-up is.
    """

    def __init__(self, steps: ProfileRange | None, folder: Path) -> None:
        self._steps, self._folder = steps, folder
        self._tracing = False

    def before(self, step: int) -> None:
        """Called before each step, the process's first being 1."""
        if self._steps is not None and step == self._steps.first:
            jax.profiler.start_trace(self._folder)
            self._tracing = True

    def after(self, step: int, result: object) -> None:
        """Called after each step; waits for `result` where the range ends."""
        if self._tracing and self._steps is not None and step >= self._steps.last:
            jax.block_until_ready(result)
            self.stop()

    def stop(self) -> None:
        """Ends a trace that training did not reach the end of."""
        if self._tracing:
            self._tracing = False
            jax.profiler.stop_trace()
