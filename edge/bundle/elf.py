"""Reads and shortens native files (ELF, the format of Linux programs and libraries).

A program that runs reads what the segments of its files name. Behind them lie the names
of all functions, and what a debugger reads: 117 MB of the 312 MB of jax's library.
"""

import struct
from typing import Final

_MAGIC: Final = b"\x7fELF"
_MACHINE: Final = slice(18, 20)  # e_machine, little-endian
_MACHINES: Final = {
    0x03: "x86",
    0x28: "arm",
    0x3E: "x86-64",
    0xB7: "aarch64",
}
# Of a file of 64 bits, little-endian. Of its header (Elf64_Ehdr): e_phoff, e_phentsize
# and e_phnum; of each segment (Elf64_Phdr): p_offset and p_filesz.
_CLASS: Final = b"\x02\x01"
_HEADER: Final = struct.Struct("<32xQ14xHH6x")
_SEGMENT: Final = struct.Struct("<8xQ16xQ16x")
_SECTIONS_AT: Final = slice(40, 48)  # e_shoff
_SECTIONS: Final = slice(60, 64)  # e_shnum, e_shstrndx


def read_machine(content: bytes) -> str | None:
    """Returns the processor that a native file is for; None for other files."""
    if content[:4] != _MAGIC or len(content) < _MACHINE.stop:
        return None
    number = int.from_bytes(content[_MACHINE], "little")
    return _MACHINES.get(number, f"machine {number}")


def cut_symbols(content: bytes) -> bytes:
    """Returns a file without what lies behind the last segment of a native one.

    The table of sections lies there too; the header then says that there is none. A
    file that no program loads (another format, or an object for a linker) stays as it
    is.
    """
    if content[:6] != _MAGIC + _CLASS or len(content) < _HEADER.size:
        return content
    segments_at, segment_bytes, segments = _HEADER.unpack_from(content)
    table_end = segments_at + segments * segment_bytes
    if segments == 0 or segment_bytes != _SEGMENT.size or table_end > len(content):
        return content
    table = content[segments_at:table_end]
    ends = (offset + size for offset, size in _SEGMENT.iter_unpack(table))
    end = max(_HEADER.size, table_end, *ends)
    if end > len(content):
        return content
    short = bytearray(content[:end])
    short[_SECTIONS_AT] = bytes(8)
    short[_SECTIONS] = bytes(4)
    return bytes(short)
