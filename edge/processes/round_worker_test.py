"""A round ends, is killed, or never ends: the service hears of it and carries on."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.ota.service import Round
from edge.processes.round_worker import RoundWorker
from edge.testing import process_tree


@pytest.fixture
def worker() -> Iterator[RoundWorker]:
    made = RoundWorker()
    yield made
    made.stop()


def finish(worker: RoundWorker, act: Callable[[], Round]) -> Round:
    """Runs a round to its end, as the service does."""
    worker.start(act)
    found: list[Round] = []

    def look() -> bool:
        done = worker.take()
        found.extend([] if done is None else [done])
        return bool(found)

    process_tree.wait_until(look)
    assert not worker.is_busy
    return found[0]


def kill_self() -> Round:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("it lives")


def test_round_says_what_it_did(worker: RoundWorker) -> None:
    assert finish(worker, lambda: Round(("kept",))) == Round(("kept",))


def test_killed_round_is_told_of_and_the_next_one_runs(worker: RoundWorker) -> None:
    done = finish(worker, kill_self)
    assert done.failed
    assert done.lines == (
        "the round ended with SIGKILL; the next one resumes from there",
    )
    assert not finish(worker, lambda: Round(("kept",))).failed


def test_killed_round_whose_own_child_lives_on_is_told_of(
    worker: RoundWorker, tmp_path: Path
) -> None:
    left = tmp_path / "left"

    def fork_and_die() -> Round:
        child = os.fork()
        if child == 0:
            signal.pause()
        left.write_text(str(child))
        return kill_self()

    assert "SIGKILL" in finish(worker, fork_and_die).lines[0]
    os.kill(int(left.read_text()), signal.SIGKILL)  # it still holds the pipe


def test_round_that_never_ends_is_stopped(tmp_path: Path) -> None:
    path = tmp_path / "pid"

    def hang() -> Round:
        path.write_text(str(os.getpid()))
        while True:
            time.sleep(60)

    done = finish(RoundWorker(longest_s=0.5), hang)
    assert done.failed
    assert "did not end within 0.5 s" in done.lines[0]
    assert not path.exists() or not process_tree.is_alive(int(path.read_text()))
