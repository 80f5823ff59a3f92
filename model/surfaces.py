"""What may change after training: one variable type per surface.

The type of a variable decides who may write it. Training writes `Backbone` and
`Head`; a robot adapts only surfaces, each as one flat vector that the exported step
takes as an input, so that no local update can reach the backbone.

Every surface except `Head` has no effect at first: the model computes the same with and
without it.
"""

import math
from collections.abc import Mapping

import jax.numpy as jnp
from flax import nnx

from model import array_types as at
from model import errors


class Backbone(nnx.Variable):
    """Trained in the cloud, constant on the robot."""


class Normalisation(Backbone):
    """Measured from the training data, never trained; part of the backbone."""


class Calibration(nnx.Variable):
    """Scale and bias per input channel, bias per action channel."""


class Adapters(nnx.Variable):
    """Low-rank residual of each block; the second factor begins at zero."""


class Head(nnx.Variable):
    """Action head: trained in the cloud, adapted on the robot."""


class SkillMemory(nnx.Variable):
    """Slots read by content; the stored values begin at zero."""


SURFACES: dict[str, type[nnx.Variable]] = {
    "calibration": Calibration,
    "adapters": Adapters,
    "head": Head,
    "skill_memory": SkillMemory,
}
"""Surface name in a package to variable type, in the order of the step's inputs."""

BOUNDS: dict[str, float] = {
    "calibration": 2.0,
    "adapters": 6.0,
    "head": 1.0,
    "skill_memory": 6.0,
}
"""Largest L2 norm of a local delta per surface, in the surface's own numbers.

Calibration has room for a sensor that was mounted again: an arm whose six channels are
3 cm off needs 0.9 in the scale of the demonstrations.

Adapters and skill memory need room: within a norm of 1 a model cannot both follow a
sensor that has moved and still drive the robot as it was, within 6 it can
(docs/benchmarks.md, adaptation). The initial numbers of `pi5` have norms of 2.8 and
9.8."""

_BOUND_MARGIN = 1e-3
"""A projected delta ends this share inside its bound, so that a norm summed in
another order or precision does not find it outside."""

_LARGEST_NUMBER = 1e15
"""The sum of this number's squares, and the inverse of its norm, are normal f32."""


def named_arrays(state: nnx.State) -> dict[str, at.Array]:
    """Arrays of a state by path such as `blocks/0/wave/outward`, sorted by path."""
    flat = {"/".join(map(str, path)): v[...] for path, v in nnx.to_flat_state(state)}
    return dict(sorted(flat.items()))


def with_arrays(template: nnx.State, arrays: Mapping[str, at.Array]) -> nnx.State:
    """A state like `template` that holds `arrays`; the inverse of `named_arrays`.

    Raises:
        ShapeMismatchError: names or shapes are not those of the template.
    """
    expected = {path: x.shape for path, x in named_arrays(template).items()}
    got = {path: tuple(x.shape) for path, x in sorted(arrays.items())}
    if expected != got:
        wrong = sorted(set(expected.items()) ^ set(got.items()))
        name = wrong[0][0]
        raise errors.ShapeMismatchError(
            name,
            expected.get(name, "no such array"),
            got.get(name, "nothing"),
            "use arrays saved from a model of the same configuration",
        )
    return nnx.from_flat_state(
        [
            (path, variable.replace(arrays["/".join(map(str, path))]))
            for path, variable in nnx.to_flat_state(template)
        ]
    )


def flatten(state: nnx.State) -> at.Surface:
    """Joins the arrays of one surface into a flat vector [s], in path order."""
    return jnp.concatenate([x.reshape(-1) for x in named_arrays(state).values()])


def unflatten(vector: at.Surface, template: nnx.State) -> nnx.State:
    """Cuts a flat vector [s] into a state like `template`; inverse of `flatten`.

    Raises:
        ShapeMismatchError: the vector's length is not that of the surface.
    """
    shapes = {path: x.shape for path, x in named_arrays(template).items()}
    size = sum(math.prod(shape) for shape in shapes.values())
    if vector.shape != (size,):
        raise errors.ShapeMismatchError(
            "surface vector", (size,), vector.shape, "use the surface of this model"
        )
    pieces, start = {}, 0
    for path, shape in shapes.items():
        stop = start + math.prod(shape)
        pieces[path] = vector[start:stop].reshape(shape)
        start = stop
    return with_arrays(template, pieces)


def project_delta(
    name: str, delta: at.Surface, share: float = 1.0
) -> tuple[at.Surface, at.Array]:
    """The nearest local delta of surface `name` inside a share of its bound.

    A delta that holds NaN, infinity or a number beyond `_LARGEST_NUMBER` is unusable
    and becomes zero. One that is inside is returned bit for bit, so that a refused
    update does not change its digest.

    Shapes: delta [s] to [s] and a bool, True if the delta was kept unchanged.
    """
    plausible = jnp.all(jnp.abs(delta) < _LARGEST_NUMBER)
    delta = jnp.where(plausible, delta, 0.0)
    bound = share * BOUNDS[name]
    length, inside = jnp.linalg.norm(delta), bound * (1 - _BOUND_MARGIN)
    # Rounding may leave a delta that was projected before between `inside` and halfway
    # to the bound.
    kept = length <= bound * (1 - _BOUND_MARGIN / 2)
    projected = delta * (inside / jnp.maximum(length, inside))
    return jnp.where(kept, delta, projected), plausible & kept
