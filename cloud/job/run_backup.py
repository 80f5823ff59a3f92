"""A copy of a run in a store that is not on this machine, to continue it elsewhere.

Each checkpoint is copied as soon as it is whole, so losing the machine costs at most
the work since the last checkpoint. The same command on another machine downloads the
furthest whole checkpoint of its unfinished runs, unless `finished.json`, uploaded last,
says that the run has ended.

One machine at a time trains a run: `run_lease` sees to that.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from base import durable_file
from base.store.store import Store
from cloud.errors import CheckpointError
from cloud.job import checkpoint_store, run_folder

_RUN, _FINISHED = "run.json", "finished.json"
_NEEDED = ("losses.jsonl", "checkpoints/identity.txt")
"""What a run needs to continue, besides a checkpoint and `run.json`."""
_LIMIT_BYTES = 256 * 1024 * 1024
_NOT_COPIED = ("checkpoints", "logs", ".lock", _FINISHED)


def upload_checkpoint(store: Store, prefix: str, checkpoint: Path) -> None:
    """Uploads a whole checkpoint below `prefix`, after the files that belong to it.

    A complete checkpoint that is already there is kept: a lost machine has uploaded
    the same numbers.

    Args:
        store: where the copies of runs are.
        prefix: path of the run's copy in the store.
        checkpoint: folder of the checkpoint, in the run's folder.

    Raises:
        CheckpointError: `checkpoint` is not an Orbax checkpoint.
        StoreError: the store failed.
    """
    folder = checkpoint.parent.parent
    for name in (_RUN, *_NEEDED):
        if (folder / name).is_file():
            store.put(f"{prefix}/{name}", (folder / name).read_bytes())
    path = f"{prefix}/checkpoints/{checkpoint.name}"
    if not store.generation(f"{path}/{checkpoint_store.MANIFEST}"):
        checkpoint_store.upload(checkpoint, store, path)


def upload_results(store: Store, prefix: str, folder: Path) -> None:
    """Uploads all results of a run below `prefix`, except `finished.json`.

    Raises:
        CheckpointError, StoreError: as `upload_checkpoint`.
    """
    for path in sorted((folder / "checkpoints").iterdir()):
        if path.name.isdecimal():
            upload_checkpoint(store, prefix, path)
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and inside.parts[0] not in _NOT_COPIED:
            store.put(f"{prefix}/{inside.as_posix()}", path.read_bytes())


def upload_end(store: Store, prefix: str, folder: Path) -> None:
    """Uploads `finished.json`, which says that the run has ended.

    Raises:
        StoreError: the store failed.
    """
    store.put(f"{prefix}/{_FINISHED}", (folder / _FINISHED).read_bytes())


def fetch(
    store: Store,
    family: str,
    parent: Path,
    identity: str,
    note: Callable[[str], None],
    resume: str | None = None,
) -> None:
    """Downloads the furthest checkpoint of an identity, unless this machine has it.

    A checkpoint that is not whole is skipped. A copy without a manifest is used if
    Orbax can restore it.

    Args:
        store: where the copies of runs are.
        family: prefix of the runs in the store.
        parent: the family's folder on this machine, to which the run is downloaded.
        identity: identity of the run, see `run_folder.compute_identity`.
        note: called with one line about each checkpoint downloaded or skipped.
        resume: id of the run to download, None for any.

    Raises:
        StoreError: the store failed.
        DiskError: a file cannot be written.
    """
    here = max(
        (
            run_folder.updates_done(folder)
            for folder in run_folder.list_unfinished(parent, identity)
            if resume in (None, folder.name)
        ),
        default=0,
    )
    runs = _list_unfinished(store, family, identity)
    for done, run_id in sorted(
        (
            (done, run_id)
            for run_id, names in runs.items()
            for done in _list_saved(names)
        ),
        reverse=True,
    ):
        if resume not in (None, run_id):
            continue
        if done <= here:
            return
        prefix = f"{family}/{run_id}"
        try:
            _fetch_checkpoint(store, prefix, done, parent / run_id)
        except CheckpointError as e:
            note(f"skipped: {e}")
            continue
        _fetch_rest(store, prefix, runs[run_id], parent / run_id)
        note(f"fetched   {run_id} at update {done} from {store.uri}")
        return


def _list_unfinished(store: Store, family: str, identity: str) -> dict[str, set[str]]:
    """Returns the file names of each unfinished run, by its id."""
    found: dict[str, set[str]] = {}
    for path in store.list(f"{family}/"):
        run_id, _, name = path.removeprefix(f"{family}/").partition("/")
        found.setdefault(run_id, set()).add(name)
    return {
        run_id: names
        for run_id, names in found.items()
        if _RUN in names
        and _FINISHED not in names
        and run_folder.parse_identity(_get(store, f"{family}/{run_id}/{_RUN}"))
        == identity
    }


def _list_saved(names: set[str]) -> list[int]:
    """Returns the updates of each checkpoint, the highest first."""
    found = (re.match(r"checkpoints/(\d+)/", name) for name in names)
    return sorted({int(match[1]) for match in found if match}, reverse=True)


def _fetch_checkpoint(store: Store, prefix: str, done: int, folder: Path) -> None:
    path, into = f"{prefix}/checkpoints/{done}", folder / "checkpoints" / str(done)
    if into.exists():  # whole, from a download that was killed later
        return
    if not store.generation(f"{path}/{checkpoint_store.MANIFEST}"):
        checkpoint_store.adopt(store, path)
    checkpoint_store.fetch(store, path, into)


def _fetch_rest(store: Store, prefix: str, names: set[str], folder: Path) -> None:
    """Downloads the rest; `run.json` last, because it makes the folder a run."""
    run_folder.make_folders(folder)
    for name in (*_NEEDED, _RUN):
        if name in names:
            durable_file.write(folder / name, _get(store, f"{prefix}/{name}"))


def _get(store: Store, path: str) -> bytes:
    return store.get(path, _LIMIT_BYTES)
