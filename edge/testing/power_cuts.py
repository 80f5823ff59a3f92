"""Kills a process that works on a folder before any one of its changes, for tests.

The work runs in a child process that counts its system calls on the folder (Python's
audit events, and fsync) and kills itself with SIGKILL before the n-th, or stands still
there while others work. Opening a file in order to read it changes nothing and does not
count.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

EVENTS: Final = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod")


def run_in_child(work: Callable[[], object]) -> int:
    """Runs `work` in a child process; returns its wait status."""
    return os.waitpid(_fork(work), 0)[1]


def _fork(work: Callable[[], object]) -> int:
    process = os.fork()
    if process == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return process


def kill_before_call(
    number: int, root: Path, work: Callable[[], object], *, without: str = ""
) -> bool:
    """Runs `work` and kills it before call `number`; tells whether it got there.

    Args:
        number: of the call, from 0.
        root: calls on paths below it count.
        work: what is killed.
        without: calls on paths that contain this text do not count.
    """
    work = _signal_before_call(number, root, work, without, signal.SIGKILL)
    status = run_in_child(work)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


@contextlib.contextmanager
def stand_still_before_call(
    number: int, root: Path, work: Callable[[], object], *, kill: bool
) -> Iterator[bool]:
    """Runs `work` and lets it stand still before call `number` during the block.

    Args:
        number: of the call, from 0.
        root: calls on paths below it count.
        work: what stands still.
        kill: whether it is killed after the block, and does not go on.

    Yields:
        Whether it got there; if not, it has ended before.
    """
    work = _signal_before_call(number, root, work, "", signal.SIGSTOP)
    process = _fork(work)
    status = os.waitpid(process, os.WUNTRACED)[1]
    if not os.WIFSTOPPED(status):
        assert os.WEXITSTATUS(status) == 0
        yield False
        return
    try:
        yield True
    finally:
        os.kill(process, signal.SIGKILL if kill else signal.SIGCONT)
        status = os.waitpid(process, 0)[1]
    assert kill or os.WEXITSTATUS(status) == 0


def _signal_before_call(
    number: int, root: Path, work: Callable[[], object], without: str, how: int
) -> Callable[[], None]:
    """What does `work` and sends itself a signal before call `number`."""

    def count_calls() -> None:
        left = number
        counted = os.getpid()

        def count(path: object) -> None:
            nonlocal left
            if os.getpid() != counted:
                return  # the child that tries the canary changes nothing
            text = str(path)
            if not text.startswith(str(root)) or (without and without in text):
                return
            left -= 1
            if left == -1:
                os.kill(os.getpid(), how)

        def audit(event: str, arguments: tuple[object, ...]) -> None:
            if event in EVENTS and not _is_reading(event, arguments):
                count(arguments[0])

        fsync = os.fsync

        def count_fsync(descriptor: int) -> None:
            count(Path(f"/proc/self/fd/{descriptor}").readlink())
            fsync(descriptor)

        pytest.MonkeyPatch().setattr(os, "fsync", count_fsync)
        sys.addaudithook(audit)
        work()

    return count_calls


def _is_reading(event: str, arguments: tuple[object, ...]) -> bool:
    """Whether an event is the opening of a file that is not written."""
    if event != "open" or not isinstance(arguments[2], int):
        return False
    return not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)


def copy_folder(source: Path, target: Path) -> None:
    """Copies a folder file by file."""
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        if path.is_dir():
            copy.mkdir(parents=True)
        else:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
