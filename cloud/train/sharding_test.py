"""Eight devices, or two processes, train the same model as one device.

Runs on eight simulated devices: XLA_FLAGS=--xla_force_host_platform_device_count=8.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from cloud.dataset import training_data
from cloud.errors import MeshError
from cloud.testing import train_tiny, training_episodes
from cloud.train import mesh as meshes
from cloud.train.fit import FitResult, Progress
from cloud.train.mesh import MeshShape
from cloud.train.update import Trainer
from model import step_function

UPDATES = 6
TOLERANCE = 1e-6
"""Absolute, on parameters below 1 and losses around 1. Sums over devices and parts are
taken in another order; measured after 6 updates: 1.2e-7 and 4.8e-7."""


def arrays(result: FitResult) -> dict[str, np.ndarray]:
    return step_function.weights(result.model)


def mesh_of(data: int, fsdp: int) -> jax.sharding.Mesh:
    return meshes.make(MeshShape(data, fsdp), jax.devices()[: data * fsdp])


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    assert len(jax.devices()) == 8, "set XLA_FLAGS as this file's docstring says"
    folder = tmp_path_factory.mktemp("alone")
    return train_tiny.train(folder / "saved", UPDATES, batch_size=16)


def largest_difference(one: FitResult, other: FitResult) -> float:
    assert arrays(one).keys() == arrays(other).keys()
    return max(
        float(np.abs(x - arrays(other)[name]).max()) for name, x in arrays(one).items()
    )


@pytest.mark.parametrize(
    ("data", "fsdp", "changes"),
    [
        pytest.param(8, 1, {}, id="data", marks=pytest.mark.long),
        pytest.param(1, 8, {}, id="fsdp", marks=pytest.mark.long),
        pytest.param(4, 2, {}, id="both", marks=pytest.mark.long),
        pytest.param(2, 2, {"accumulation_steps": 4}, id="both with accumulation"),
        pytest.param(
            *(1, 1, {"accumulation_steps": 8}),
            id="accumulation",
            marks=pytest.mark.long,
        ),
    ],
)
def test_sharded_training_gives_the_result_of_one_device(
    alone: FitResult, tmp_path: Path, data: int, fsdp: int, changes: dict[str, Any]
) -> None:
    result = train_tiny.train(
        tmp_path / "saved", UPDATES, mesh=mesh_of(data, fsdp), batch_size=16, **changes
    )
    assert largest_difference(alone, result) < TOLERANCE
    for mine, its in zip(result.history, alone.history, strict=True):
        for name, value in its.measured.items():
            assert mine.measured[name] == pytest.approx(value, abs=TOLERANCE), name


def test_checkpoint_of_one_mesh_continues_on_another(
    alone: FitResult, tmp_path: Path
) -> None:
    class StopError(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.update == 5:
            raise StopError

    with pytest.raises(StopError):
        train_tiny.train(
            *(tmp_path / "saved", UPDATES, stop),
            mesh=mesh_of(2, 2),
            batch_size=16,
            accumulation_steps=4,  # what another test has compiled, as is one device
        )
    result = train_tiny.train(tmp_path / "saved", UPDATES, batch_size=16)
    assert result.resumed_from == 4
    assert largest_difference(alone, result) < TOLERANCE


def test_parameters_are_sharded_along_their_largest_axis_that_the_devices_divide() -> (
    None
):
    mesh = mesh_of(2, 4)
    assert meshes.parameter_spec(mesh, (8, 16)) == PartitionSpec(None, "fsdp")
    assert meshes.parameter_spec(mesh, (16, 7)) == PartitionSpec("fsdp")
    assert meshes.parameter_spec(mesh, (4,)) == PartitionSpec("fsdp")
    assert meshes.parameter_spec(mesh, (3, 5)) == PartitionSpec()
    assert meshes.parameter_spec(mesh, ()) == PartitionSpec()


def test_each_device_keeps_its_part_of_parameters_moments_and_average() -> None:
    episodes = training_episodes.episodes(12)
    data = training_data.join_episodes(episodes, training_episodes.TASKS)
    config = train_tiny.config(UPDATES, batch_size=16).for_platform("cpu")
    state = Trainer(data, None, config, mesh_of(1, 8)).initial_state()
    kept = sum(
        x.addressable_shards[0].data.size for x in jax.tree.leaves(state)
    ) / meshes.count_numbers(state)
    assert kept < 0.2


def test_batch_that_the_devices_do_not_divide_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match=r"multiple of 8, for 8 devices.*got 4"):
        train_tiny.train(tmp_path / "saved", UPDATES, mesh=mesh_of(4, 2))
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("", MeshShape(8, 1)),
        ("data=4,fsdp=2", MeshShape(4, 2)),
        ("fsdp=8", MeshShape(1, 8)),
    ],
)
def test_mesh_is_read_from_text(text: str, shape: MeshShape) -> None:
    assert meshes.parse(text, 8) == shape


@pytest.mark.parametrize("text", ["data=4", "data=8,model=1", "data=8;", "8", "data=0"])
def test_text_that_is_not_a_mesh_of_all_devices_is_refused(text: str) -> None:
    with pytest.raises(MeshError, match="expected"):
        meshes.parse(text, 8)


@pytest.mark.long
def test_two_processes_end_with_the_parameters_of_one(
    alone: FitResult, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    output = tmp_path / "weights"
    started = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "cloud.testing.train_tiny",
                str(tmp_path / "saved"),
                str(output),
                *(str(UPDATES), "never", "16"),
            ],
            env={
                **os.environ,
                "XLA_FLAGS": os.environ["XLA_FLAGS"].replace("count=8", "count=1"),
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                train_tiny.PROCESS: f"{address}/2/{index}",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for index in range(2)
    ]
    try:
        for process in started:
            _, error = process.communicate(timeout=240)
            assert process.returncode == 0, error.decode()[-3000:]
    finally:
        for process in started:
            process.kill()
    first, second = (output.with_suffix(f".{k}").read_bytes() for k in range(2))
    assert first == second
    together = train_tiny.train(tmp_path / "saved", UPDATES, batch_size=16)
    assert together.resumed_from == UPDATES
    assert train_tiny.weights(together) == first
    assert largest_difference(alone, together) < TOLERANCE
