"""Checkpoints of training on disk, through Orbax: whole, or not used.

Orbax writes a checkpoint to a folder with a temporary name and renames it when
everything is on disk, so a killed trainer leaves a whole checkpoint or a leftover that
is never read. Buckets, and tools that copy to and from them, have no such rename, and
Orbax's own mark of a finished checkpoint is lost when it is copied (google/orbax#394).
So the content decides: each checkpoint holds a checksum of its arrays, and is whole if
every array can be read and the checksum matches, whichever tool copied its files.

Leftovers of an interrupted save are removed with a note. A checkpoint that is not whole
is moved aside with a note, and the one before it is used. If none is whole, that is an
error, because starting over would silently discard the work. A checkpoint that cannot
be read because of this machine (`cloud.train.machine_failure`) is an error too, and is
not moved.
"""

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from base import durable_file
from cloud.errors import CheckpointError
from cloud.train import machine_failure

State = Mapping[str, Any]

_IDENTITY = "identity.txt"
_CHECKSUM = "checksum"
_NOT_WHOLE = "not_whole"


class Checkpoints:
    """The checkpoints of one run, in one folder, the newest few kept.

    All processes of a run share one folder. Use it as a context manager: leaving it
    waits for the last save.
    """

    def __init__(
        self,
        folder: Path,
        identity: str,
        note: Callable[[str], None],
        keep: int = 2,
        on_whole: Callable[[Path], None] | None = None,
    ) -> None:
        """Opens or creates `folder` and removes what an interrupted save left.

        Args:
            folder: where the checkpoints of this run are.
            identity: digest of everything that decides the numbers of this run;
                checkpoints of another run are refused.
            note: called with one line about each leftover removed or moved aside.
            keep: how many of the newest checkpoints are kept.
            on_whole: called with the folder of each checkpoint when it is on disk,
                before `save` returns; None lets `save` return earlier.

        Raises:
            CheckpointError: the folder cannot be created or read, or holds checkpoints
                of another run.
        """
        self._folder, self._note, self._keep = folder.absolute(), note, keep
        self._on_whole = on_whole
        self._leads = jax.process_index() == 0
        try:
            if self._leads:
                self._folder.mkdir(parents=True, exist_ok=True)
                _remove_leftovers(self._folder, note)
                _claim(self._folder / _IDENTITY, identity)
        except OSError as e:
            raise CheckpointError(
                folder,
                "a writable folder for checkpoints",
                e.strerror,
                "choose another --store",
            ) from e
        _wait_for_all("opened")
        self._orbax = ocp.StandardCheckpointer()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._orbax.close()
        except Exception as e:
            if kind is None:
                raise self._not_written("the last checkpoint", e) from e
        if kind is None:
            self._drop_old()

    def read_newest(self, like: State) -> tuple[int, dict[str, Any]] | None:
        """Reads the newest whole checkpoint: updates done, and state; None without one.

        Args:
            like: the names, shapes, types and shardings of the state's arrays; the
                shardings may differ from those that it was saved with.

        Raises:
            CheckpointError: there are checkpoints but none is whole, or this machine
                could not read one; that one was not moved.
        """
        saved = self._list_saved()
        for index, update in reversed(list(enumerate(saved))):
            state, reason = self._read(update, like)
            if state is not None:
                return update, state
            before = f"trying update {saved[index - 1]}" if index else "none is left"
            self._set_aside(update, f"{reason}; {before}")
        if saved:
            raise CheckpointError(
                self._folder,
                "a whole checkpoint",
                f"{len(saved)} that are not, the last because {reason}",
                "copy them here again, or remove this folder to train from the start",
            )
        return None

    def save(self, update: int, state: State) -> None:
        """Starts saving; returns when the arrays are copied, before they are on disk.

        With `on_whole` it waits until the checkpoint is on disk, calls `on_whole`, and
        raises what that raises.

        Args:
            update: number of updates done.
            state: the arrays to save.

        Raises:
            CheckpointError: the checkpoint, or the one before it, was not written.
        """
        try:
            self._orbax.wait_until_finished()
            self._drop_old()
            self._orbax.save(self._folder / str(update), _copy(dict(state)))
            if self._on_whole is not None:
                self._orbax.wait_until_finished()
        except Exception as e:
            raise self._not_written(f"checkpoint {update}", e) from e
        if self._on_whole is not None:
            self._on_whole(self._folder / str(update))

    def _not_written(self, what: str, error: Exception) -> CheckpointError:
        return CheckpointError(
            self._folder,
            f"to write {what}",
            _line(error),
            "free some space and run again; training resumes",
        )

    def _read(self, update: int, like: State) -> tuple[dict[str, Any] | None, str]:
        """Returns the state if it is whole, else None and the reason.

        Raises:
            CheckpointError: this machine failed; the checkpoint may be whole.
        """
        where = jax.tree.leaves(dict(like))[0].sharding
        scalar = jax.ShapeDtypeStruct((), jnp.uint32, sharding=_replicate(where))
        target = dict(like) | {_CHECKSUM: scalar}
        try:
            restored = dict(self._orbax.restore(self._folder / str(update), target))
            stated = int(restored.pop(_CHECKSUM))
            found = int(checksum(restored))
            # Restored arrays may share memory, which must not be donated to an update.
            state = jax.block_until_ready(jax.tree.map(jnp.copy, restored))
        except Exception as e:
            if machine_failure.remedy(e) is not None:
                raise self._not_reached(f"to read checkpoint {update}", e) from e
            return None, _line(e)
        if found != stated:
            return None, f"its checksum is {found:08x} instead of {stated:08x}"
        return state, ""

    def _not_reached(self, wanted: str, error: Exception) -> CheckpointError:
        remedy = machine_failure.remedy(error) or "make the folder usable"
        return CheckpointError(
            self._folder,
            wanted,
            _line(error),
            f"{remedy} and run again; nothing was moved and training resumes",
        )

    def _set_aside(self, update: int, reason: str) -> None:
        path = self._folder / str(update)
        aside = self._folder / f"{update}.{_NOT_WHOLE}"
        if self._leads:
            shutil.rmtree(aside, ignore_errors=True)
            try:
                path.rename(aside)
            except OSError as e:
                raise self._not_reached(f"to move {path} aside", e) from e
            self._note(f"{path}: moved to {aside.name}, not whole: {reason}")
        _wait_for_all(f"set aside {update}")

    def _list_saved(self) -> list[int]:
        """Returns the number of updates of each checkpoint, ascending."""
        try:
            names = [path.name for path in self._folder.iterdir() if path.is_dir()]
        except OSError as e:
            raise self._not_reached("to list checkpoints", e) from e
        return sorted(int(name) for name in names if name.isdecimal())

    def _drop_old(self) -> None:
        if self._leads:
            for update in self._list_saved()[: -self._keep]:
                shutil.rmtree(self._folder / str(update))


