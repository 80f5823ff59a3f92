"""The robot's packages and the pointer to the active one.

    state_dir/
      current              {"channel", "digest", "previous", "release_counter", …}
      packages/<digest>/   whole, verified packages: the active and the previous one
      packages/.tmp-*      files of a running update; the next update removes leftovers

The pointer is one small file that is replaced by a rename, so that at every instant it
names one whole package, either the old one or the new one. A package folder gets its
final name only after all its bytes are on the disk.
"""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from base import canonical_json, durable_file, file_lock
from base.errors import MalformedError
from base.json_fields import Fields, decode
from edge.ota import errors
from edge.ota.decide import TEMPORARY_PREFIX, Installed, find_unused

SCHEMA_VERSION: Final = 1
_POINTER_LIMIT_BYTES: Final = 64 * 1024
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StateFolder:
    """One robot's state on disk; every method reads the disk again."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._packages = root / "packages"
        self._pointer = root / "current"

    @property
    def root(self) -> Path:
        """The folder itself."""
        return self._root

    def package_folder(self, digest: str) -> Path:
        """The folder of the package with this digest, which need not exist."""
        return self._packages / digest

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Makes the folder and locks it, until the process ends at the latest.

        Raises:
            StateFolderError: the folder cannot be made or written.
            UpdateInProgressError: another process holds it.
        """
        try:
            self._packages.mkdir(parents=True, exist_ok=True)
            descriptor = file_lock.open_file(self._root / ".lock")
        except OSError as e:
            raise self._unusable(e) from e
        try:
            if not file_lock.try_take(descriptor):
                raise errors.UpdateInProgressError(
                    self._root,
                    "no other update in this folder",
                    "one running",
                    "wait for it to end and run again",
                )
            yield
        finally:
            os.close(descriptor)

    def read_installed(self) -> Installed | None:
        """Reads the pointer; None on a robot that never had a package.

        Raises:
            StateFolderError: the pointer is malformed or not readable.
        """
        try:
            with self._pointer.open("rb") as file:
                raw = file.read(_POINTER_LIMIT_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as e:
            raise self._unusable(e) from e
        try:
            fields = Fields(
                decode(raw, self._pointer, _POINTER_LIMIT_BYTES),
                self._pointer,
                ("schema_version", "channel", "digest", "previous", "release_counter"),
            )
            fields.version(SCHEMA_VERSION)
            return Installed(
                digest=fields.sha256("digest"),
                release_counter=fields.integer("release_counter"),
                channel=fields.text("channel"),
                previous=fields.sha256("previous") if fields.has("previous") else None,
            )
        except MalformedError as e:
            raise errors.StateFolderError(
                self._pointer,
                e.expected,
                e.got,
                "keep the file for inspection and start with an empty --state_dir",
            ) from e

    def sweep(self, installed: Installed | None) -> None:
        """Removes leftovers of a crash and packages that the pointer does not name."""
        durable_file.remove_leftovers(self._root)
        names = [path.name for path in self._packages.iterdir()]
        for name in find_unused(names, installed):
            self._remove(self._packages / name)

    @contextlib.contextmanager
    def stage(self) -> Iterator[Path]:
        """Yields an empty folder and removes it with whatever is left in it.

        Raises:
            DiskFullError: the disk filled up inside the block.
        """
        folder = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=self._packages))
        try:
            with _room_for("the new package", self._packages):
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def add_package(self, staged: Path, digest: str) -> Path:
        """Moves a whole, synced package to its final name and returns that."""
        final = self.package_folder(digest)
        if final.exists():
            self._remove(final)
        staged.rename(final)
        durable_file.fsync_folder(self._packages)
        return final

    def activate(self, installed: Installed) -> None:
        """Points to a package that was added, in one durable rename.

        Raises:
            DiskFullError: there is no room for the pointer.
        """
        record = {
            "schema_version": SCHEMA_VERSION,
            "channel": installed.channel,
            "digest": installed.digest,
            "previous": installed.previous,
            "release_counter": installed.release_counter,
        }
        with _room_for("the pointer", self._pointer):
            durable_file.write(self._pointer, canonical_json.encode(record))

    def _unusable(self, error: OSError) -> errors.StateFolderError:
        return errors.StateFolderError(
            self._root,
            "a folder that this user may write to",
            os.strerror(error.errno or 0),
            "name such a folder in --state_dir",
        )

    def _remove(self, path: Path) -> None:
        """Renames, then removes: a partly removed package never has its final name."""
        if not path.name.startswith(TEMPORARY_PREFIX):
            hidden = self._packages / f"{TEMPORARY_PREFIX}{path.name}"
            _remove_tree(hidden)
            path.rename(hidden)
            path = hidden
        _remove_tree(path)


def _remove_tree(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _room_for(what: str, path: Path) -> Iterator[None]:
    """Turns the system's errors of a full disk into `DiskFullError`."""
    try:
        yield
    except OSError as e:
        if e.errno not in _FULL:
            raise
        raise errors.DiskFullError(
            path,
            f"room for {what}",
            os.strerror(e.errno or 0),
            "free space and run again, the current package stays active",
        ) from e
