"""A run's copy in a store that is not on this machine, to go on from elsewhere.

Each checkpoint goes there as soon as it is whole, so that a machine that is taken away
takes with it no more than it did since. A machine without the run, given the same
command, fetches it with the newest whole checkpoint; `finished.json`, put last, keeps
it from that.

One machine at a time: nothing here locks a run against another machine. Two that train
it put checkpoints of equal numbers at the same places, and what they tear is found by
its digests and passed over.
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
_BESIDE = ("losses.jsonl", "checkpoints/identity.txt")
"""What a run goes on from, besides a checkpoint and `run.json`."""
_LIMIT_BYTES = 256 * 1024 * 1024
_NOT_COPIED = ("checkpoints", "logs", ".lock", _FINISHED)


def keep(store: Store, place: str, checkpoint: Path) -> None:
    """Puts a whole checkpoint below `place`, and first what belongs to it.

    One that stands there complete is left: a machine that was lost has put the same
    numbers there.

    Raises:
        CheckpointError: `checkpoint` is none of Orbax.
        ReleaseError: the store failed.
    """
    folder = checkpoint.parent.parent
    for name in (_RUN, *_BESIDE):
        if (folder / name).is_file():
            store.put(f"{place}/{name}", (folder / name).read_bytes())
    prefix = f"{place}/checkpoints/{checkpoint.name}"
    if not store.generation(f"{prefix}/{checkpoint_store.MANIFEST}"):
        checkpoint_store.upload(checkpoint, store, prefix)


def keep_results(store: Store, place: str, folder: Path) -> None:
    """Puts everything that a run came to below `place`, but not that it has ended.

    Raises:
        CheckpointError, ReleaseError: as `keep`.
    """
    for path in sorted((folder / "checkpoints").iterdir()):
        if path.name.isdecimal():
            keep(store, place, path)
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and inside.parts[0] not in _NOT_COPIED:
            store.put(f"{place}/{inside.as_posix()}", path.read_bytes())


def keep_end(store: Store, place: str, folder: Path) -> None:
    """Puts there that the run has ended.

    Raises:
        ReleaseError: the store failed.
    """
    store.put(f"{place}/{_FINISHED}", (folder / _FINISHED).read_bytes())


def fetch(
    store: Store,
    family: str,
    parent: Path,
    key: str,
    note: Callable[[str], None],
    resume: str | None = None,
) -> None:
    """Fetches the newest unfinished run of an identity, unless this machine has it.

    A checkpoint that is not whole is passed over; a copy that nobody sealed counts if
    Orbax can restore it.

    Args:
        store: where the copies of runs are.
        family: prefix of the runs in the store.
        parent: the family's folder on this machine; the run appears in it.
        key: identity of the run, as `run_folder.identity` says.
        note: told in one line what was fetched, or passed over.
        resume: the one run that is wanted, None for any.

    Raises:
        ReleaseError: the store failed.
        DiskError: a file cannot be written.
    """
    for run_id, names in _unfinished(store, family, key):
        if resume not in (None, run_id):
            continue
        if (parent / run_id / _RUN).exists():
            return
        for step in _steps(names):
            place = f"{family}/{run_id}"
            try:
                _fetch_checkpoint(store, place, step, parent / run_id)
            except CheckpointError as e:
                note(f"passed over: {e}")
                continue
            _fetch_beside(store, place, names, parent / run_id)
            note(f"fetched   {run_id} at step {step} from {store.uri}")
            return


def _unfinished(store: Store, family: str, key: str) -> list[tuple[str, set[str]]]:
    """Run id and names of the files of each, the newest first."""
    found: dict[str, set[str]] = {}
    for path in store.list(f"{family}/"):
        run_id, _, name = path.removeprefix(f"{family}/").partition("/")
        found.setdefault(run_id, set()).add(name)
    return [
        (run_id, names)
        for run_id, names in sorted(found.items(), reverse=True)
        if _RUN in names
        and _FINISHED not in names
        and run_folder.told_identity(_get(store, f"{family}/{run_id}/{_RUN}")) == key
    ]


def _steps(names: set[str]) -> list[int]:
    found = (re.match(r"checkpoints/(\d+)/", name) for name in names)
    return sorted({int(match[1]) for match in found if match}, reverse=True)


def _fetch_checkpoint(store: Store, place: str, step: int, folder: Path) -> None:
    prefix, into = f"{place}/checkpoints/{step}", folder / "checkpoints" / str(step)
    if into.exists():  # by a fetch that was killed; it appeared whole
        return
    if not store.generation(f"{prefix}/{checkpoint_store.MANIFEST}"):
        checkpoint_store.adopt(store, prefix)
    checkpoint_store.fetch(store, prefix, into)


def _fetch_beside(store: Store, place: str, names: set[str], folder: Path) -> None:
    """Brings the rest; `run.json` last, for it is what makes the folder a run."""
    run_folder.make_folders(folder)
    for name in (*_BESIDE, _RUN):
        if name in names:
            durable_file.write(folder / name, _get(store, f"{place}/{name}"))


def _get(store: Store, path: str) -> bytes:
    return store.get(path, _LIMIT_BYTES)
