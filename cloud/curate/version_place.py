"""A dataset version appears whole or not at all, and is never changed afterwards.

On this machine the version is built in a folder beside its destination and moved there
with one rename. A bucket has no such rename, so the manifest, without which no program
reads a dataset, is written last. A build that was killed leaves a folder `.tmp-…`;
the next build of the same version removes it unless its lock is held.
"""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from base import durable_file, file_lock
from base.errors import PreconditionFailedError
from base.store import store
from cloud import locations
from cloud.dataset.version import MANIFEST_FILE
from cloud.errors import DatasetExistsError


@contextlib.contextmanager
def build_folder(uri: str) -> Iterator[pathlib.Path]:
    """Yields an empty folder in which to build the version that goes to `uri`.

    It is on the same file system as a local destination. At the end of the block it is
    removed, with anything that `move` has not moved out of it.
    """
    destination = locations.local_folder(uri)
    if destination is None:
        with tempfile.TemporaryDirectory(prefix="curate-") as name:
            yield pathlib.Path(name)
        return
    destination.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".tmp-{destination.name}-"
    _remove_abandoned(destination.parent, prefix)
    folder, lock = _locked_folder(destination.parent, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def move(folder: pathlib.Path, uri: str) -> None:
    """Moves the built version to `uri`, where there must be no version yet.

    Raises:
        DatasetExistsError: there is already something at `uri`.
    """
    destination = locations.local_folder(uri)
    if destination is None:
        _upload(folder, uri)
        return
    _fsync_tree(folder)
    try:
        # The kernel refuses this unless the destination is missing or an empty folder.
        folder.rename(destination)
    except OSError as e:
        raise DatasetExistsError(
            destination,
            "no dataset there",
            e.strerror or e,
            "a version never changes, choose a new one",
        ) from e
    durable_file.fsync_folder(destination.parent)


def _upload(folder: pathlib.Path, uri: str) -> None:
    target = store.open_store(uri)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    files.sort(key=lambda path: path.name == MANIFEST_FILE)
    try:
        for path in files:
            name = path.relative_to(folder).as_posix()
            data = path.read_bytes()
            if name != MANIFEST_FILE:
                # What a killed build left has no manifest and may be overwritten.
                target.put(name, data)
            else:
                target.put(name, data, if_generation_match=0)
    except PreconditionFailedError as e:
        raise DatasetExistsError(
            uri,
            "no dataset there",
            "one with a manifest",
            "a version never changes, choose a new one",
        ) from e


def _locked_folder(parent: pathlib.Path, prefix: str) -> tuple[pathlib.Path, int]:
    while True:
        folder = durable_file.make_folder(parent, prefix)
        lock = file_lock.open_folder(folder)
        file_lock.take(lock)
        if folder.is_dir():
            return folder, lock
        os.close(lock)  # another build removed it as abandoned before it was locked


def _remove_abandoned(parent: pathlib.Path, prefix: str) -> None:
    for leftover in parent.glob(f"{prefix}*"):
        try:
            lock = file_lock.open_folder(leftover)
        except OSError:
            continue  # another build has just moved or removed it
        try:
            if file_lock.try_take(lock):  # otherwise its build is still running
                shutil.rmtree(leftover, ignore_errors=True)
        finally:
            os.close(lock)


def _fsync_tree(folder: pathlib.Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            durable_file.fsync_folder(path)
        else:
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
    durable_file.fsync_folder(folder)
