import io
import multiprocessing
import os
import resource
import signal
import tarfile
from pathlib import Path
from typing import Any, BinaryIO, Literal, Never

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.errors import ContinuonError, MalformedError, OversizedError, UnsafePathError
from release import package_tar
from release.errors import DuplicateNameError, LinkError, UnknownFileError

LIMIT = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    (folder / "functions").mkdir(parents=True)
    (folder / "functions" / "step.tflite").write_bytes(b"s" * 513)
    (folder / "package.json").write_bytes(b"{}")
    (folder / "empty").write_bytes(b"")
    return folder


def foreign_tar(
    *entries: tuple[str, bytes, Any], mode: Literal["w", "w:gz", "w:bz2", "w:xz"] = "w"
) -> bytes:
    """Returns a tar made by Python's tarfile from (name, type, data or link target)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, kind, data in entries:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            else:
                info.linkname = data
                tar.addfile(info)
    return out.getvalue()


def raw_tar(*entries: tuple[str, bytes]) -> bytes:
    """Returns a tar with the module's own headers, with any names in any order."""
    blocks = []
    for name, data in entries:
        blocks += [package_tar._header(name, len(data)), data]
        blocks.append(bytes(-len(data) % 512))
    return b"".join(blocks) + bytes(1024)


def refused(
    raw: bytes | BinaryIO,
    tmp_path: Path,
    error: type[Exception],
    match: str = "",
    limit: int = LIMIT,
) -> None:
    """Asserts that unpacking raises `error` and leaves nothing behind."""
    parent = tmp_path / "parent"
    parent.mkdir(exist_ok=True)
    (parent / "other").write_bytes(b"other")
    with pytest.raises(error, match=match or None):
        package_tar.unpack_tar(raw, parent / "into", limit)
    assert [p.name for p in parent.iterdir()] == ["other"]
    assert (parent / "other").read_bytes() == b"other"
    assert not (tmp_path / "evil").exists()


def test_unpacking_a_packed_folder_gives_the_same_files(
    folder: Path, tmp_path: Path
) -> None:
    raw = package_tar.pack_tar(folder)
    into = package_tar.unpack_tar(raw, tmp_path / "parent" / "into", len(raw))
    files = {
        p.relative_to(into).as_posix(): p.read_bytes()
        for p in into.rglob("*")
        if p.is_file()
    }
    assert files == {
        "functions/step.tflite": b"s" * 513,
        "package.json": b"{}",
        "empty": b"",
    }
    assert [p.name for p in (tmp_path / "parent").iterdir()] == ["into"]
    assert package_tar.pack_tar(into) == raw


def test_times_modes_and_creation_order_do_not_change_the_tar(
    folder: Path, tmp_path: Path
) -> None:
    raw = package_tar.pack_tar(folder)
    again = tmp_path / "again"
    (again / "functions").mkdir(parents=True)
    for name in ("package.json", "functions/step.tflite", "empty"):
        (again / name).write_bytes((folder / name).read_bytes())
        (again / name).chmod(0o600)
        os.utime(again / name, (1, 1))
    assert package_tar.pack_tar(again) == raw


@pytest.mark.parametrize("umask", [0o077, 0o022, 0o002])
def test_what_is_unpacked_follows_the_umask(
    folder: Path, tmp_path: Path, umask: int
) -> None:
    raw = package_tar.pack_tar(folder)
    before = os.umask(umask)
    try:
        into = package_tar.unpack_tar(raw, tmp_path / "into", len(raw))
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in (into, into / "functions")}
    assert modes == {0o777 & ~umask}
    modes = {path.stat().st_mode & 0o777 for path in into.rglob("*") if path.is_file()}
    assert modes == {0o666 & ~umask}


def test_other_tools_read_the_tar(folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(package_tar.pack_tar(folder))) as tar:
        members = {m.name: (m.mode, m.uid, m.mtime, m.size) for m in tar}
        assert members == {
            "empty": (0o644, 0, 0, 0),
            "functions/step.tflite": (0o644, 0, 0, 513),
            "package.json": (0o644, 0, 0, 2),
        }


