"""Ctrl-C before a command has begun, and after it has ended: no traceback.

A command imports for seconds before its `main` can handle anything, and Python prints a
traceback for a Ctrl-C then. A main program imports this module before all others; from
then on Ctrl-C ends the process with one line and exit code 130, until
`command_line.run` calls `main`. Before that, the packaged Python does the same
(third_party/python/private/sitecustomize.py).
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType

EXIT_INTERRUPTED = 130


def end_at_once() -> None:
    """Makes Ctrl-C end the process where raising would print a traceback."""
    # A background job of a shell ignores Ctrl-C, which is for somebody else.
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _starts_end()):
        signal.signal(signal.SIGINT, _end)


def raise_again() -> None:
    """Makes Ctrl-C raise KeyboardInterrupt, as Python does, after `end_at_once`."""
    if signal.getsignal(signal.SIGINT) in (_end, _starts_end()):
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _starts_end() -> object:
    """What ended the process while Python itself started; `_end` if nothing did."""
    return getattr(sys.modules.get("sitecustomize"), "end", _end)


def _end(number: int, frame: FrameType | None) -> None:
    del number, frame
    name = Path(sys.argv[0]).stem.encode("ascii", "replace")
    os.write(2, name + b": interrupted\n")
    os._exit(EXIT_INTERRUPTED)


def _is_imported_by_main() -> bool:
    """Whether the main program itself imports this module: then it is a command."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and (
        frame.f_globals.get("__name__") == __name__
        or "importlib" in frame.f_code.co_filename
    ):
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__") == "__main__"


if _is_imported_by_main():
    end_at_once()
