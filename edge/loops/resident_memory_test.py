import ctypes
import mmap
import os
import threading
import time
from pathlib import Path

import pytest

from edge.loops import resident_memory

_PAGES = 512  # 2 MiB
_ADDRESS = "7f0000000000-7f0000200000"
_FIELDS = "Rss: 8 kB\nAnonymous: {anonymous} kB\nSwap: {swap} kB\nVmFlags: rd mr"


class TestFindUnchanged:
    def test_private_mapping_of_a_file_that_is_only_read_is_found(self) -> None:
        text = _describe("r-xp 0001000 08:00 12 /usr/lib/libone.so")

        found = list(resident_memory.find_unchanged(text))

        assert found == [(0x7F0000000000, 2 << 20)]

    @pytest.mark.parametrize(
        "mapping",
        [
            "r--p 0001000 08:00 12 /usr/lib/libone.so",
            "rw-p 0001000 08:00 12 /usr/lib/libone.so",
            "r--s 0001000 08:00 12 /usr/lib/libone.so",
            "r-xp 0000000 00:00 0 ",
            "r-xp 0000000 00:00 0 [vdso]",
        ],
        ids=[
            "data that may be relocated",
            "writable",
            "shared",
            "no file",
            "of the kernel",
        ],
    )
    def test_other_mapping_is_left_alone(self, mapping: str) -> None:
        assert not list(resident_memory.find_unchanged(_describe(mapping)))

    @pytest.mark.parametrize(("anonymous", "swap"), [(4, 0), (0, 4)])
    def test_mapping_with_a_changed_page_is_left_alone(
        self, anonymous: int, swap: int
    ) -> None:
        mapping = "r-xp 0001000 08:00 12 /usr/lib/libone.so"
        text = _describe(mapping, anonymous=anonymous, swap=swap)

        assert not list(resident_memory.find_unchanged(text))

    def test_mapping_of_which_an_emulator_says_nothing_is_left_alone(self) -> None:
        text = _describe("r-xp 0001000 08:00 12 /usr/lib/libone.so")

        found = resident_memory.find_unchanged(text.replace("Rss: 8 kB", "Rss: 0 kB"))

        assert not list(found)

    def test_small_mapping_is_left_alone(self) -> None:
        text = _describe("r-xp 0001000 08:00 12 /usr/lib/libone.so")
        small = text.replace("7f0000200000", "7f0000001000")

        assert not list(resident_memory.find_unchanged(small))


class TestGiveBack:
    def test_pages_of_a_file_leave_this_process_and_are_read_again(
        self, tmp_path: Path
    ) -> None:
        path, mapping = _load_library(tmp_path)
        content = path.read_bytes()
        assert mapping[:] == content  # every page is here now
        assert _resident_kb(path) == len(content) // 1024

        resident_memory.give_back()

        assert _resident_kb(path) == 0
        assert mapping[:] == content

    def test_page_that_was_written_to_keeps_what_was_written(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "library"
        path.write_bytes(bytes(_PAGES * mmap.PAGESIZE))
        with path.open("rb") as file:
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        mapping[0] = 7
        begin = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
        libc = ctypes.CDLL(None, use_errno=True)
        # As the dynamic linker leaves what it has relocated.
        refused = libc.mprotect(
            ctypes.c_void_p(begin),
            ctypes.c_size_t(len(mapping)),
            mmap.PROT_READ | mmap.PROT_EXEC,
        )
        assert refused == 0

        resident_memory.give_back()

        assert mapping[0] == 7


class TestKeptSmall:
    def test_pages_are_given_back_until_the_work_ends(self, tmp_path: Path) -> None:
        path, mapping = _load_library(tmp_path)
        before = threading.active_count()
        with resident_memory.kept_small():
            assert mapping[:] == path.read_bytes()
            end_s = time.monotonic() + 60
            while _resident_kb(path) and time.monotonic() < end_s:
                time.sleep(0.01)
            assert _resident_kb(path) == 0
        assert threading.active_count() == before

    def test_work_that_fails_ends_it_too(self) -> None:
        before = threading.active_count()
        with pytest.raises(ZeroDivisionError), resident_memory.kept_small():
            _ = 1 // 0
        assert threading.active_count() == before


def _load_library(folder: Path) -> tuple[Path, mmap.mmap]:
    """A file of random bytes, and its mapping as code."""
    path = folder / "library"
    path.write_bytes(os.urandom(_PAGES * mmap.PAGESIZE))
    with path.open("rb") as file:
        return path, mmap.mmap(
            file.fileno(),
            0,
            flags=mmap.MAP_PRIVATE,
            prot=mmap.PROT_READ | mmap.PROT_EXEC,
        )


def _describe(mapping: str, anonymous: int = 0, swap: int = 0) -> str:
    return f"{_ADDRESS} {mapping}\n" + _FIELDS.format(anonymous=anonymous, swap=swap)


def _resident_kb(path: Path) -> int:
    """How much of this file's mapping is in this process, in KiB."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    begin = next(i for i, line in enumerate(lines) if line.endswith(str(path)))
    resident = next(x for x in lines[begin:] if x.startswith("Rss:"))
    return int(resident.split()[1])
