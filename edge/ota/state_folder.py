"""The robot's packages and the pointer to the active one.

    ROOT/
      current              {"channel", "digest", "previous", "release_counter", …}
      current.copy         the same, in case `current` is lost or damaged
      newest_time          the newest time that is known to have passed
      refused, starts      see refusals.py and start_count.py
      trial, health        see trial.py and health.py
      packages/<digest>/   whole, verified packages: the active and the previous one
      packages/.tmp-*      files of a running update; the next update removes leftovers

The pointer is one small file that is replaced by a rename, so that at every instant it
names one whole package, either the old one or the new one. A package folder gets its
final name only after all its bytes are on the disk. The copy is written first: it names
the same package as the pointer, or the one that is about to become active.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from base import canonical_json, durable_file, file_lock, plain_file, text_forms
from base.digest import is_sha256
from base.errors import ContinuonError, DiskError
from base.json_fields import Fields, decode
from edge.ota import errors
from edge.ota.decide import (
    TEMPORARY_PREFIX,
    UNKNOWN_CHANNEL,
    Installed,
    Origin,
    find_unused,
)

NEWEST_TIME: Final = "newest_time"
SCHEMA_VERSION: Final = 1
_LOCK: Final = ".lock"
_MOVE_AWAY: Final = "move it and its copy elsewhere: the next update writes them again"
# Written only where they say something, so that most pointers can be read by an older
# runtime, and pointers of an older runtime by this one. No origin means a channel.
_OPTIONAL: Final = ("fell_back_from", "accepted", "origin", "previous_origin")
_ORIGINS: Final = tuple(origin.value for origin in Origin)
_LIMIT_BYTES: Final = 64 * 1024  # of the pointer and of the newest time
_COUNT_LIMIT_BYTES: Final = 4096
# The newest time is written at most this often, to spare the card.
_TIME_STEP: Final = timedelta(hours=1)
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StateFolder:
    """One robot's state on disk; every method reads the disk again."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._packages = root / "packages"
        self._pointer = root / "current"
        self._copy = root / "current.copy"
        self._newest_time = root / NEWEST_TIME

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
            for folder in (self._root, self._packages):
                durable_file.set_aside_non_folder(folder)
            self._packages.mkdir(parents=True, exist_ok=True)
            durable_file.make_way(self._root / _LOCK)
            descriptor = file_lock.open_file(self._root / _LOCK)
        except OSError as e:
            raise self._unusable(e) from e
        except DiskError as e:
            raise errors.StateFolderError(e.source, e.expected, e.got, e.remedy) from e
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
        """Reads the pointer, or its copy; None on a robot that never had a package.

        Raises:
            StateFolderError: both are malformed or not readable, or one is and the
                other is absent.
        """
        try:
            found = self._read(self._pointer)
        except errors.StateFolderError as e:
            try:
                found = self._read(self._copy)
            except errors.StateFolderError:
                raise e from None
            if found is None:
                raise
            return found
        return self._read(self._copy) if found is None else found

    def mend_pointer(self) -> Installed | None:
        """Reads the pointer and writes it again if it or its copy was damaged.

        Raises:
            StateFolderError: as `read_installed`.
            DiskFullError, DiskError: it cannot be written.
        """
        installed = self.read_installed()
        for path in (self._pointer, self._copy):
            try:
                whole = self._read(path) == installed
            except errors.StateFolderError:
                whole = False
            if not whole and installed is not None:
                self._write_pointer(path, installed)
        return installed

    def _read(self, path: Path) -> Installed | None:
        try:
            with plain_file.open_stream(path) as file:
                raw = file.read(_LIMIT_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as e:
            if e.errno not in (errno.EMEDIUMTYPE, errno.EISDIR):
                raise self._unusable(e) from e
            raise errors.StateFolderError(
                path, "a file that names the active package", e.strerror, _MOVE_AWAY
            ) from e
        try:
            fields = Fields(
                decode(raw, path, _LIMIT_BYTES),
                path,
                ("schema_version", "channel", "digest", "previous", "release_counter"),
                optional=_OPTIONAL,
            )
            fields.version(SCHEMA_VERSION)
            before, bad, accepted = (
                fields.sha256(key) if fields.has(key) else None
                for key in ("previous", "fell_back_from", "accepted")
            )
            origin, previous_origin = (
                Origin(fields.one_of(key, _ORIGINS))
                if fields.has(key)
                else Origin.CHANNEL
                for key in ("origin", "previous_origin")
            )
            seed = origin is Origin.SEED
            return Installed(
                digest=fields.sha256("digest"),
                release_counter=fields.integer("release_counter"),
                channel=UNKNOWN_CHANNEL
                if seed and not fields.has("channel")
                else fields.text("channel"),
                previous=before,
                fell_back_from=bad,
                origin=origin,
                previous_origin=previous_origin,
                accepted=accepted,
            )
        except ContinuonError as e:
            raise errors.StateFolderError(path, e.expected, e.got, _MOVE_AWAY) from e

    def list_packages(self) -> tuple[str, ...]:
        """Returns the digests of the packages on the disk, whole or not."""
        try:
            names = sorted(path.name for path in self._packages.iterdir())
        except OSError:
            return ()
        return tuple(name for name in names if is_sha256(name))

    def read_newest_time(self) -> datetime | None:
        """Reads the newest time that is known to have passed; None if it was lost."""
        try:
            with plain_file.open_stream(self._newest_time) as file:
                raw = file.read(_LIMIT_BYTES + 1)
            value = decode(raw, self._newest_time, _LIMIT_BYTES)
            fields = Fields(value, self._newest_time, ("schema_version", "time"))
            fields.version(SCHEMA_VERSION)
            return text_forms.parse_time(fields.text("time"), self._newest_time)
        except (ContinuonError, OSError):
            return None  # the installed package and this software have times as well

    def raise_newest_time(self, time: datetime) -> None:
        """Keeps `time`, durably, if it is an hour later than what is kept.

        Raises:
            DiskFullError, DiskError: it cannot be written.
        """
        kept = self.read_newest_time()
        if kept is None or time - kept >= _TIME_STEP:
            value = {
                "schema_version": SCHEMA_VERSION,
                "time": text_forms.format_time(time),
            }
            with _room_for("the newest time", self._newest_time):
                durable_file.write_record(
                    self._newest_time, canonical_json.encode(value)
                )

    def sweep(self, *installed: Installed | None) -> None:
        """Removes leftovers of a crash and packages that no pointer names.

        Args:
            *installed: what the pointer says, and what it said until now: whoever
                drives may have read it a moment ago and be about to open that package.
                It goes with the next update, before that needs the room.
        """
        durable_file.remove_leftovers(self._root)
        names = [path.name for path in self._packages.iterdir()]
        for name in find_unused(names, *installed):
            self._remove(self._packages / name)

    @contextlib.contextmanager
    def stage(self) -> Iterator[Path]:
        """Yields an empty folder and removes it with whatever is left in it.

        Raises:
            DiskFullError: the disk filled up inside the block.
        """
        folder = durable_file.make_folder(self._packages, TEMPORARY_PREFIX)
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

        A damaged pointer, and whatever is in its place, is set aside for inspection.

        Raises:
            DiskFullError, DiskError: the pointer cannot be written.
        """
        for path in (self._copy, self._pointer):
            try:
                self._read(path)
            except errors.StateFolderError:
                durable_file.set_aside(path)
            self._write_pointer(path, installed)

    def _write_pointer(self, path: Path, installed: Installed) -> None:
        record: dict[str, object] = {
            "schema_version": SCHEMA_VERSION,
            "channel": installed.channel or None,
            "digest": installed.digest,
            "previous": installed.previous,
            "release_counter": installed.release_counter,
        }
        for key in ("fell_back_from", "accepted"):
            if getattr(installed, key) is not None:
                record[key] = getattr(installed, key)
        for key in ("origin", "previous_origin"):
            if getattr(installed, key) is not Origin.CHANNEL:
                record[key] = getattr(installed, key).value
        with _room_for("the pointer", path):
            durable_file.write_record(path, canonical_json.encode(record))

    def _unusable(self, error: OSError) -> errors.StateFolderError:
        return errors.StateFolderError(
            self._root,
            "a folder that this user may write to",
            error.strerror or type(error).__name__,
            "let this user write there, or name another folder",
        )

    def _remove(self, path: Path) -> None:
        """Renames, then removes: a partly removed package never has its final name."""
        if not path.name.startswith(TEMPORARY_PREFIX):
            hidden = self._packages / f"{TEMPORARY_PREFIX}{path.name}"
            _remove_tree(hidden)
            path.rename(hidden)
            path = hidden
        _remove_tree(path)


def read_counted[T](
    path: Path,
    digest: str,
    versions: tuple[int, ...],
    keys: tuple[str, ...],
    parse: Callable[[Fields], T],
    optional: tuple[str, ...] = (),
) -> T | None:
    """Reads what was counted of one package, from a small file of its own.

    Args:
        path: the file, an object with `schema_version`, `digest` and `keys`.
        digest: digest of the package.
        versions: the schema versions that can be read.
        keys: the keys that it must have beside these two.
        parse: makes the result; a `ContinuonError` says that the file is damaged.
        optional: the keys that it may have.

    Returns:
        What `parse` returned; None if the file is lost, damaged, or of another package.
    """
    try:
        raw = plain_file.read(path, _COUNT_LIMIT_BYTES)
        fields = Fields(
            decode(raw, path, _COUNT_LIMIT_BYTES),
            path,
            ("schema_version", "digest", *keys),
            optional=optional,
        )
        version = fields.integer("schema_version")
        if version not in versions or fields.sha256("digest") != digest:
            return None
        return parse(fields)
    except (ContinuonError, OSError):
        return None


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
    except (OSError, DiskError) as e:
        cause = e.__cause__ if isinstance(e, DiskError) else e
        if not isinstance(cause, OSError) or cause.errno not in _FULL:
            raise
        raise errors.DiskFullError(
            path,
            f"room for {what}",
            os.strerror(cause.errno or 0),
            "nothing changes on this robot; free space and run again",
        ) from e
