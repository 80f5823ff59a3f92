"""A signal is a wish, the same one at once again too, and a second one is none."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from edge import stop_signal
from edge.stop_signal import StopSignal


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Puts back what the test itself does with signals."""
    before = {number: signal.getsignal(number) for number in (15, 2)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signals_that_come_at_once_are_one_wish() -> None:
    stop = StopSignal()
    assert not stop.is_requested()
    for _ in range(3):  # as from a parent of three threads that is killed
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.is_requested()


def test_second_signal_ends_the_program_wherever_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stop_signal, "_ONE_S", 0.01)
    child = os.fork()
    if child == 0:
        StopSignal()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM
