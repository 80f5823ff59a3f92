"""The devices of a run as a mesh, and what lies where on it.

Two axes: each step's windows are spread over both, parameters and what the optimiser
keeps of them over `fsdp` alone. So `data` multiplies speed, and `fsdp` also divides
the memory that parameters, moments and average take on each device, at the price of
gathering the parameters once per step.

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
        MeshError: the text is not of this form, or does not name all devices.
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
            f"{device_count} devices in all, as many as there are",
            f"{text}, which is {shape.data * shape.fsdp}",
        )
    return shape


def make(shape: MeshShape, devices: Sequence[jax.Device]) -> Mesh:
    """A mesh over `devices`, those of one process side by side."""
    ordered = sorted(devices, key=lambda d: (d.process_index, d.id))
    return Mesh(np.array(ordered).reshape(shape.data, shape.fsdp), AXES)


def single() -> Mesh:
    """The mesh of the first device alone."""
    return make(MeshShape(1), jax.local_devices()[:1])


def check_batch(mesh: Mesh, batch_size: int, accumulation_steps: int) -> None:
    """Refuses a batch that does not fall into equal parts on all devices.

    Raises:
        MeshError: with the numbers.
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
    """An array lies along `fsdp` on its largest axis that the devices divide."""
    parts = mesh.shape[FSDP]
    fitting = [k for k, size in enumerate(shape) if size >= parts and size % parts == 0]
    if parts == 1 or not fitting:
        return PartitionSpec()
    axis = max(fitting, key=lambda k: shape[k])
    return PartitionSpec(*[None] * axis, FSDP)


def shardings(mesh: Mesh, tree: PyTree) -> PyTree:
    """Where each array of a tree of parameters, moments or averages lies."""
    return jax.tree.map(
        lambda x: NamedSharding(mesh, parameter_spec(mesh, x.shape)), tree
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def place(tree: PyTree, where: PyTree) -> PyTree:
    """Puts host arrays, the same in every process, where `where` says."""
    return jax.tree.map(
        lambda x, at: jax.make_array_from_callback(
            np.shape(x), at, lambda index, x=x: np.asarray(x)[index]
        ),
        tree,
        where,
    )


def place_batch(mesh: Mesh, batch: PyTree) -> PyTree:
    """Joins every process's rows [b_local ...] into one batch [b ...] on the mesh."""
    rows = NamedSharding(mesh, PartitionSpec(AXES))
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(rows, np.asarray(x)), batch
    )


def on_host(mesh: Mesh, tree: PyTree) -> PyTree:
    """Whole NumPy arrays of a tree, in every process; all processes must call it."""
    whole = jax.jit(lambda x: x, out_shardings=replicated(mesh))(tree)
    return jax.tree.map(np.array, whole)


def numbers(tree: PyTree) -> int:
    """How many numbers a tree holds."""
    return sum(math.prod(x.shape) for x in jax.tree.leaves(tree))
