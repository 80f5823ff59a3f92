import json
import random
from pathlib import Path

import pytest
import zstandard

from edge import errors
from edge.bundle import archive
from edge.bundle.archive import Entry
from edge.testing import bundles

X86 = b"\x7fELF" + bytes(14) + (0x3E).to_bytes(2, "little") + bytes(44)
ARM = b"\x7fELF" + bytes(14) + (0xB7).to_bytes(2, "little") + bytes(44)
LARGE = ARM + bytes(range(256)) * 64
ENTRIES = {
    "bin/start": Entry(b"#!/bin/sh\n", executable=True),
    "lib/one.so.1": Entry(LARGE, executable=False),
    "lib/one.so.1.2": Entry(LARGE, executable=False),
    "notes/ünïcode.txt": Entry("é".encode(), executable=False),
    "code/" + "deep/" * 30 + "file.py": Entry(b"x = 1\n", executable=False),
}


def write(path: Path, entries: dict[str, Entry]) -> bytes:
    archive.write(path, "continuon", entries, {"target": "pi5-cpu"})
    return path.read_bytes()


def test_bytes_do_not_depend_on_the_order_of_entries_or_the_output_path(
    tmp_path: Path,
) -> None:
    shuffled = list(ENTRIES.items())
    random.Random(1).shuffle(shuffled)
    (tmp_path / "other").mkdir()
    first = write(tmp_path / "a.tar.zst", ENTRIES)
    assert write(tmp_path / "other" / "b.tar.zst", dict(shuffled)) == first


def test_archive_does_not_reveal_who_made_it_or_when(tmp_path: Path) -> None:
    write(tmp_path / "a.tar.zst", ENTRIES)
    with bundles.open_archive(tmp_path / "a.tar.zst") as tar:
        for member in tar:
            assert (member.mtime, member.uid, member.gid) == (0, 0, 0)
            assert member.mode in (0o644, 0o755)


def test_unpacked_files_are_the_entries_and_the_listing_describes_them(
    tmp_path: Path,
) -> None:
    write(tmp_path / "a.tar.zst", ENTRIES)
    with bundles.open_archive(tmp_path / "a.tar.zst") as tar:
        tar.extractall(tmp_path / "out", filter="data")
    root = tmp_path / "out" / "continuon"
    for path, entry in ENTRIES.items():
        assert (root / path).read_bytes() == entry.content
        assert bool((root / path).stat().st_mode & 0o100) == entry.executable
    listing = json.loads((root / archive.LISTING).read_bytes())
    assert listing["target"] == "pi5-cpu"
    assert [one["path"] for one in listing["files"]] == sorted(ENTRIES)


def test_repeated_content_is_stored_once(tmp_path: Path) -> None:
    raw = write(tmp_path / "a.tar.zst", ENTRIES)
    tar = zstandard.ZstdDecompressor().decompressobj().decompress(raw)
    assert tar.count(LARGE) == 1


def test_any_unpacker_reads_the_archive_and_its_checksum_tells_damage(
    tmp_path: Path,
) -> None:
    raw = write(tmp_path / "a.tar.zst", ENTRIES)
    # The window of all decompressors by default; a larger one must be asked for.
    assert zstandard.get_frame_parameters(raw).window_size <= 8 << 20
    assert zstandard.get_frame_parameters(raw).has_checksum
    damaged = tmp_path / "damaged.tar.zst"
    damaged.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    with (
        pytest.raises(zstandard.ZstdError, match="checksum"),
        bundles.open_archive(damaged),
    ):
        pass


def test_native_file_for_another_processor_is_refused() -> None:
    archive.require_machine({"a": Entry(ARM, executable=False)}, "aarch64")
    with pytest.raises(errors.WrongProcessorError, match="expected code for aarch64"):
        archive.require_machine({"a": Entry(X86, executable=False)}, "aarch64")
