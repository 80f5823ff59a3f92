"""Several processes that train together, one per machine or per group of devices.

The first process decides and writes; the others only train. JAX's coordination service
ends all of them when one dies.
"""

import contextlib
import tempfile
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from cloud.errors import MeshError

_LONGEST_PATH_BYTES = 4096


def join(address: str | None, count: int, index: int) -> None:
    """Joins the processes of a run; must be called before any device is used.

    Args:
        address: host and port of the first process; `auto` on a TPU or a cluster that
            tells each process its index; None for a single process.
        count: number of processes.
        index: index of this process, from 0.

    Raises:
        MeshError: the flags disagree, or the processes do not find each other.
    """
    if address is None:
        if count > 1 or index > 0:
            raise MeshError(
                "coordinator_address",
                f"host:port of the first of {count} processes",
                "none",
            )
        return
    if index >= count:
        raise MeshError("process_index", f"below {count}", index)
    try:
        if address == "auto":
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(address, count, index)
    except (RuntimeError, ValueError) as e:
        raise MeshError(
            "coordinator_address",
            f"the processes to meet at {address}",
            " ".join(str(e).split())[:200],
            "start all of them with one address",
        ) from e


def require_shared(folder: Path | None) -> None:
    """Refuses, in all processes, a folder that they do not share.

    Each process writes its part of a checkpoint there; on separate disks no checkpoint
    would ever be whole.

    Args:
        folder: where the runs are, in the first process, which creates it; None in the
            others.

    Raises:
        MeshError: a process does not see a file that the first has written there.
    """
    if jax.process_count() == 1:
        return
    with contextlib.ExitStack() as stack:
        written = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(
                tempfile.NamedTemporaryFile(prefix=".seen-", dir=folder)
            )
            written = Path(file.name)
        probe = share_path(written)
        seen = multihost_utils.process_allgather(np.asarray(probe.is_file()))
    if not seen.all():
        blind = ", ".join(map(str, np.flatnonzero(~seen)))
        raise MeshError(
            "store",
            f"{probe.parent} to be one folder for all {len(seen)} processes",
            f"another in process {blind}",
            "name a --store that all of them see, such as a mounted bucket",
        )


def leave() -> None:
    """Leaves the group of processes; every process must call it.

    Otherwise each process would wait at its exit for the others, and JAX ends it after
    five minutes, while the first process may still be working. Arrays on a process's
    own devices, and programs that run only there, still work.

    Raises:
        MeshError: another process does not end its training.
    """
    if jax.process_count() == 1:
        return
    try:
        jax.distributed.shutdown()
    except RuntimeError as e:
        raise MeshError(
            "processes",
            "all of them to end training together",
            " ".join(str(e).split())[:200],
            "start all of them again; training resumes",
        ) from e


def share_path(path: Path | None) -> Path:
    """Returns the first process's path in every process; the others pass None."""
    if jax.process_count() == 1:
        assert path is not None  # a single process is the first
        return path
    sent = np.zeros(_LONGEST_PATH_BYTES, np.uint8)
    if path is not None:
        raw = str(path).encode()
        sent[: len(raw)] = np.frombuffer(raw, np.uint8)
    received = np.asarray(multihost_utils.broadcast_one_to_all(sent))
    return Path(received.tobytes().rstrip(b"\0").decode())
