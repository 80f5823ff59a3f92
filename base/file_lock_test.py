"""A lock has one holder and is released when the holder dies."""

import os
import signal
from pathlib import Path

from base import file_lock


def test_a_second_process_cannot_take_a_lock_that_is_held(tmp_path: Path) -> None:
    first = file_lock.open_file(tmp_path / ".lock")
    second = file_lock.open_file(tmp_path / ".lock")
    assert file_lock.try_take(first)
    assert not file_lock.try_take(second)
    os.close(first)
    assert file_lock.try_take(second)
    os.close(second)


def test_a_folder_can_be_locked_without_a_lock_file(tmp_path: Path) -> None:
    first, second = file_lock.open_folder(tmp_path), file_lock.open_folder(tmp_path)
    assert file_lock.try_take(first)
    assert not file_lock.try_take(second)
    assert list(tmp_path.iterdir()) == []
    os.close(first)
    os.close(second)


def test_the_lock_is_released_when_its_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    ready, ready_writer = os.pipe()
    child = os.fork()
    if child == 0:
        with file_lock.hold(path):
            os.write(ready_writer, b"held")
            signal.pause()
    assert os.read(ready, 4) == b"held"
    descriptor = file_lock.open_file(path)
    assert not file_lock.try_take(descriptor)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert file_lock.try_take(descriptor)
    os.close(descriptor)


def test_hold_releases_the_lock_after_the_block(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with file_lock.hold(path):
        held = file_lock.open_file(path)
        assert not file_lock.try_take(held)
    assert file_lock.try_take(held)
    os.close(held)
