"""Checkpoints of training on disk, through Orbax: whole, or not there.

Orbax writes a checkpoint into a folder of a temporary name and renames it when
everything is on disk, so a killed trainer leaves either a whole checkpoint or a
leftover that is never read. Leftovers are removed with a note when training
starts again.
"""

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from cloud.errors import CheckpointError
from rlds import durable_file

State = Mapping[str, Any]


_IDENTITY = "identity.txt"


class Checkpoints:
    """The checkpoints of one run, in one folder, the newest few kept.

    Use as a context manager: leaving it waits for the last save.
    """

    def __init__(
        self,
        folder: Path,
        identity: str,
        note: Callable[[str], None],
        keep: int = 2,
    ) -> None:
        """Opens or creates `folder` and clears what an interrupted save left.

        Args:
            folder: where the checkpoints of this run are.
            identity: digest of what decides the numbers of this run; checkpoints of
                another are refused.
            note: told in one line about each leftover removed.
            keep: how many of the newest checkpoints stay.

        Raises:
            CheckpointError: the folder cannot be made or read, or holds checkpoints
                of another run.
        """
        self._folder = folder.absolute()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(self._folder, note)
            _claim(self._folder / _IDENTITY, identity)
        except OSError as e:
            raise CheckpointError(
                f"{folder}: expected a folder for checkpoints that can be written,"
                f" got {e.strerror}; choose another --store"
            ) from e
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, enable_async_checkpointing=True
        )
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    def newest_step(self) -> int | None:
        """Step of the newest whole checkpoint, None when there is none."""
        return self._manager.latest_step()

    def save(self, step: int, state: State) -> None:
        """Starts saving; returns when the arrays are copied, not when on disk.

        The copy is made here, because the caller's next step reuses its buffers.

        Raises:
            CheckpointError: the checkpoint, or the one before it, was not written.
        """
        copy = jax.tree.map(np.array, dict(state))
        try:
            self._manager.save(step, args=ocp.args.StandardSave(copy))
        except Exception as e:
            raise CheckpointError(
                f"{self._folder}: checkpoint {step} was not written ({_line(e)});"
                " free some space and run again, training resumes"
            ) from e

    def restore(self, step: int, like: State) -> dict[str, Any]:
        """Reads one checkpoint; its arrays have names, shapes and types of `like`.

        Raises:
            CheckpointError: it does not parse, or is of another model.
        """
        target = jax.tree.map(np.zeros_like, dict(like))
        try:
            restored = self._manager.restore(
                step, args=ocp.args.StandardRestore(target)
            )
        except Exception as e:
            raise CheckpointError(
                f"{self._folder / str(step)}: expected a checkpoint of this model,"
                f" got {_line(e)}; remove this folder to resume from the one before"
            ) from e
        return jax.device_put(dict(restored))


def _claim(path: Path, identity: str) -> None:
    if not path.exists():
        durable_file.write(path, f"{identity}\n".encode())
    elif (found := path.read_text(errors="replace").strip()) != identity:
        raise CheckpointError(
            f"{path}: expected checkpoints of this dataset and configuration"
            f" ({identity[:12]}), got those of another ({found[:12]}); choose another"
            " run id, or remove the folder"
        )


def _remove_leftovers(folder: Path, note: Callable[[str], None]) -> None:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and re.fullmatch(r"\d+\..*tmp.*", path.name):
            shutil.rmtree(path)
            note(f"{path}: removed, an interrupted save left it unfinished")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