def checksum(state: dict[str, Any]) -> jax.Array:
    """Returns a checksum u32 of the bits of all arrays, the same on every mesh.

    Integer sums do not depend on the order. Each word is weighted by its position, so
    that swapped words are detected.
    """
    arrays = jax.tree.leaves(state)
    return sum(_sum(x, np.uint32(2 * k + 1)) for k, x in enumerate(arrays))


@jax.jit
def _sum(x: jax.Array, salt: jax.Array) -> jax.Array:
    """Compiled once per shape, because one program for all takes long to compile."""
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    position = jnp.full(bits.shape, salt)
    for axis in range(bits.ndim):
        along = jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
        position = position * jnp.uint32(0x9E3779B1) + along
    return jnp.sum(bits * (2 * position + 1), dtype=jnp.uint32)


def _copy(state: dict[str, Any]) -> dict[str, Any]:
    """Copies the arrays, because the caller's next update reuses their buffers."""
    return jax.tree.map(jnp.copy, state) | {_CHECKSUM: checksum(state)}


def _replicate(sharding: jax.sharding.NamedSharding) -> jax.sharding.NamedSharding:
    return jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())


def _wait_for_all(what: str) -> None:
    """Waits for all processes of the run."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"checkpoints {what}")


def _claim(path: Path, identity: str) -> None:
    try:
        durable_file.create(path, f"{identity}\n".encode())
    except FileExistsError:
        pass
    else:
        return
    if (found := path.read_text(errors="replace").strip()) != identity:
        raise CheckpointError(
            path,
            f"checkpoints of this dataset and configuration ({identity[:12]})",
            f"those of another ({found[:12]})",
            "choose another run id, or remove the folder",
        )


def _remove_leftovers(folder: Path, note: Callable[[str], None]) -> None:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and re.fullmatch(r"\d+\..*tmp.*", path.name):
            shutil.rmtree(path)
            note(f"{path}: removed, an interrupted save left it unfinished")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
