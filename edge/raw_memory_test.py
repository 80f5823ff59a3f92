"""What a process does against core dumps, swap and those who look into it."""

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from edge import raw_memory
from edge.testing.child import in_child

NOBODY = 65534
_PR_SET_DUMPABLE = 4
_PTRACE_ATTACH = 16
_CAPABILITY_VERSION = 0x20080522


def give_up_rights() -> None:
    """Becomes a process without rights, which any program of its user may look into.

    Root becomes nobody, or in a namespace of one user root without capabilities.
    """
    if os.getuid() == 0:
        with contextlib.suppress(OSError):
            os.setuid(NOBODY)
    if os.getuid() == 0:
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
        assert ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()) == 0
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


@contextlib.contextmanager
def running(call: Callable[[], object] = lambda: None) -> Iterator[int]:
    """Id of a process of this user without rights that has made this call."""
    (ready, say_ready), (stay, let_go) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(let_go)
            give_up_rights()
            call()
            os.write(say_ready, b"ready")
            os.read(stay, 1)
        finally:
            os._exit(0)
    os.close(say_ready)
    assert os.read(ready, 5) == b"ready"
    yield child
    os.close(let_go)
    os.waitpid(child, 0)
    os.close(ready)
    os.close(stay)


def try_without_rights(tried: Iterable[str], pid: int) -> set[str]:
    """Which of these a process of the same user without rights may do to `pid`."""

    def work() -> str:
        give_up_rights()
        return " ".join(name for name in tried if _TRIES[name](pid))

    return set(in_child(work).split())


def _reads(name: str, pid: int) -> bool:
    try:
        with Path(f"/proc/{pid}/{name}").open("rb") as file:
            if name == "mem":
                return True  # to open it is to be allowed
            return bool(file.read(1))
    except OSError:
        return False


def _traces(pid: int) -> bool:
    if ctypes.CDLL(None).ptrace(_PTRACE_ATTACH, pid, None, None) != 0:
        return False
    os.waitpid(pid, 0)
    return True


_TRIES = {
    "mem": lambda pid: _reads("mem", pid),
    "environ": lambda pid: _reads("environ", pid),
    "io": lambda pid: _reads("io", pid),
    "trace": _traces,
}


def test_hidden_process_shows_its_user_neither_memory_nor_environment() -> None:
    tried = ["mem", "environ", "io", "trace"]
    with running() as pid:
        # Some kernels let nobody trace what is not a child of theirs.
        assert try_without_rights(tried, pid) >= {"environ", "io"}
    with running(raw_memory.hide) as pid:
        assert try_without_rights(tried, pid) == set()


def test_process_that_only_forbids_dumps_can_be_measured() -> None:
    with running(raw_memory.forbid_dumps) as pid:
        assert "io" in try_without_rights(["io"], pid)


@pytest.mark.parametrize("call", ["forbid_dumps", "hide"])
def test_nothing_is_dumped_whatever_the_limit_was(call: str) -> None:
    with running(getattr(raw_memory, call)) as pid:
        limits = Path(f"/proc/{pid}/limits").read_text()
        (line,) = [x for x in limits.splitlines() if x.startswith("Max core file size")]
        assert line.split()[4:6] == ["0", "0"]
        kept = Path(f"/proc/{pid}/coredump_filter")
        with contextlib.suppress(PermissionError):  # of a hidden one, for who may look
            assert int(kept.read_text(), 16) == 0


@pytest.mark.parametrize("call", ["forbid_dumps", "hide"])
def test_killed_by_a_fault_it_leaves_no_core(call: str, tmp_path: Path) -> None:
    secret = "raw episode of somebody's kitchen"
    program = (
        "import os, resource, signal\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "_, most = resource.getrlimit(resource.RLIMIT_CORE)\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (most, most))\n"
        "from edge import raw_memory\n"
        f"raw_memory.{call}()\n"
        f"held = {secret!r}\n"
        "os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == -signal.SIGSEGV
    assert list(tmp_path.iterdir()) == []


def locked_kb(unlimited: bool) -> tuple[str, int]:
    """What `try_lock` says in a process of its own, and what is locked then, in kB."""

    def work() -> str:
        if not unlimited:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
            give_up_rights()
        refused = raw_memory.try_lock()
        status = Path("/proc/self/status").read_text().splitlines()
        (line,) = [x for x in status if x.startswith("VmLck:")]
        return f"{line.split()[1]} {refused}"

    locked, _, refused = in_child(work).partition(" ")
    return refused, int(locked)


def test_memory_is_locked_or_the_reason_is_said() -> None:
    refused, locked = locked_kb(unlimited=True)
    assert bool(refused) == (locked == 0)
    assert locked_kb(unlimited=False) == ("a limit of 0 KiB", 0)
