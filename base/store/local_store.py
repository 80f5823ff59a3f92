"""A store in a folder of this machine."""

import contextlib
import errno
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from base import durable_file, file_lock, plain_file
from base.digest import sha256_file
from base.errors import (
    DiskError,
    NotFoundError,
    ObjectError,
    OversizedError,
    PreconditionFailedError,
    StoreError,
    UnsafePathError,
)
from base.text_forms import check_relative_path

MOST_NAMES = 16_000_000
"""In one list: five for each of the three million episodes that an index has room for,
in two gigabytes."""
_LOCK = ".lock"
_TEMPORARY = ".tmp-store"
_ABOUT_ONE_FILE = frozenset(
    {
        errno.EACCES,
        errno.EEXIST,
        errno.EISDIR,
        errno.ELOOP,
        errno.EMEDIUMTYPE,  # of `plain_file`
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
        errno.ENXIO,  # a socket
        errno.EPERM,
    }
)
_FIRST_STEP_NS = 1  # doubled until the file system shows a later time


class LocalStore:
    """Objects are files below `root`; writers take turns through one lock file.

    The generation of an object is its modification time in nanoseconds. Each write
    makes it later than the one before, so data and generation change in one rename.
    Names that begin with a dot belong to the store itself and are never objects.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def uri(self) -> str:
        """The `file://` URI of the folder."""
        return self._root.absolute().as_uri()

    @property
    def root(self) -> Path:
        """The folder."""
        return self._root

    def object_path(self, path: str) -> Path:
        """Returns the file of an object, whether or not it exists.

        Raises:
            UnsafePathError: `path` is not a plain relative path, or a link on it leads
                out of the folder.
        """
        check_relative_path(path, self.uri)
        file = self._root / path
        if not file.resolve().is_relative_to(self._root.resolve()):
            raise UnsafePathError(self.uri, "a path inside the store", repr(path))
        return file

    def get(self, path: str, limit_bytes: int) -> bytes:
        """See `Store.get`."""
        with self._open(path) as descriptor:
            data = _read_up_to(descriptor, limit_bytes + 1)
        if len(data) > limit_bytes:
            raise OversizedError(
                f"{self.uri}/{path}", f"at most {limit_bytes} bytes", "more"
            )
        return data

    def get_range(self, path: str, offset: int, size_bytes: int) -> bytes:
        """See `Store.get_range`."""
        if offset < 0 or size_bytes < 0:
            raise ValueError(f"expected a range, got {offset=} {size_bytes=}")
        with self._open(path) as descriptor:
            os.lseek(descriptor, offset, os.SEEK_SET)
            return _read_up_to(descriptor, size_bytes)

    def put(
        self, path: str, data: bytes, if_generation_match: int | None = None
    ) -> int:
        """See `Store.put`."""
        file = self.object_path(path)
        try:
            _make_folders(file.parent)
            with self._hold_lock():
                current = _generation(file)
                if if_generation_match not in (None, current):
                    raise PreconditionFailedError(
                        f"{self.uri}/{path}",
                        f"generation {if_generation_match}",
                        f"generation {current}",
                    )
                return _replace(file, data, current)
        except (OSError, DiskError) as e:
            kind = ObjectError if _is_about_one_file(e) else StoreError
            raise kind(f"{self.uri}/{path}", f"to write {len(data)} bytes", e) from e

    def generation(self, path: str) -> int:
        """See `Store.generation`."""
        try:
            return _generation(self.object_path(path))
        except OSError as e:
            raise self._read_error(path, e) from e

    def list(self, prefix: str) -> tuple[str, ...]:
        """See `Store.list`."""
        folder = prefix.rpartition("/")[0]
        start = self.object_path(folder) if folder else self._root
        found: list[str] = []

        def take_unreadable(error: OSError) -> None:
            # One folder that this user may not read, such as one that was uploaded
            # under a narrow umask, is an object that cannot be read. It must be in
            # the list, and must not hide the others.
            path = Path(error.filename)
            if isinstance(error, PermissionError) and path != start:
                found.append(path.relative_to(self._root).as_posix())
            elif not isinstance(error, FileNotFoundError | NotADirectoryError):
                source, wanted = str(error.filename), "a readable folder"
                raise StoreError(source, wanted, error) from error

        for parent, folders, files in os.walk(start, onerror=take_unreadable):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in files:
                relative = Path(parent, name).relative_to(self._root).as_posix()
                if not name.startswith("."):
                    found.append(relative)
            if len(found) > MOST_NAMES:
                raise OversizedError(
                    f"{self.uri}/{prefix}", f"at most {MOST_NAMES} names", "more"
                )
        found = [path for path in found if path.startswith(prefix)]
        return tuple(sorted(found))

    def compose(
        self,
        sources: Sequence[str],
        path: str,
        if_generation_match: int | None = None,
    ) -> int:
        """See `Store.compose`."""
        parts = []
        for source in sources:
            with self._open(source) as descriptor:
                parts.append(_read_up_to(descriptor, os.fstat(descriptor).st_size))
        return self.put(path, b"".join(parts), if_generation_match)

    def digest(self, path: str, limit_bytes: int) -> str:
        """See `Store.digest`."""
        try:
            return sha256_file(self.object_path(path), limit_bytes)
        except OSError as e:
            raise self._read_error(path, e) from e

    def _read_error(self, path: str, error: OSError) -> StoreError:
        source = f"{self.uri}/{path}"
        absent = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
        if isinstance(error, absent):
            return NotFoundError(source, "an object", "none")
        kind = ObjectError if _is_about_one_file(error) else StoreError
        return kind(source, "to read the object", error.strerror)

    @contextlib.contextmanager
    def _open(self, path: str) -> Iterator[int]:
        try:
            descriptor = plain_file.open_descriptor(self.object_path(path))
        except OSError as e:
            raise self._read_error(path, e) from e
        try:
            yield descriptor
        except OSError as e:
            raise self._read_error(path, e) from e
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _hold_lock(self) -> Iterator[None]:
        """Holds the store's lock; the kernel frees it when a process dies."""
        with file_lock.hold(self._root / _LOCK):
            yield


