"""A dataset version appears whole or not at all, and is never changed afterwards.

On this machine the version is built in a folder beside its place and moved there by
one rename. In a bucket there is no such rename: the manifest, without which nothing
reads a dataset, is written last. A build that died leaves a folder `.tmp-…`, which
the next build of the same version removes once nobody holds its lock.
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

    It is on the same file system as a local destination, and is removed at the end of
    the block with whatever `move` has not taken away.
    """
    place = locations.local_folder(uri)
    if place is None:
        with tempfile.TemporaryDirectory(prefix="curate-") as name:
            yield pathlib.Path(name)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".tmp-{place.name}-"
    _remove_abandoned(place.parent, prefix)
    folder, lock = _locked_folder(place.parent, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def move(folder: pathlib.Path, uri: str) -> None:
    """Puts the built version at `uri`, where nothing stands yet.

    Raises:
        DatasetExistsError: something was put there in the meantime.
    """
    place = locations.local_folder(uri)
    if place is None:
        _upload(folder, uri)
        return
    _fsync_tree(folder)
    folder.chmod(0o755)
    try:
        # Onto a missing or an empty folder only; the kernel refuses any other.
        folder.rename(place)
    except OSError as e:
        raise DatasetExistsError(
            place,
            "no dataset there",
            e.strerror or e,
            "a version never changes, choose a new one",
        ) from e
    durable_file.fsync_folder(place.parent)


def _upload(folder: pathlib.Path, uri: str) -> None:
    target = store.open_store(uri)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    files.sort(key=lambda path: path.name == MANIFEST_FILE)
    try:
        for path in files:
            name = path.relative_to(folder).as_posix()
            data = path.read_bytes()
            if name != MANIFEST_FILE:
                # Leftovers of a build that died carry no manifest and may go.
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
        folder = pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        lock = file_lock.open_folder(folder)
        file_lock.take(lock)
        if folder.is_dir():
            return folder, lock
        os.close(lock)  # another build took it for abandoned before it was locked


def _remove_abandoned(parent: pathlib.Path, prefix: str) -> None:
    for leftover in parent.glob(f"{prefix}*"):
        try:
            lock = file_lock.open_folder(leftover)
        except OSError:
            continue  # another build has just moved or removed it
        try:
            if file_lock.try_take(lock):  # else its build still runs
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
