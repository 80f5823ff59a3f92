"""Calls that never end, made of reads that really block."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from base.errors import StoreError
from base.store import deadline
from base.store.deadline import Deadline


class Pipe:
    """A named pipe without a writer: who opens it waits in the kernel."""

    def __init__(self, path: Path) -> None:
        self._path = path
        os.mkfifo(path)

    def open(self) -> None:
        os.close(os.open(self._path, os.O_RDONLY))

    def let_go(self) -> None:
        """Lets everybody who waits go on."""
        writer = os.open(self._path, os.O_RDWR)
        for thread in deadline._left_behind:
            thread.join()
        os.close(writer)


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    pipe = Pipe(tmp_path / "pipe")
    yield pipe
    pipe.let_go()


def test_a_call_gives_its_result_or_its_own_error() -> None:
    limit = Deadline(5)
    assert limit.run("it", lambda: 7) == 7
    with pytest.raises(TimeoutError, match="of the call"):
        limit.run("it", _fail)


def _fail() -> None:
    raise TimeoutError("of the call")


def test_a_call_that_never_ends_is_left_behind(pipe: Pipe) -> None:
    limit = Deadline(0.1)
    begin_s = time.monotonic()
    with pytest.raises(StoreError, match="it: expected an answer within 0 s, got a st"):
        limit.run("it", pipe.open)
    assert time.monotonic() - begin_s < 20


def test_calls_share_one_time_and_bytes_add_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)

    def take_ten_seconds() -> None:
        nonlocal now_s
        now_s += 10.0

    limit = Deadline(30)
    for _ in range(2):
        limit.run("it", take_ten_seconds)
    limit.add_bytes(deadline.SLOWEST_BYTES_PER_S * 30)
    for _ in range(4):
        limit.run("it", take_ten_seconds)
    called: list[int] = []
    with pytest.raises(StoreError, match="an answer within 60 s"):
        limit.run("it", lambda: called.append(1))
    assert called == []


def test_calls_that_never_end_do_not_pile_up(pipe: Pipe) -> None:
    """As on a robot that asks a mount without a server every ten minutes."""
    for _ in range(deadline._MOST_LEFT_BEHIND):
        with pytest.raises(StoreError, match="a store that had not finished"):
            Deadline(0.01).run("it", pipe.open)
    with pytest.raises(StoreError, match="calls that never end, got 8; check the"):
        Deadline(5).run("it", lambda: 1)
    pipe.let_go()
    assert Deadline(5).run("it", lambda: 1) == 1
