"""Packs a package folder as a deterministic tar, and unpacks it safely.

A folder has exactly one tar: plain ustar, files only, sorted by path, mode 0644, owner
0, time 0, two zero blocks at the end. The reader accepts only that form, so it does
not have to handle compression, links, devices, sparse files or extension headers.
"""

import errno
import io
import os
import shutil
from pathlib import Path
from typing import BinaryIO

from base import durable_file
from base.errors import MalformedError, OversizedError, UnsafePathError
from base.json_fields import Source
from base.text_forms import check_relative_path
from release.errors import DuplicateNameError, LinkError, UnknownFileError
from release.limits import LIMITS

BLOCK_BYTES = 512
_END = bytes(2 * BLOCK_BYTES)
_CHUNK_BYTES = 1 << 20
_TYPE_OFFSET = 156
_SIZE = slice(124, 136)
_NAME = slice(0, 100)
_CHECKSUM = slice(148, 156)
_FILE_TYPE = b"0"
_LEFTOVER = ".tmp-unpack-"


def pack_tar(folder: Path) -> bytes:
    """Returns the tar of everything in `folder`.

    Raises:
        LinkError: something there is neither a plain file nor a folder.
        UnknownFileError: there is an empty folder.
        UnsafePathError: a package may not hold a file of that name.
        OversizedError: the tar has more bytes than a package may hold.
    """
    out = io.BytesIO()
    for path in _sorted_files(folder):
        data = (folder / path).read_bytes()
        out.write(_header(path, len(data)))
        out.write(data)
        out.write(bytes(_padding(len(data))))
        if out.tell() > LIMITS.package_bytes:
            raise OversizedError(
                folder, f"at most {LIMITS.package_bytes} bytes", "more"
            )
    out.write(_END)
    return out.getvalue()


def unpack_tar(
    raw: bytes | BinaryIO,
    into: Path,
    limit_bytes: int,
    source: Source = "package tar",
) -> Path:
    """Unpacks a tar made by `pack_tar` as the new folder `into`.

    The files are written to a temporary folder next to `into` and made durable, and
    that folder is renamed last: after an error nothing is left and `into` does not
    exist. At most `limit_bytes` are read, and one more byte to detect a longer stream.

    Returns:
        `into`.

    Raises:
        FileExistsError: `into` exists; it stays unchanged.
        OversizedError: the stream has more than `limit_bytes`.
        MalformedError: the tar is truncated or not in the form that `pack_tar` writes.
        UnsafePathError: a name is absolute, has `..`, or is not plain.
        LinkError: an entry is not a plain file.
        DuplicateNameError: a name occurs twice.
    """
    if into.exists() or into.is_symlink():
        raise FileExistsError(
            errno.EEXIST, "the folder to unpack into exists", str(into)
        )
    into.parent.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO(raw) if isinstance(raw, bytes) else raw
    temporary = durable_file.make_folder(into.parent, _LEFTOVER)
    try:
        _extract(_Bounded(stream, limit_bytes, source), temporary, source)
        _fsync_folders(temporary)
        temporary.rename(into)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    durable_file.fsync_folder(into.parent)
    return into


def remove_leftovers(folder: Path) -> None:
    """Removes the leftovers of killed unpackings; none may be running in `folder`.

    Raises:
        OSError: something cannot be removed.
    """
    for leftover in folder.glob(f"{_LEFTOVER}*"):
        shutil.rmtree(leftover)


class _Bounded:
    """Reads exact sizes from a stream, and never more than the limit in total."""

    def __init__(self, stream: BinaryIO, limit_bytes: int, source: Source) -> None:
        self._stream = stream
        self._left = limit_bytes
        self._limit_bytes = limit_bytes
        self._source = source

    def read_exactly(self, size_bytes: int) -> bytes:
        if size_bytes > self._left:
            raise OversizedError(
                self._source, f"at most {self._limit_bytes} bytes", "more"
            )
        chunks = []
        missing = size_bytes
        while missing and (chunk := self._stream.read(missing)):
            chunks.append(chunk)
            missing -= len(chunk)
        if missing:
            raise MalformedError(
                self._source, f"{missing} bytes more", "the end of the file"
            )
        self._left -= size_bytes
        return b"".join(chunks)

    def check_end(self) -> None:
        if self._stream.read(1):
            raise OversizedError(
                self._source, "nothing after the two closing blocks", "more bytes"
            )


