"""A terminal that gives each key at once, and is put back however the program ends.

A second process holds the settings as they were. It waits at a pipe whose other end
only this process has: when that closes without a word, because this process was killed
or crashed, it puts the settings back. So even SIGKILL leaves a terminal that a shell
can use.
"""

import contextlib
import errno
import os
import select
import subprocess
import sys
import termios
from typing import Any, Final

from edge.errors import ActorUnavailableError

_INPUT_FLAGS, _LOCAL_FLAGS, _CHARACTERS = 0, 3, 6
_DISABLED: Final = b"\0"  # _POSIX_VDISABLE on Linux

# Reads the settings, then one byte: with it the program put them back by itself.
_GUARD: Final = """
import ast, os, sys, termios

settings = ast.literal_eval(sys.argv[1])
if not os.read(0, 1):
    termios.tcsetattr(1, termios.TCSADRAIN, settings)
"""


class Terminal:
    """A terminal in which a key needs no Enter and is not shown."""

    def __init__(self, descriptor: int, who: str) -> None:
        """Changes the terminal.

        Args:
            descriptor: an open terminal, such as 0 for standard input.
            who: who needs it, for the error.

        Raises:
            ActorUnavailableError: it is no terminal, or it was closed meanwhile.
        """
        if not os.isatty(descriptor):
            # Its source is the flag, for it is wrong usage: no other run mends it.
            raise ActorUnavailableError(
                who.partition("=")[0],
                "a terminal at standard input, for its keys",
                "a file, a pipe or nothing",
                "run it in a terminal, or let a gamepad act, which needs none",
            )
        self._descriptor = os.dup(descriptor)
        self._events = select.poll()
        self._events.register(self._descriptor, select.POLLIN)
        self._guard: subprocess.Popen[bytes] | None = None
        try:
            self._before: list[Any] = termios.tcgetattr(descriptor)
            self._guard = _start_guard(self._descriptor, self._before)
            _set(descriptor, _give_keys(self._before))
        except termios.error as e:
            self.close()
            raise ActorUnavailableError(
                who,
                "a terminal at standard input, for its keys",
                f"one that does not answer: {e.args[-1]}",
                "run it in a terminal that stays open",
            ) from e
        except BaseException:  # a Ctrl-C: nobody else could put it back
            self.close()
            raise

    def fileno(self) -> int:
        """Descriptor to wait on together with others."""
        return self._descriptor

    def read(self, wait_s: float = 0.0) -> bytes:
        """The bytes that have come; nothing if there are none after `wait_s`.

        Raises:
            OSError: the terminal was closed.
        """
        found = self._events.poll(round(wait_s * 1000))
        if not found:
            return b""
        if found[0][1] & ~select.POLLIN:
            raise OSError(errno.EIO, "it was closed")
        # VMIN and VTIME are 0: this returns at once, whoever else reads here. Others
        # may share the open file, so that it is not made non-blocking.
        return os.read(self._descriptor, 4096)

    def close(self) -> None:
        """Puts the terminal back; does nothing a second time."""
        if self._descriptor < 0:
            return
        if self._guard is not None:  # else it was not changed
            with contextlib.suppress(termios.error):  # it may be gone
                _set(self._descriptor, self._before)
        os.close(self._descriptor)
        self._descriptor = -1
        if self._guard is None:
            return
        assert self._guard.stdin is not None
        with contextlib.suppress(OSError):  # the guard may be gone
            self._guard.stdin.write(b".")
            self._guard.stdin.close()
        self._guard.wait()


def _give_keys(before: list[Any]) -> list[Any]:
    """The settings in which each key comes at once; Ctrl-C still interrupts.

    Ctrl-Z would stop the process and leave a robot without control, and Ctrl-S would
    let the next line of output wait for ever: both do nothing.
    """
    settings = [*before]
    settings[_INPUT_FLAGS] &= ~termios.IXON
    settings[_LOCAL_FLAGS] &= ~(termios.ICANON | termios.ECHO)
    characters = [*before[_CHARACTERS]]
    characters[termios.VMIN] = characters[termios.VTIME] = 0
    characters[termios.VSUSP] = _DISABLED
    settings[_CHARACTERS] = characters
    return settings


def _set(descriptor: int, settings: list[Any]) -> None:
    """Changes a terminal once what was written there is out.

    A signal, such as that of a Ctrl-C whose handler raises nothing, ends the wait and
    not the change.

    Raises:
        termios.error: the terminal is gone.
    """
    when = termios.TCSADRAIN
    while True:
        try:
            termios.tcsetattr(descriptor, when, settings)
            return
        except termios.error as e:
            if e.args[0] != errno.EINTR:
                raise
            when = termios.TCSANOW


def _start_guard(terminal: int, settings: list[Any]) -> subprocess.Popen[bytes]:
    # A session of its own: a Ctrl-C at this terminal must not end it first.
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _GUARD, repr(settings)],
        stdin=subprocess.PIPE,
        stdout=terminal,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