def _is_about_one_file(error: OSError | DiskError) -> bool:
    """Tells what lies at one path from a disk or a machine that fails."""
    cause = error if isinstance(error, OSError) else error.__cause__
    return isinstance(cause, OSError) and cause.errno in _ABOUT_ONE_FILE


def _generation(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError as e:
        if e.errno != errno.ELOOP:
            raise
        # A link to itself is there; a write replaces it.
        return file.lstat().st_mtime_ns


def _read_up_to(descriptor: int, size_bytes: int) -> bytes:
    chunks = []
    missing = size_bytes
    while missing > 0 and (chunk := os.read(descriptor, min(missing, 1 << 20))):
        chunks.append(chunk)
        missing -= len(chunk)
    return b"".join(chunks)


def _make_folders(folder: Path) -> None:
    """Makes `folder` and its parents, each durable in its own parent."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        durable_file.fsync_folder(path.parent)


def _replace(file: Path, data: bytes, current: int) -> int:
    """Replaces `file` by a temporary file that is dated later than `current`.

    The caller holds the lock, so one name is enough for the temporary file of a folder.
    What a killed writer left there is replaced; listing the folder for it would make
    writing many objects take quadratic time.
    """
    temporary = file.with_name(_TEMPORARY)
    temporary.unlink(missing_ok=True)
    # The kernel takes the umask from these rights.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            generation = _date_after(temporary, current)
            os.fsync(stream.fileno())
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    durable_file.fsync_folder(file.parent)
    return generation


def _date_after(file: Path, current: int) -> int:
    """Gives `file` a modification time after `current` and returns it.

    A file system may keep coarser times than nanoseconds, so the step doubles until
    the time reads back as later.
    """
    step_ns = _FIRST_STEP_NS
    wanted = max(time.time_ns(), current + step_ns)
    while True:
        os.utime(file, ns=(wanted, wanted))
        if (seen := file.stat().st_mtime_ns) > current:
            return seen
        step_ns *= 2
        wanted = current + step_ns
