"""A lock has one holder, and a dead holder frees it."""

import os
import signal
from pathlib import Path

from base import file_lock


def test_a_second_taker_is_told_that_the_lock_is_held(tmp_path: Path) -> None:
    first = file_lock.open_file(tmp_path / ".lock")
    second = file_lock.open_file(tmp_path / ".lock")
    assert file_lock.try_take(first)
    assert not file_lock.try_take(second)
    os.close(first)
    assert file_lock.try_take(second)
    os.close(second)


def test_a_folder_is_its_own_lock(tmp_path: Path) -> None:
    first, second = file_lock.open_folder(tmp_path), file_lock.open_folder(tmp_path)
    assert file_lock.try_take(first)
    assert not file_lock.try_take(second)
    assert list(tmp_path.iterdir()) == []
    os.close(first)
    os.close(second)


def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        with file_lock.hold(path):
            os.write(told, b"held")
            signal.pause()
    assert os.read(ready, 4) == b"held"
    descriptor = file_lock.open_file(path)
    assert not file_lock.try_take(descriptor)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert file_lock.try_take(descriptor)
    os.close(descriptor)


def test_a_lock_is_free_again_after_its_block(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with file_lock.hold(path):
        held = file_lock.open_file(path)
        assert not file_lock.try_take(held)
    assert file_lock.try_take(held)
    os.close(held)
