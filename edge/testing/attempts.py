"""What somebody may do with the files, sockets and processes of a robot: by trying.

Each function runs as the user in question and returns what succeeded. Nothing is
destroyed: a folder in which a file can be made could as well lose all that it holds.
"""

import contextlib
import ctypes
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

_PTRACE_ATTACH: Final = 16
_PTRACE_DETACH: Final = 17
_SHOWN: Final = ("environ", "maps", "auxv", "io", "syscall", "stack")


def try_files(paths: Iterable[str], own: Path) -> list[str]:
    """Which files can be read, written or linked, and which folders listed or changed.

    Args:
        paths: of all files and folders, as root sees them.
        own: folder of this user.

    Returns:
        `read PATH`, `write PATH`, `link PATH`, `list PATH` and `change PATH`.
    """
    return [
        f"{what} {path}"
        for number, path in enumerate(map(Path, paths))
        for what, act in _FILE_ACTS.items()
        if _is_allowed(act, path, own / str(number))
    ]


def list_tree(root: Path) -> list[str]:
    """All that is in a folder, and itself, without following links."""
    return [str(root), *sorted(str(path) for path in root.rglob("*"))]


def find_texts(root: Path, texts: Sequence[bytes]) -> list[str]:
    """The files below a folder that this user can read, with one of the texts."""
    found = []
    for folder, _, names in os.walk(root):
        for path in (Path(folder, name) for name in names):
            with contextlib.suppress(OSError):
                if not stat.S_ISREG(path.stat().st_mode):
                    continue
                content = path.read_bytes()
                if any(text in content for text in texts):
                    found.append(str(path))
    return found


def try_process(pid: int) -> list[str]:
    """What can be read of a process, and whether it can be traced or signalled."""
    folder, found = Path(f"/proc/{pid}"), []
    with contextlib.suppress(OSError), (folder / "mem").open("rb"):
        found.append("mem")  # to open it is to be allowed
    for name in _SHOWN:
        with contextlib.suppress(OSError):
            found += [name] if (folder / name).read_bytes() else []
    for name in ("root", "cwd", "exe"):
        with contextlib.suppress(OSError):
            (folder / name).readlink()
            found.append(name)
    with contextlib.suppress(OSError):
        found += ["fd"] if list((folder / "fd").iterdir()) else []
    if ctypes.CDLL(None).ptrace(_PTRACE_ATTACH, pid, None, None) == 0:
        os.waitpid(pid, 0)
        ctypes.CDLL(None).ptrace(_PTRACE_DETACH, pid, None, None)
        found.append("trace")
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        found.append("signal")
    return found


def try_sockets(paths: Iterable[str]) -> list[str]:
    """Which of these sockets take a message from here, an empty one."""
    found = []
    for path in paths:
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
        ):
            sender.sendto(b"", path)
            found.append(path)
    return found


def _is_allowed(act: Callable[[Path, Path], None], path: Path, own: Path) -> bool:
    """Whether it succeeds; that a file is no folder is no permission either."""
    try:
        act(path, own)
    except OSError:
        return False
    return True


def _read(path: Path, _: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise IsADirectoryError(errno.EISDIR, str(path))
    finally:
        os.close(descriptor)


def _write(path: Path, _: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW))


def _link(path: Path, own: Path) -> None:
    own.hardlink_to(path)
    own.unlink()


def _list(path: Path, _: Path) -> None:
    _require_no_link(path)
    list(path.iterdir())


def _change(path: Path, _: Path) -> None:
    _require_no_link(path)
    made = path / ".tried"
    os.close(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    made.unlink()


def _require_no_link(path: Path) -> None:
    if path.is_symlink():
        raise NotADirectoryError(errno.ENOTDIR, str(path))


_FILE_ACTS: Final[Mapping[str, Callable[[Path, Path], None]]] = {
    "read": _read,
    "write": _write,
    "link": _link,
    "list": _list,
    "change": _change,
}