@pytest.mark.parametrize("make", ["symlink", "folder_link", "fifo"])
def test_links_and_devices_are_not_packed(folder: Path, make: str) -> None:
    if make == "symlink":
        (folder / "x").symlink_to("package.json")
    elif make == "folder_link":
        (folder / "x").symlink_to("functions")
    else:
        os.mkfifo(folder / "x")
    with pytest.raises(LinkError):
        package_tar.pack_tar(folder)


def test_an_empty_folder_is_not_packed(folder: Path) -> None:
    (folder / "nothing").mkdir()
    with pytest.raises(UnknownFileError):
        package_tar.pack_tar(folder)


@pytest.mark.parametrize(
    "name", ["/evil", "../evil", "a/../../evil", "./a", ".hidden", "a//b", ""]
)
def test_paths_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    refused(raw_tar((name, b"x")), tmp_path, UnsafePathError)


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.SYMTYPE, "b"),
        (tarfile.LNKTYPE, "b"),
        (tarfile.DIRTYPE, ""),
        (tarfile.CHRTYPE, ""),
        (tarfile.FIFOTYPE, ""),
        (tarfile.CONTTYPE, ""),
        (tarfile.GNUTYPE_SPARSE, ""),
        (tarfile.AREGTYPE, ""),
    ],
)
def test_entries_that_are_not_plain_files_are_refused(
    tmp_path: Path, kind: bytes, target: str
) -> None:
    refused(foreign_tar(("a", kind, target)), tmp_path, LinkError)


def test_a_link_with_a_file_behind_it_writes_nothing_outside(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    raw = foreign_tar(
        ("a", tarfile.SYMTYPE, str(tmp_path / "outside")),
        ("a/evil", tarfile.REGTYPE, b"x"),
    )
    refused(raw, tmp_path, LinkError)
    assert list((tmp_path / "outside").iterdir()) == []


def test_extension_headers_are_refused(tmp_path: Path) -> None:
    raw = foreign_tar(("n" * 150, tarfile.REGTYPE, b"x"))
    refused(raw, tmp_path, LinkError)


def test_duplicate_names_are_refused(tmp_path: Path) -> None:
    refused(raw_tar(("a", b"1"), ("a", b"2")), tmp_path, DuplicateNameError)


def test_a_duplicate_after_another_name_is_refused(tmp_path: Path) -> None:
    raw = raw_tar(("a", b"1"), ("b", b"2"), ("a", b"3"))
    refused(raw, tmp_path, MalformedError, "sorted order")


def test_a_name_that_is_both_a_file_and_a_folder_is_refused(tmp_path: Path) -> None:
    refused(raw_tar(("a", b"1"), ("a/b", b"2")), tmp_path, DuplicateNameError)


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_compressed_data_is_not_decompressed(
    tmp_path: Path, mode: Literal["w:gz", "w:bz2", "w:xz"]
) -> None:
    raw = foreign_tar(("a", tarfile.REGTYPE, bytes(100_000)), mode=mode)
    refused(raw, tmp_path, ContinuonError)


def test_a_harmless_tar_in_another_form_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("a")
        info.size, info.mtime = 1, 12345
        tar.addfile(info, io.BytesIO(b"x"))
    refused(out.getvalue(), tmp_path, MalformedError, "canonical header")


def test_a_tar_cut_anywhere_is_refused(folder: Path, tmp_path: Path) -> None:
    raw = package_tar.pack_tar(folder)
    for size in [*range(0, len(raw), 97), len(raw) - 1]:
        refused(raw[:size], tmp_path, MalformedError)


def test_bytes_after_the_end_are_refused(folder: Path, tmp_path: Path) -> None:
    raw = package_tar.pack_tar(folder) + b"x"
    refused(raw, tmp_path, OversizedError, "nothing after")


class _Endless(io.BytesIO):
    """A stream that yields zeros for ever after `head` and counts the bytes read."""

    def __init__(self, head: bytes) -> None:
        super().__init__(head)
        self.given = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size >= 0
        self.given += size
        return super().read(size).ljust(size, b"\0")


def test_endless_data_is_read_only_up_to_the_signed_size(tmp_path: Path) -> None:
    stream = _Endless(package_tar._header("a", 8 << 30 >> 1))
    refused(stream, tmp_path, OversizedError, "at most 100000 bytes", limit=100_000)
    assert stream.given <= 100_000


def test_endless_small_files_stop_at_the_signed_size(tmp_path: Path) -> None:
    raw = raw_tar(*((f"f{n:05}", b"x") for n in range(200)))
    refused(raw, tmp_path, OversizedError, "at most 5000 bytes", limit=5000)


def test_more_files_than_a_package_may_hold_are_refused(tmp_path: Path) -> None:
    raw = raw_tar(*((f"f{n:05}", b"") for n in range(1100)))
    refused(raw, tmp_path, OversizedError, "1024 files")


def test_an_existing_folder_stays_unchanged(folder: Path, tmp_path: Path) -> None:
    raw = package_tar.pack_tar(folder)
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "mine").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        package_tar.unpack_tar(raw, tmp_path / "into", LIMIT)
    assert [p.name for p in (tmp_path / "into").iterdir()] == ["mine"]


