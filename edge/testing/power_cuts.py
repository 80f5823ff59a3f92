"""Kills a process that works on a folder before any one of its changes, for tests.

The work runs in a child process that counts its system calls on the folder (Python's
audit events, and fsync) and kills itself with SIGKILL before the n-th. Opening a file
in order to read it changes nothing and does not count.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

EVENTS: Final = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod")


def run_in_child(work: Callable[[], object]) -> int:
    """Runs `work` in a child process; returns its wait status."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(process, 0)[1]


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
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

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

    status = run_in_child(count_calls)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


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
