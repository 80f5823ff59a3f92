"""Opens a function of a package with LiteRT, on one thread.

LiteRT is native code, which no error of Python can stop. If it does not return, the
process ends, so that whoever supervises it starts it again.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ai_edge_litert.interpreter import (
    Interpreter,
)

from edge.errors import StepFunctionError

HUNG_AFTER_S: Final = 30.0
"""A call takes less than a millisecond and loading less than a second on a Pi; a tenth
of that speed, and a busy machine, are not yet a hang."""


class _HangEndsProcess:
    """Lets the system end this process, by SIGALRM, if a block does not return.

    It costs 2 us a call, half of what a generator would.
    """

    def __enter__(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, HUNG_AFTER_S)

    def __exit__(self, *raised: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


HANG_ENDS_PROCESS: Final = _HangEndsProcess()


@dataclass(frozen=True)
class Opened:
    """A function that is ready to be called.

    Attributes:
        interpreter: LiteRT's own object.
        inputs: index of each input tensor by name.
        outputs: index of each output tensor by name.
    """

    interpreter: Any
    inputs: dict[str, int]
    outputs: dict[str, int]


def open_function(content: bytes, signature: str, source: str) -> Opened:
    """Loads a file that has one function.

    Args:
        content: a LiteRT flatbuffer with one signature.
        signature: its name.
        source: name of the file, for errors.

    Raises:
        StepFunctionError: the file does not load, or has another signature.
    """
    try:
        with _silence_litert(), HANG_ENDS_PROCESS:
            interpreter = Interpreter(model_content=content, num_threads=1)
        signatures = interpreter._get_full_signature_list()
    except Exception as e:
        raise StepFunctionError(
            source, "a LiteRT model", one_line(e), "export the package again"
        ) from e
    if set(signatures) != {signature}:
        raise StepFunctionError(
            source,
            f"one signature {signature!r}",
            sorted(signatures),
            "export the package again",
        )
    try:
        with _silence_litert(), HANG_ENDS_PROCESS:
            interpreter.allocate_tensors()
    except Exception as e:
        raise StepFunctionError(
            source,
            "a model that fits this runtime",
            one_line(e),
            "export the package for this target",
        ) from e
    found = signatures[signature]
    return Opened(interpreter, dict(found["inputs"]), dict(found["outputs"]))


@contextlib.contextmanager
def _silence_litert() -> Iterator[None]:
    """Keeps LiteRT's note about its default delegate off stderr.

    The library has no setting for it, and a command that fails must print one line.
    """
    kept = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def one_line(error: Exception) -> str:
    """What LiteRT says of an error, short enough for a line."""
    return " ".join(str(error).split())[:300] or type(error).__name__
