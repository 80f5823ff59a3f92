"""Gives back memory that a learner holds and does not need at the moment.

Loading jax and compiling or loading a function touch most of its libraries, 100 to 130
MB of pages, of which a gradient step needs a few. The system would take such pages only
when memory is short, and until then they count as this process's. They are unchanged
copies of files, so letting go of them loses nothing: a page that is needed again is
mapped again from the system's cache.
"""

import contextlib
import ctypes
import mmap
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MAPPINGS: Final = Path("/proc/self/smaps")
_SMALLEST_BYTES: Final = 1 << 20
"""Smaller mappings are not worth a system call."""
_CHANGED: Final = frozenset({"Anonymous", "Swap"})
"""Fields that count pages which were written to, here or swapped out."""
_HERE: Final = "Rss"
_LAST: Final = "VmFlags"
_ARENAS: Final = -8
"""`M_ARENA_MAX` of mallopt(3)."""
_PERIOD_S: Final = 0.25
_BEGIN: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \d+ +/")


@contextlib.contextmanager
def kept_small() -> Iterator[None]:
    """Gives back again and again while a function is compiled, from one heap.

    XLA keeps all that it has made of a program until the last kernel is compiled, and
    touches most of its own code on the way. A heap for each thread adds what lies free
    in each (docs/decisions/0017); the process keeps to few heaps from then on. Nothing
    may be loaded meanwhile: a mapping that takes the place of one just looked at would
    lose what was written to it.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_ARENAS, 1)
    done = threading.Event()

    def give_back_again() -> None:
        while not done.wait(_PERIOD_S):
            give_back()

    thread = threading.Thread(target=give_back_again, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def give_back() -> None:
    """Gives back free heap, and unchanged pages of files.

    glibc returns what is free; other allocators do so themselves. A system without
    `/proc` or `madvise` keeps what it has.
    """
    with contextlib.suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.malloc_trim(0)
        for begin, size in find_unchanged(_MAPPINGS.read_text(errors="replace")):
            libc.madvise(
                ctypes.c_void_p(begin), ctypes.c_size_t(size), mmap.MADV_DONTNEED
            )


def find_unchanged(mappings: str) -> Iterator[tuple[int, int]]:
    """Address and size, in bytes, of private mappings of files that nobody has changed.

    Only code: the dynamic linker writes to data before it makes that read-only, and
    such a page is no page of the file any more. A mapping of code in which a page was
    changed is left alone too, and so is one of which nothing is here: an emulator of
    another processor says so of every mapping, and does not count what was changed.

    Args:
        mappings: what `/proc/PID/smaps` says (proc(5)).
    """
    mapping, given = None, True
    for line in mappings.splitlines():
        name, _, said = line.partition(":")
        if " " in name:  # the first line of a mapping; fields are single words
            mapping, given = _read_mapping(line), True
        elif name in _CHANGED:
            given &= said.split()[:1] == ["0"]
        elif name == _HERE:
            given &= said.split()[:1] != ["0"]
        elif name == _LAST and mapping is not None and given:
            yield mapping


def _read_mapping(line: str) -> tuple[int, int] | None:
    """Address and size of a large private mapping of a file that holds code."""
    begun = _BEGIN.match(line)
    if begun is None or begun[3] != "r-xp":
        return None
    begin, end = int(begun[1], 16), int(begun[2], 16)
    return (begin, end - begin) if end - begin >= _SMALLEST_BYTES else None
