import importlib.util
import struct
from pathlib import Path

import pytest

from edge.bundle import elf

X86 = b"\x7fELF" + bytes(14) + (0x3E).to_bytes(2, "little") + bytes(44)
ARM = b"\x7fELF" + bytes(14) + (0xB7).to_bytes(2, "little") + bytes(44)
MODULE = "_queue"
SYMBOLS = b"what a debugger reads" * 1000


def read_native() -> bytes:
    """A library of this machine's CPython."""
    found = importlib.util.find_spec(MODULE)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).read_bytes()


def test_processor_is_read_from_the_header() -> None:
    assert elf.read_machine(X86) == "x86-64"
    assert elf.read_machine(ARM) == "aarch64"
    assert elf.read_machine(b"print()") is None
    assert elf.read_machine(b"\x7fELF") is None


def test_library_whose_symbols_were_cut_is_loaded_and_works(tmp_path: Path) -> None:
    whole = read_native()
    short = elf.cut_symbols(whole + SYMBOLS)
    assert len(short) < len(whole)
    assert SYMBOLS not in short
    assert elf.read_machine(short) == elf.read_machine(whole)
    path = tmp_path / f"{MODULE}.so"
    path.write_bytes(short)
    spec = importlib.util.spec_from_file_location(MODULE, path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    assert loaded.__file__ == str(path)
    queue = loaded.SimpleQueue()
    queue.put("first")
    queue.put("second")
    assert queue.get() == "first"


def test_file_without_symbols_stays_as_it_is() -> None:
    short = elf.cut_symbols(read_native())
    assert elf.cut_symbols(short) == short


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"print()",
        b"\x7fELF",
        ARM,
        read_native()[:100],  # its segments are cut off
        read_native()[:56] + struct.pack("<H", 0) + read_native()[58:],  # has none
    ],
    ids=["empty", "text", "magic", "header", "torn", "object"],
)
def test_file_that_no_program_loads_stays_as_it_is(content: bytes) -> None:
    assert elf.cut_symbols(content) == content
