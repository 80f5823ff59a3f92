"""Checks whether a training run can succeed, before any data are read.

It must fit into the memory of the devices, and the robot that evaluates the model must
have every sense that the model reads.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import jax

from cloud.errors import BlindRobotError, MemoryShortError
from cloud.train.config import TrainConfig
from cloud.train.mesh import MeshShape
from model import memory_estimate, senses
from model.config import Dtype, PresetTraining, WaveCoreConfig

_CGROUPS = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)
"""Limit and usage of memory in control groups, version 2 and 1, in /sys/fs/cgroup."""

_UNLIMITED = (2**63, "available")


def require_memory(
    config: TrainConfig,
    model: WaveCoreConfig,
    mesh: MeshShape,
    devices: Sequence[jax.Device],
) -> None:
    """Refuses a preset that does not fit on the devices of this process.

    Args:
        config: how the model is trained, with the dtype decided.
        model: sizes of the model.
        mesh: how the batch and the parameters are sharded.
        devices: the devices of this process.

    Raises:
        MemoryShortError: states needed and available memory, and what lowers the need.
    """
    needed = needed_bytes(config, model, mesh)
    available, where = available_bytes(devices[0])
    if devices[0].platform == "cpu":
        needed *= len(devices)
    if needed > available:
        raise MemoryShortError(
            f"preset {config.preset}",
            f"{needed / 1e9:.2f} GB of memory for batches of {config.batch_size} x "
            f"{config.sequence_length} steps on a mesh of {mesh}",
            f"{available / 1e9:.2f} GB {where}",
            "raise --accumulation_steps, set --remat=on, lower --batch_size or "
            "--sequence_length, or choose a smaller --preset",
        )


def needed_bytes(config: TrainConfig, model: WaveCoreConfig, mesh: MeshShape) -> int:
    """Estimates the bytes that one device needs, with `model.memory_estimate`."""
    whole = memory_estimate.estimate(
        model,
        PresetTraining(
            compute_dtype=cast(Dtype, config.compute_dtype),
            accumulation_steps=config.accumulation_steps,
            remat=config.remat == "on",
            batch_size=config.batch_size,
            sequence_length=config.sequence_length,
            learning_rate=config.learning_rate,
        ),
    )
    kept = whole.parameters_bytes + whole.optimizer_bytes + whole.average_bytes
    gathered = whole.parameters_bytes if mesh.fsdp > 1 else 0
    activations = whole.activations_bytes // (mesh.data * mesh.fsdp)
    return kept // mesh.fsdp + gathered + whole.gradients_bytes + activations


def available_bytes(device: jax.Device, root: Path = Path("/")) -> tuple[int, str]:
    """Returns the free bytes of a device, on a CPU of this process, and where."""
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        free = stats["bytes_limit"] - stats.get("bytes_in_use", 0)
        return free, f"free on {device.device_kind}"
    found = [_machine_bytes(root), *(_cgroup_bytes(root, *n) for n in _CGROUPS)]
    return min(found, key=lambda pair: pair[0])


def _machine_bytes(root: Path) -> tuple[int, str]:
    for line in (root / "proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024, "available on this machine"
    return _UNLIMITED


def _cgroup_bytes(root: Path, limit: str, used: str) -> tuple[int, str]:
    folder = root / "sys/fs/cgroup"
    try:
        allowed = int((folder / limit).read_text())
        taken = int((folder / used).read_text())
    except (OSError, ValueError):  # another version, or the limit is "max"
        return _UNLIMITED
    stat = (folder / limit).with_name("memory.stat")
    free = allowed - taken + _reclaimable(stat)
    return free, f"left below this container's limit of {allowed / 1e9:.2f} GB"


def _reclaimable(stat: Path) -> int:
    """Returns the bytes of file cache, which the kernel frees when memory is short."""
    try:
        lines = [line.split() for line in stat.read_text().splitlines()]
    except OSError:
        return 0
    return sum(int(v) for name, v in lines if name in ("inactive_file", "active_file"))


def require_senses(
    model: WaveCoreConfig, environment: str, *, simulated: bool = True
) -> None:
    """Refuses a model that nothing here can evaluate.

    Whether a simulated robot has the senses of the dataset is asked of the robot
    (`cloud.evaluate.evaluating_robot`).

    Args:
        model: the model to train.
        environment: what will evaluate it: a kind of simulated robot, or a replay.
        simulated: whether it is a robot.

    Raises:
        BlindRobotError: the model reads a sense that the robot lacks.
    """
    names = [] if simulated else list(senses.shapes(model))
    if names:
        raise BlindRobotError(
            "dataset",
            f"a robot with {' and '.join(names)} to evaluate the model on",
            f"{environment}, which has none",
            "train with --nosenses if the state is enough for the tasks, or on "
            "another dataset",
        )
