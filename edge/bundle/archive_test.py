import gzip
import json
import random
import tarfile
from pathlib import Path

import pytest

from edge import errors
from edge.bundle import archive
from edge.bundle.archive import Entry

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
    first = write(tmp_path / "a.tar.gz", ENTRIES)
    assert write(tmp_path / "other" / "b.tar.gz", dict(shuffled)) == first


def test_archive_does_not_reveal_who_made_it_or_when(tmp_path: Path) -> None:
    raw = write(tmp_path / "a.tar.gz", ENTRIES)
    assert raw[4:8] == bytes(4)  # gzip's time
    assert raw[3] == 0  # gzip's flags: no name, no comment
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        for member in tar:
            assert (member.mtime, member.uid, member.gid) == (0, 0, 0)
            assert member.mode in (0o644, 0o755)


def test_unpacked_files_are_the_entries_and_the_listing_describes_them(
    tmp_path: Path,
) -> None:
    write(tmp_path / "a.tar.gz", ENTRIES)
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        tar.extractall(tmp_path / "out", filter="data")
    root = tmp_path / "out" / "continuon"
    for path, entry in ENTRIES.items():
        assert (root / path).read_bytes() == entry.content
        assert bool((root / path).stat().st_mode & 0o100) == entry.executable
    listing = json.loads((root / archive.LISTING).read_bytes())
    assert listing["target"] == "pi5-cpu"
    assert [one["path"] for one in listing["files"]] == sorted(ENTRIES)


def test_repeated_content_is_stored_once(tmp_path: Path) -> None:
    write(tmp_path / "a.tar.gz", ENTRIES)
    raw = gzip.decompress((tmp_path / "a.tar.gz").read_bytes())
    assert raw.count(LARGE) == 1


def test_native_file_for_another_processor_is_refused() -> None:
    archive.require_machine({"a": Entry(ARM, executable=False)}, "aarch64")
    with pytest.raises(errors.WrongProcessorError, match="expected code for aarch64"):
        archive.require_machine({"a": Entry(X86, executable=False)}, "aarch64")
