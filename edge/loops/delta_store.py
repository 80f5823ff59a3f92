"""The deltas of a robot on its disk, and the pointers to the ones that count.

    deltas/
      delta                  the delta that control drives with
      last_good_local_delta  the one that N episodes have been driven well with
      <digest>/              whole deltas, see edge/control/local_delta.py
      quarantine/<digest>/   deltas of an earlier package, or refused by a guard

The learner alone writes here; control reads. A folder is complete before a pointer
names it, and a pointer is replaced by a rename, so a cut at any instant leaves the old
delta or the new one.
"""

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from base import canonical_json, durable_file, plain_file
from base.digest import is_sha256, sha256_bytes
from base.errors import ContinuonError, reason
from base.json_fields import Fields, decode_canonical
from edge.control import local_delta
from edge.control.local_delta import DeltaRecord, LocalDelta
from edge.errors import DeltaError
from edge.robots.robot import Vector
from release.package import PackageManifest

CURRENT: Final = "delta"
LAST_GOOD: Final = "last_good_local_delta"
QUARANTINE: Final = "quarantine"
SCHEMA_VERSION: Final = 1
KEPT: Final = 16
"""Deltas that no pointer names and that stay, to be looked at: the newest ones."""
_POINTER_BYTES: Final = 4096


class DeltaStore:
    """One robot's deltas; every method reads the disk again."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, digest: str) -> Path:
        """The folder of the delta with this digest, which need not exist."""
        return self._root / digest

    def read(self, pointer: str, package: PackageManifest) -> LocalDelta | None:
        """Reads the delta that a pointer names; None if it names none.

        Raises:
            DeltaError: the pointer or its delta is damaged, or of another package.
        """
        digest = self.named(pointer)
        if digest is None:
            return None
        return local_delta.read(self.folder(digest), package)

    def named(self, pointer: str) -> str | None:
        """The digest that a pointer names; None if it is missing or names none.

        Raises:
            DeltaError: the pointer is damaged.
        """
        path = self._root / pointer
        try:
            raw = plain_file.read(path, _POINTER_BYTES)
        except FileNotFoundError:
            return None
        except (OSError, ContinuonError) as e:
            raise _damaged(path, e) from e
        try:
            value = decode_canonical(raw, path, _POINTER_BYTES)
            fields = Fields(value, path, ("schema_version", "digest"))
            fields.version(SCHEMA_VERSION)
            return fields.sha256("digest") if fields.has("digest") else None
        except ContinuonError as e:
            raise _damaged(path, e) from e

    def keep(self, vectors: Mapping[str, Vector], record: DeltaRecord) -> str:
        """Writes a delta under its digest, and returns that; no pointer names it yet.

        Args:
            vectors: [s] f32 of every surface.
            record: its record, whose `tensors_sha256` is that of these vectors.

        Raises:
            DiskError: the disk refused; no folder of that name is left.
        """
        content, raw = local_delta.encode_vectors(vectors), record.encode()
        digest = sha256_bytes(raw)
        durable_file.make_own_folder(self._root)
        if _is_folder(self.folder(digest)):
            return digest
        _remove(self.folder(digest))
        draft = durable_file.make_folder(self._root, durable_file.LEFTOVER_PREFIX)
        try:
            durable_file.write(draft / local_delta.TENSORS, content)
            durable_file.write(draft / local_delta.RECORD, raw)
            draft.replace(self.folder(digest))
        except OSError as e:
            wanted = f"to keep {len(content)} bytes of a delta"
            raise durable_file.disk_error(self._root, wanted, e) from e
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        durable_file.fsync_folder(self._root)
        return digest

    def point(self, pointer: str, digest: str | None) -> None:
        """Makes a pointer name a delta that was kept, or none.

        Raises:
            DeltaError: there is no such delta.
            DiskError: the disk refused; the pointer names what it named before.
        """
        if (
            digest is not None
            and not (self.folder(digest) / local_delta.RECORD).exists()
        ):
            raise DeltaError(
                self._root, f"a delta {digest[:12]}", "none", "keep it before it counts"
            )
        durable_file.make_own_folder(self._root)
        value = {"schema_version": SCHEMA_VERSION, "digest": digest}
        durable_file.write_record(self._root / pointer, canonical_json.encode(value))

    def go_back(self, package: PackageManifest) -> str | None:
        """Makes control drive with the last good delta, or none if it is not whole.

        Returns:
            Digest of the delta that counts now; None for none.

        Raises:
            DiskError: the disk refused.
        """
        try:
            good = self.read(LAST_GOOD, package)
        except DeltaError:
            good = None
        digest = None if good is None else good.digest
        self.point(CURRENT, digest)
        return digest

    def set_aside(self, digest: str) -> None:
        """Moves a delta to the quarantine; pointers that name it name none first.

        Raises:
            DiskError: the disk refused.
        """
        for pointer in (CURRENT, LAST_GOOD):
            if self._names(pointer, digest):
                self.point(pointer, None)
        aside = self._root / QUARANTINE
        durable_file.make_own_folder(aside)
        target = aside / digest
        _remove(target)
        with contextlib.suppress(FileNotFoundError):
            self.folder(digest).replace(target)
        durable_file.fsync_folder(self._root)

    def list_quarantine(self) -> list[str]:
        """Returns the digests of the deltas that proved bad, the oldest name first."""
        try:
            return sorted(path.name for path in (self._root / QUARANTINE).iterdir())
        except OSError:
            return []

    def clean(self) -> None:
        """Removes leftovers of a cut, and the oldest deltas that no pointer names.

        What has the name of a delta and is no folder goes too: nobody can read it.

        A damaged pointer might name any delta, so then nothing but leftovers goes.
        """
        if not self._root.is_dir():
            return
        for path in self._root.iterdir():
            if path.name.startswith(durable_file.LEFTOVER_PREFIX) and path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
        durable_file.remove_leftovers(self._root)
        try:
            named = {self.named(pointer) for pointer in (CURRENT, LAST_GOOD)}
        except DeltaError:
            return
        for folder in (self._root, self._root / QUARANTINE):
            _remove_oldest(folder, {x for x in named if x is not None})

    def _names(self, pointer: str, digest: str) -> bool:
        try:
            return self.named(pointer) == digest
        except DeltaError:
            return True  # damaged: it may as well name none


def _remove_oldest(folder: Path, named: set[str]) -> None:
    if not folder.is_dir():
        return
    unused = []
    for path in folder.iterdir():
        if is_sha256(path.name) and path.name not in named:
            if _is_folder(path):
                unused.append((path.lstat().st_mtime_ns, path))
            else:
                _remove(path)
    for _, path in sorted(unused)[: max(0, len(unused) - KEPT)]:
        _remove(path)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove(path: Path) -> None:
    """Removes whatever has the name of a delta; a link, and not what it leads to."""
    with contextlib.suppress(OSError):
        if _is_folder(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _damaged(path: Path, error: Exception) -> DeltaError:
    return DeltaError(
        path,
        "a pointer to a delta",
        reason(error, path),
        "the robot drives without a delta; learning makes a new one",
    )
