"""Ctrl-C while a program starts is one line and no traceback.

Python runs this at the end of its own start. The launcher (start.sh) has held Ctrl-C
back until then; from here on it ends the program, until the program itself decides
(`base.interrupt`). A Python that something else starts is left as it is.
"""

import os
import signal
import sys


def end(number: int, frame: object) -> None:
    """Ends the process with one line, as `base.interrupt` does."""
    del number, frame
    # Without pathlib, which every Python would import for this.
    name = sys.argv[0].rpartition("/")[2].removesuffix(".py")
    os.write(2, name.encode("ascii", "replace") + b": interrupted\n")
    os._exit(130)


if signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()):
    # A background job of a shell ignores Ctrl-C, which is for somebody else.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
