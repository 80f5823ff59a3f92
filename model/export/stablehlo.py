"""Functions as StableHLO files, for a process that has JAX but no model code.

    exported = jax.export.deserialize(Path("functions/init.stablehlo").read_bytes())
    carry = jax.jit(exported.call)()["carry"]

One file holds the program of each platform that it is lowered for. The bytes depend on
the model's shapes, and for the step also on its backbone, but not on the machine.

Source: `jax.export`, whose files later versions of JAX read for at least six months.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.export
import numpy as np

from model.export.functions import Function

_TRACEBACK_LIMIT = "jax_traceback_in_locations_limit"


def encode(function: Function, platforms: Sequence[str]) -> bytes:
    """Makes the file of one function for platforms such as `cpu`, `cuda` and `tpu`.

    Products are lowered in full f32: by default a TPU would round their inputs to
    bfloat16 and a CUDA device to TF32, and the check on this machine would not notice.
    """
    with jax.default_matmul_precision("highest"), _without_source_locations():
        lowered = jax.export.export(jax.jit(function.run), platforms=platforms)
        return bytes(lowered(**function.inputs).serialize())


def load(content: bytes) -> Any:  # noqa: ANN401 - what jax.jit returns has no public type
    """Loads the function of a file; its first call compiles it for this machine."""
    return jax.jit(jax.export.deserialize(bytearray(content)).call)


def signature(function: Function) -> dict[str, list[dict[str, object]]]:
    """Inputs and outputs as `package.json` lists them, sorted by name."""
    outputs = jax.eval_shape(function.run, **function.inputs)
    return {"inputs": _specs(function.inputs), "outputs": _specs(outputs)}


def _specs(tree: Mapping[str, Any]) -> list[dict[str, object]]:
    return [
        {
            "name": jax.tree_util.keystr(path, simple=True, separator="/"),
            "shape": list(leaf.shape),
            "dtype": np.dtype(leaf.dtype).name,
        }
        for path, leaf in jax.tree_util.tree_leaves_with_path(dict(tree))
    ]


@contextlib.contextmanager
def _without_source_locations() -> Iterator[None]:
    """Keeps paths of this machine out of the file: equal models give equal bytes."""
    before = getattr(jax.config, _TRACEBACK_LIMIT)
    jax.config.update(_TRACEBACK_LIMIT, 0)
    try:
        yield
    finally:
        jax.config.update(_TRACEBACK_LIMIT, before)
