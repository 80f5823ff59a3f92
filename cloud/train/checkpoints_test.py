"""A checkpoint that this machine cannot read is not treated as a broken one.

Interrupted saves and damaged files are tested in `fit_test.py`.
"""

import contextlib
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cloud.errors import CheckpointError
from cloud.train import checkpoints, mesh
from cloud.train.update import State

IDENTITY = "a" * 64


@pytest.fixture
def state() -> State:
    where = mesh.replicate(mesh.single())
    made = {
        "updates": jnp.int32(2),
        "parameters": {"a": jnp.arange(12.0).reshape(3, 4)},
    }
    return jax.tree.map(lambda x: jax.device_put(x, where), made)


@pytest.fixture
def like(state: State) -> State:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )


@pytest.fixture
def folder(state: State, tmp_path: Path) -> Path:
    """Two whole checkpoints, of updates 1 and 2."""
    with checkpoints.Checkpoints(tmp_path / "saved", IDENTITY, pytest.fail) as saved:
        saved.save(1, state)
        saved.save(2, state)
    return tmp_path / "saved"


def files(folder: Path) -> dict[Path, bytes]:
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@contextlib.contextmanager
def open_files_left(count: int) -> Iterator[None]:
    """Limits this process to `count` more open files; works for root too."""
    kept = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + count, kept[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, kept)


@pytest.mark.parametrize("count", [0, 3], ids=["to list", "to restore"])
def test_without_open_files_nothing_is_moved_and_the_next_attempt_restores(
    folder: Path, like: State, state: State, count: int
) -> None:
    before = files(folder)
    with checkpoints.Checkpoints(folder, IDENTITY, pytest.fail) as saved:
        with (
            open_files_left(count),
            pytest.raises(CheckpointError, match="Too many open files") as caught,
        ):
            saved.read_newest(like)
        assert "ulimit -n" in str(caught.value) and "\n" not in str(caught.value)
        assert files(folder) == before
        newest = saved.read_newest(like)
    assert newest is not None
    update, restored = newest
    assert update == 2
    jax.tree.map(np.testing.assert_array_equal, restored, state)


def test_read_error_of_the_disk_moves_nothing(folder: Path, like: State) -> None:
    """The first page of a process is not mapped, so reading it gives EIO."""
    metadata = folder / "2" / "_METADATA"
    kept = metadata.read_bytes()
    metadata.unlink()
    metadata.symlink_to("/proc/self/mem")
    with checkpoints.Checkpoints(folder, IDENTITY, pytest.fail) as saved:
        with pytest.raises(
            CheckpointError, match=r"got .*Input/output.*check the disk"
        ):
            saved.read_newest(like)
        assert sorted(p.name for p in folder.iterdir() if p.is_dir()) == ["1", "2"]
        metadata.unlink()
        metadata.write_bytes(kept)
        newest = saved.read_newest(like)
    assert newest is not None and newest[0] == 2


def test_broken_checkpoint_is_moved_aside_and_the_one_before_is_used(
    folder: Path, like: State
) -> None:
    shutil.rmtree(folder / "2" / "d")
    notes: list[str] = []
    with checkpoints.Checkpoints(folder, IDENTITY, notes.append) as saved:
        newest = saved.read_newest(like)
    assert newest is not None and newest[0] == 1
    assert (folder / "2.not_whole").is_dir() and len(notes) == 1
    assert notes[0].endswith("; trying update 1")
