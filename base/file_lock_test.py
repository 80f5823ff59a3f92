"""A lock has one holder and is released when the holder dies."""

import errno
import os
import signal
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    ("umask", "folder_mode", "mode"),
    [
        (0o077, 0o755, 0o600),
        (0o022, 0o755, 0o644),
        (0o002, 0o2775, 0o664),
        (0o022, 0o2775, 0o664),
        (0o077, 0o2770, 0o660),
        (0o077, 0o1777, 0o666),
    ],
)
def test_whoever_may_write_into_the_folder_may_take_its_lock(
    tmp_path: Path, umask: int, folder_mode: int, mode: int
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(folder_mode)
    before = os.umask(umask)
    try:
        os.close(file_lock.open_file(folder / ".lock"))
        os.close(file_lock.open_file(folder / ".lock"))
    finally:
        os.umask(before)
    assert (folder / ".lock").stat().st_mode & 0o777 == mode


def test_a_lock_that_can_only_be_read_can_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".lock"
    path.touch(0o444)
    real = os.open

    def as_another_user(path: Path, flags: int, mode: int = 0o777) -> int:
        # A test that runs as root is not refused anything by mode bits.
        if flags & os.O_RDWR and not flags & os.O_EXCL:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", as_another_user)
    first, second = file_lock.open_file(path), file_lock.open_file(path)
    assert file_lock.try_take(first)
    assert not file_lock.try_take(second)
    os.close(first)
    os.close(second)


def test_a_link_is_refused_as_a_lock(tmp_path: Path) -> None:
    (tmp_path / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        file_lock.open_file(tmp_path / ".lock")
    assert not (tmp_path / "elsewhere").exists()


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
