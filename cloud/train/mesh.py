"""The devices of a run as a mesh, and how arrays are sharded over it.

There are two axes. The windows of an update are sharded over both; parameters, and the
moments and average of each, over `fsdp` only. So `data` multiplies the speed, and
`fsdp` also divides the memory that parameters, moments and average need on each device,
at the cost of gathering the parameters once per update.

Source: fully sharded data parallelism, Rajbhandari et al. 2020, arXiv:1910.02054,
section 5.
"""

import dataclasses
import math
import re
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from cloud.errors import MeshError

DATA, FSDP = "data", "fsdp"
AXES = (DATA, FSDP)


@dataclasses.dataclass(frozen=True)
class MeshShape:
    """Devices along each axis of the mesh."""

    data: int
    fsdp: int = 1

    def __str__(self) -> str:
        return f"data={self.data},fsdp={self.fsdp}"


def parse(text: str, device_count: int) -> MeshShape:
    """Reads `data=4,fsdp=2`; empty text puts all devices on `data`.

    Raises:
        MeshError: the text has another form, or does not name all devices.
    """
    if not text:
        return MeshShape(device_count)
    found = dict(re.findall(r"(\w+)=(\d+)", text))
    written = ",".join(f"{name}={size}" for name, size in found.items())
    if written != text or not set(found) <= set(AXES):
        raise MeshError("mesh", "a text like data=4,fsdp=2", f"{text!r}")
    shape = MeshShape(int(found.get(DATA, 1)), int(found.get(FSDP, 1)))
    if shape.data * shape.fsdp != device_count:
        raise MeshError(
            "mesh",
            f"{device_count} devices, all that are available",
            f"{text}, which is {shape.data * shape.fsdp}",
        )
    return shape


def make(shape: MeshShape, devices: Sequence[jax.Device]) -> Mesh:
    """Returns a mesh of `devices`, in which those of one process are adjacent."""
    ordered = sorted(devices, key=lambda d: (d.process_index, d.id))
    return Mesh(np.array(ordered).reshape(shape.data, shape.fsdp), AXES)


def single() -> Mesh:
    """Returns a mesh that has only the first device."""
    return make(MeshShape(1), jax.local_devices()[:1])


def check_batch(mesh: Mesh, batch_size: int, accumulation_steps: int) -> None:
    """Refuses a batch that cannot be split into equal parts on all devices.

    Raises:
        MeshError: the batch is not a multiple of the number of parts.
    """
    parts = mesh.size * accumulation_steps
    if batch_size % parts:
        raise MeshError(
            "batch_size",
            f"a multiple of {parts}, for {mesh.size} devices and "
            f"{accumulation_steps} accumulation_steps",
            batch_size,
        )


def parameter_spec(mesh: Mesh, shape: tuple[int, ...]) -> PartitionSpec:
    """Shards an array over `fsdp`, along its largest axis that the devices divide."""
    parts = mesh.shape[FSDP]
    fitting = [k for k, size in enumerate(shape) if size >= parts and size % parts == 0]
    if parts == 1 or not fitting:
        return PartitionSpec()
    axis = max(fitting, key=lambda k: shape[k])
    return PartitionSpec(*[None] * axis, FSDP)


def shardings(mesh: Mesh, tree: PyTree) -> PyTree:
    """Returns shardings of the arrays of a tree of parameters, moments or averages."""
    return jax.tree.map(
        lambda x: NamedSharding(mesh, parameter_spec(mesh, x.shape)), tree
    )


def replicate(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of an array that is whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def put(tree: PyTree, where: PyTree) -> PyTree:
    """Puts host arrays, the same in every process, on devices by sharding `where`."""
    return jax.tree.map(
        lambda x, at: jax.make_array_from_callback(
            np.shape(x), at, lambda index, x=x: np.asarray(x)[index]
        ),
        tree,
        where,
    )


def put_batch(mesh: Mesh, batch: PyTree) -> PyTree:
    """Joins every process's rows [b_local ...] into one batch [b ...] on the mesh."""
    rows = NamedSharding(mesh, PartitionSpec(AXES))
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(rows, np.asarray(x)), batch
    )


def copy_to_host(mesh: Mesh, tree: PyTree) -> PyTree:
    """Copies a tree to whole NumPy arrays; every process must call it and gets them."""
    whole = jax.jit(lambda x: x, out_shardings=replicate(mesh))(tree)
    return jax.tree.map(np.array, whole)


def count_numbers(tree: PyTree) -> int:
    """Returns how many numbers the arrays of a tree hold."""
    return sum(math.prod(x.shape) for x in jax.tree.leaves(tree))
