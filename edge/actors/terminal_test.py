"""A terminal gives keys at once, and is put back however its program ends."""

import contextlib
import errno
import os
import pty
import signal
import sys
import termios
import time
from collections.abc import Iterator
from typing import Any

import pytest

from edge.actors.terminal import Terminal
from edge.errors import ActorUnavailableError
from edge.testing.at_terminal import AtTerminal

PROGRAM = """
import sys, time
from edge.actors.terminal import Terminal
terminal = Terminal(0, "test")
print("ready", flush=True)
while True:
    if terminal.read(1.0) == b"q":
        break
if "crash" in sys.argv:
    raise RuntimeError("crash")
if "fault" in sys.argv:
    import ctypes
    ctypes.string_at(0)
terminal.close()
"""


@contextlib.contextmanager
def run(*arguments: str) -> Iterator[AtTerminal]:
    running = AtTerminal([sys.executable, "-c", PROGRAM, *arguments])
    with contextlib.closing(running):
        running.wait_for("ready")
        assert running.settings() != running.before
        yield running


def wait_until_put_back(running: AtTerminal) -> None:
    end_s = time.monotonic() + 10
    while running.settings() != running.before:
        assert time.monotonic() < end_s, "the terminal was not put back"
        time.sleep(0.01)


def test_keys_come_at_once_and_are_not_shown() -> None:
    keys, slave = pty.openpty()
    terminal = Terminal(slave, "test")
    os.write(keys, b"dw")
    assert terminal.read(1.0) == b"dw"
    assert terminal.read() == b""
    assert not termios.tcgetattr(slave)[3] & termios.ECHO
    terminal.close()
    terminal.close()
    assert termios.tcgetattr(slave)[3] & termios.ECHO
    os.close(keys)
    os.close(slave)


def test_terminal_that_goes_away_is_an_error_and_not_silence() -> None:
    keys, slave = pty.openpty()
    terminal = Terminal(slave, "test")
    os.close(keys)
    with pytest.raises(OSError, match="closed"):
        terminal.read()
    terminal.close()
    os.close(slave)


class Interrupted:
    """`termios.tcsetattr` during which something happens the first times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *errors: BaseException) -> None:
        self._set, self._errors = termios.tcsetattr, [*errors]
        monkeypatch.setattr(termios, "tcsetattr", self)

    def __call__(self, descriptor: int, when: int, settings: list[Any]) -> None:
        if self._errors:
            raise self._errors.pop(0)
        self._set(descriptor, when, settings)


@pytest.fixture
def slave() -> Iterator[int]:
    keys, slave = pty.openpty()
    yield slave
    os.close(keys)
    os.close(slave)


def test_signal_while_the_terminal_is_changed_and_put_back_does_not_matter(
    slave: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = termios.tcgetattr(slave)
    signal_ = termios.error(errno.EINTR, "Interrupted system call")
    Interrupted(monkeypatch, signal_, signal_)
    terminal = Terminal(slave, "test")
    assert not termios.tcgetattr(slave)[3] & termios.ECHO
    Interrupted(monkeypatch, signal_)
    terminal.close()
    assert termios.tcgetattr(slave) == before


def test_ctrl_c_while_the_terminal_is_changed_leaves_it_as_it_was(
    slave: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = termios.tcgetattr(slave)
    Interrupted(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        Terminal(slave, "test")
    assert termios.tcgetattr(slave) == before


def test_terminal_that_cannot_be_changed_is_one_line(
    slave: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = termios.error(errno.EIO, "Input/output error")
    Interrupted(monkeypatch, gone, gone)
    with pytest.raises(ActorUnavailableError, match="does not answer: Input/output"):
        Terminal(slave, "test")


def test_pipe_is_refused_in_one_line() -> None:
    read, write = os.pipe()
    with pytest.raises(ActorUnavailableError, match="a terminal at standard input"):
        Terminal(read, "--actor=keyboard")
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("how", ["", "crash", "fault"])
def test_terminal_is_put_back_after_an_end_an_error_and_a_fault(how: str) -> None:
    with run(how) as running:
        running.press(b"q")
        assert (running.finish() == 0) is (how == "")
        wait_until_put_back(running)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL]
)
def test_terminal_is_put_back_after_a_signal(number: signal.Signals) -> None:
    with run() as running:
        running.process.send_signal(number)
        assert running.finish() != 0
        wait_until_put_back(running)