class _Stalled(io.BytesIO):
    """A stream that yields its bytes and then kills its process."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data:
            os.kill(os.getpid(), signal.SIGKILL)
        return data


def test_a_killed_unpacking_leaves_no_package_and_can_be_repeated(
    folder: Path, tmp_path: Path
) -> None:
    raw = package_tar.pack_tar(folder)
    parent = tmp_path / "parent"
    process = multiprocessing.get_context("fork").Process(
        target=package_tar.unpack_tar,
        args=(_Stalled(raw[:1024]), parent / "into", LIMIT),
    )
    process.start()
    process.join(timeout=60)
    assert process.exitcode == -signal.SIGKILL
    assert not (parent / "into").exists()
    package_tar.remove_leftovers(parent)
    assert list(parent.iterdir()) == []
    package_tar.unpack_tar(raw, parent / "into", LIMIT)
    package_tar.remove_leftovers(parent)
    assert [p.name for p in parent.iterdir()] == ["into"]


def _unpack_on_a_full_disk(raw: bytes, into: Path) -> Never:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256, 256))
    try:
        package_tar.unpack_tar(raw, into, LIMIT)
    except OSError:
        os._exit(7)
    os._exit(0)


def test_a_full_disk_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    raw = package_tar.pack_tar(folder)
    parent = tmp_path / "parent"
    process = multiprocessing.get_context("fork").Process(
        target=_unpack_on_a_full_disk, args=(raw, parent / "into")
    )
    process.start()
    process.join(timeout=60)
    assert process.exitcode == 7
    assert list(parent.iterdir()) == []


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_flipped_bit_gives_other_content_or_an_error_but_no_stray_file(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    tmp_path = tmp_path_factory.mktemp("flip")
    raw = bytearray(raw_tar(("a", b"one"), ("b/c", b"two")))
    index = data.draw(st.integers(0, len(raw) - 1))
    raw[index] ^= 1 << data.draw(st.integers(0, 7))
    try:
        into = package_tar.unpack_tar(bytes(raw), tmp_path / "into", len(raw))
    except ContinuonError:
        assert list(tmp_path.iterdir()) == []
        return
    content = index in range(512, 515) or index in range(1536, 1539)
    assert content
    names = sorted(
        p.relative_to(into).as_posix() for p in into.rglob("*") if p.is_file()
    )
    assert names == ["a", "b/c"]


@pytest.mark.parametrize("path", ["a", "functions/step.tflite", "a..b/c-1.json"])
def test_plain_package_paths_are_accepted(path: str) -> None:
    assert package_tar.check_package_path(path, "test") == path


@pytest.mark.parametrize("path", ["a" * 100, "a/b/c/d/e/f/g"])
def test_a_package_path_too_long_or_too_deep_is_refused(path: str) -> None:
    with pytest.raises(UnsafePathError, match="at most"):
        package_tar.check_package_path(path, "test")
