"""Runs a part of a test as root of a namespace in which there are many users.

There a test makes users and folders as a robot has them, and runs programs as each of
them: the kernel decides what they may do, not a model of it. An ordinary user may give
such a namespace one user only, itself; more come from the helpers newuidmap(1) and
newgidmap(1), for which the system has set a range aside, or from root.

/var/lib and /run are empty there, in memory, and gone with the namespace.
"""

import contextlib
import ctypes
import json
import os
import pwd
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, cast

IDS: Final = 65536
EMPTY: Final = ("/var/lib", "/run")
_MS_BIND: Final = 0x1000
_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 1 << 18
_REMEDY: Final = (
    "one user alone can be mapped into a namespace here ({}), so no test can be many. "
    "Run it as root, or install newuidmap (on Debian the package uidmap) and "
    "give this user a range: usermod --add-subuids 100000-165535 --add-subgids "
    "100000-165535 NAME; or leave it out: --test_tag_filters=-namespaces"
)


def run[T](work: Callable[[], T]) -> T:
    """Runs `work` as root of a new namespace; returns its result, which is JSON.

    Raises:
        AssertionError: the machine does not allow it, and says what would; or `work`
            failed.
    """
    (ready, say_ready), (go, say_go) = os.pipe(), os.pipe()
    result, say_result = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            for one in (ready, say_go, result):
                os.close(one)
            _say(say_result, _be_root(say_ready, go, work))
        finally:
            os._exit(0)
    for one in (say_ready, go, say_result):
        os.close(one)
    try:
        refused = os.read(ready, 4096).decode()
        why = refused if refused != "ready" else _map(child)
        if not why:
            os.write(say_go, b"go")
    finally:
        os.close(say_go)
        os.close(ready)
    with os.fdopen(result, "rb") as file:
        raw = file.read()
    os.waitpid(child, 0)
    assert not why, _REMEDY.format(why)
    answer = json.loads(raw)
    assert "failed" not in answer, answer["failed"]
    return cast(T, answer["result"])


def run_as[T](uid: int, groups: Sequence[int], work: Callable[[], T]) -> T:
    """Runs `work` as a user, in a process of its own; returns its result.

    Args:
        uid: of the user.
        groups: ids of the groups, the primary one first.
        work: returns JSON.
    """
    result, say_result = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(result)
            os.setgroups(groups)
            os.setresgid(groups[0], groups[0], groups[0])
            os.setresuid(uid, uid, uid)
            _say(say_result, _do(work))
        finally:
            os._exit(0)
    os.close(say_result)
    with os.fdopen(result, "rb") as file:
        answer = json.loads(file.read())
    os.waitpid(child, 0)
    assert "failed" not in answer, answer["failed"]
    return cast(T, answer["result"])


def _be_root(say_ready: int, go: int, work: Callable[[], object]) -> dict[str, object]:
    try:
        os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNS)
    except OSError as e:
        os.write(say_ready, f"unshare: {e.strerror}".encode())
        os._exit(1)
    os.write(say_ready, b"ready")
    if not os.read(go, 2):
        os._exit(1)
    os.setresgid(0, 0, 0)
    os.setgroups([])
    os.setresuid(0, 0, 0)

    def begin() -> object:
        _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
        _let_all_read(_list_what_programs_read())
        for folder in EMPTY:
            _mount("tmpfs", os.path.realpath(folder), "tmpfs", 0, "mode=0755")
        os.chdir("/")
        return work()

    return _do(begin)


def _do(work: Callable[[], object]) -> dict[str, object]:
    try:
        return {"result": work()}
    except BaseException:
        return {"failed": traceback.format_exc()}


def _say(descriptor: int, answer: dict[str, object]) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(json.dumps(answer).encode())


def _map(child: int) -> str:
    """Maps many users into the namespace of a child; why not, or ""."""
    if os.getuid() == 0:
        for kind in ("uid", "gid"):
            count = _count_mapped(kind)
            if count < IDS:
                return f"this root has {count} of them"
            path = Path(f"/proc/{child}/{kind}_map")
            try:
                path.write_text(f"0 0 {IDS}\n")
            except OSError as e:
                return f"{path.name}: {e.strerror}"
        return ""
    for kind, own in (("uid", os.getuid()), ("gid", os.getgid())):
        tool = shutil.which(f"new{kind}map")
        if tool is None:
            return f"there is no new{kind}map"
        begin = _find_range(Path(f"/etc/sub{kind}"))
        if begin is None:
            return f"/etc/sub{kind} has no range for this user"
        lines = [0, own, 1, 1, begin, IDS - 1]
        done = subprocess.run(
            [tool, str(child), *map(str, lines)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return done.stderr.strip() or f"new{kind}map: code {done.returncode}"
    return ""


def _count_mapped(kind: str) -> int:
    """How many ids from 0 on this process's own namespace has."""
    for line in Path(f"/proc/self/{kind}_map").read_text().splitlines():
        first, _, count = map(int, line.split())
        if first == 0:
            return count
    return 0


def _find_range(path: Path) -> int | None:
    with contextlib.suppress(OSError, KeyError):
        names = (pwd.getpwuid(os.getuid()).pw_name, str(os.getuid()))
        for line in path.read_text().splitlines():
            name, begin, count = line.split(":")
            if name in names and int(count) >= IDS - 1:
                return int(begin)
    return None


def _list_what_programs_read() -> Iterable[Path]:
    """What a Python program of this test loads, wherever that is."""
    named = {*sys.path, sys.executable, sys.prefix, sys.base_prefix}
    for module in list(sys.modules.values()):
        if file := getattr(module, "__file__", None):
            named.add(file)
    for path in map(Path, filter(None, named)):
        if path.exists():
            yield path.absolute()
            yield path.resolve()


def _let_all_read(paths: Iterable[Path]) -> None:
    """Lets every user of this namespace enter the folders above these paths.

    A home is often closed to others. Such a folder is covered with one that is open
    and shows what was in it; nothing outside of this namespace changes.
    """
    known: set[Path] = set()
    for path in paths:
        for above in reversed(path.parents):
            if above not in known:
                known.add(above)
                if above.is_dir() and not above.stat().st_mode & 0o001:
                    _open_folder(above)


def _open_folder(folder: Path) -> None:
    inner = []
    for entry in folder.iterdir():
        if entry.is_symlink():
            inner.append((entry, -1, str(entry.readlink())))
        elif entry.is_dir() or entry.is_file():
            inner.append((entry, os.open(entry, os.O_PATH), ""))
    _mount("tmpfs", str(folder), "tmpfs", 0, "mode=0755")
    for entry, descriptor, target in inner:
        if descriptor < 0:
            entry.symlink_to(target)
            continue
        there = Path(f"/proc/self/fd/{descriptor}")
        entry.mkdir() if there.is_dir() else entry.touch()
        _mount(str(there), str(entry), None, _MS_BIND | _MS_REC)
        os.close(descriptor)


def _mount(
    source: str | None, target: str, kind: str | None, flags: int, data: str = ""
) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [None if x is None else x.encode() for x in (source, target, kind)]
    if libc.mount(*words, ctypes.c_ulong(flags), data.encode() or None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), target)