def _extract(stream: _Bounded, folder: Path, source: Source) -> None:
    last = ""
    count = 0
    while (block := stream.read_exactly(BLOCK_BYTES)) != bytes(BLOCK_BYTES):
        path, size_bytes = _parse_header(block, source)
        if path == last:
            raise DuplicateNameError(source, "each name once", path)
        if path < last:
            raise MalformedError(
                source, "names in sorted order", f"{path} after {last}"
            )
        count += 1
        if count > LIMITS.files:
            raise OversizedError(source, f"at most {LIMITS.files} files", "more")
        _extract_file(stream, folder / path, size_bytes, source)
        last = path
    if stream.read_exactly(BLOCK_BYTES) != bytes(BLOCK_BYTES):
        raise MalformedError(source, "two closing blocks", "one")
    stream.check_end()


def _extract_file(
    stream: _Bounded, file: Path, size_bytes: int, source: Source
) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        out = file.open("xb")
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as e:
        raise DuplicateNameError(
            source, "no name that is both a file and a folder", file.name
        ) from e
    with out:
        missing = size_bytes
        while missing:
            chunk = stream.read_exactly(min(missing, _CHUNK_BYTES))
            out.write(chunk)
            missing -= len(chunk)
        if any(stream.read_exactly(_padding(size_bytes))):
            raise MalformedError(source, "zero padding", "other bytes")
        out.flush()
        os.fsync(out.fileno())


def _parse_header(block: bytes, source: Source) -> tuple[str, int]:
    """Returns name and size of an entry whose header is the one `_header` writes."""
    kind = block[_TYPE_OFFSET : _TYPE_OFFSET + 1]
    try:
        path = block[_NAME].rstrip(b"\0").decode("ascii")
        size_bytes = int(block[_SIZE].rstrip(b"\0 ") or b"x", 8)
    except ValueError as e:
        raise MalformedError(source, "a ustar header", "other bytes") from e
    if kind != _FILE_TYPE:
        raise LinkError(
            source, "entries that are plain files", f"type {kind!r} for {path!r}"
        )
    check_package_path(path, source)
    if size_bytes < 0 or block != _header(path, size_bytes):
        raise MalformedError(source, f"the canonical header of {path}", "another")
    return path, size_bytes


def _header(path: str, size_bytes: int) -> bytes:
    """Returns the ustar header of a plain file.

    Source: POSIX.1-2017, pax, "ustar Interchange Format".
    """
    block = bytearray(BLOCK_BYTES)
    block[_NAME] = path.encode("ascii").ljust(100, b"\0")
    block[100:108] = b"0000644\0"
    block[108:116] = b"0000000\0"
    block[116:124] = b"0000000\0"
    block[_SIZE] = b"%011o\0" % size_bytes
    block[136:148] = b"00000000000\0"
    block[_CHECKSUM] = b" " * 8
    block[_TYPE_OFFSET : _TYPE_OFFSET + 1] = _FILE_TYPE
    block[257:265] = b"ustar\x0000"
    block[_CHECKSUM] = b"%06o\0 " % sum(block)
    return bytes(block)


def _padding(size_bytes: int) -> int:
    return -size_bytes % BLOCK_BYTES


def _sorted_files(folder: Path) -> list[str]:
    found = []
    for parent, folders, files in os.walk(folder):
        for name in folders:
            if Path(parent, name).is_symlink():
                raise LinkError(Path(parent, name), "a folder", "a symbolic link")
            if not any(Path(parent, name).iterdir()):
                raise UnknownFileError(
                    Path(parent, name), "no empty folder", "an empty folder"
                )
        for name in files:
            file = Path(parent, name)
            if file.is_symlink() or not file.is_file():
                raise LinkError(file, "a plain file", "a link or special file")
            found.append(
                check_package_path(file.relative_to(folder).as_posix(), folder)
            )
    return sorted(found)


def _fsync_folders(folder: Path) -> None:
    for parent, _, _ in os.walk(folder, topdown=False):
        durable_file.fsync_folder(Path(parent))


def check_package_path(path: str, source: str | Path) -> str:
    """Returns `path` if a package may hold a file of that name.

    Raises:
        UnsafePathError: it is not a plain relative path, is too long, or too deep.
    """
    check_relative_path(path, source)
    if len(path) > LIMITS.path_chars or path.count("/") >= LIMITS.path_depth:
        raise UnsafePathError(
            source,
            f"at most {LIMITS.path_chars} characters and {LIMITS.path_depth} segments",
            repr(path),
        )
    return path
