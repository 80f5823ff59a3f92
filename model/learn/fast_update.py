"""What a robot runs to learn between two control steps: one bounded fast update.

It changes calibration and adapters by the world-model error over the last few steps. It
takes the arrays of `weights.safetensors`, the present delta of every surface and data,
and returns deltas of its own surfaces only. The backbone is an input and never an
output, and a delta is inside its bound before it is returned, so no data can damage
either. A caller exports it like this:

    update = fast_update.make(model)
    jax.export.export(jax.jit(update))(*fast_update.inputs(model, steps=8))

The action bias and the head do not affect the world-model error: only replay, which
has actions, can correct an actuator (`model.learn.consolidation`). A sensor's bias does
not show there either. How a delta moves, and why it cannot leave its bound, is in
`model.learn.bounded_descent`.

A learner compiles `jax.jit(exported.call)` once, because a bare call of an exported
function rebuilds it every time, and keeps the weights on the device
(`jax.device_put`).

Source: learning without labels during deployment, Hansen et al. 2021, arXiv:2007.04309.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from model import array_types as at
from model import errors, losses, senses, step_function, surfaces
from model.config import WaveCoreConfig
from model.learn.bounded_descent import (
    Arrays,
    Deltas,
    Descent,
    choose,
    descend,
    finite,
    project_deltas,
)
from model.wavecore import WaveCore

FAST_SURFACES = ("calibration", "adapters")

Update = Callable[[Arrays, Deltas, Arrays], dict[str, Any]]


def make(model: WaveCore, gradient_steps: int = 1) -> Update:
    """Makes the fast update for models of this shape; weights come with each call.

    Arguments of the returned function, all f32 except `starts` and `image`:
        weights: what `step_function.weights` returns.
        deltas: present local delta [s] of every surface, by the surface's name.
        window: the last t steps, oldest first: `states` [t+1 n] raw, the last one only
            as a next state; `task` [t k]; `starts` [t] bool; `weight` [t] between 0
            and 1, 0 where the next state belongs to another episode; `carry` [c] before
            the first step; and each sense of the model under its name, `image`
            [t h w 3] u8 and `audio_mel` [t u], zeros where it was silent.

    It returns `deltas` of `FAST_SURFACES` [s]; `loss_before` and `loss_after`, the
    world-model error in typical changes of one step; `refused`, True if data, loss or
    gradient are not finite, and then the deltas are as given and both losses zero;
    `repaired`, True if a given delta was not finite or not inside its bound and was
    projected first.

    Args:
        model: gives structure and shapes.
        gradient_steps: each costs a forward and a backward pass, and one more forward
            pass checks the last.

    Raises:
        ShapeMismatchError: from the returned function, if an array is missing, unknown
            or has the wrong size.
    """
    fixed, levels = _fixed_inputs(model), model.config.skill_levels

    def fast_update(weights: Arrays, deltas: Deltas, window: Arrays) -> dict[str, Any]:
        (steps,) = _lengths(window, 1)
        expected = _window(model.config, steps)
        _check((*fixed, expected), (weights, deltas, window))
        deltas, sound = project_deltas(deltas, levels)

        def objective(mine: Deltas) -> at.Array:
            core = step_function.with_deltas(model, weights, {**deltas, **mine})
            prediction = core.sequence(
                window["states"][:-1],
                window["task"],
                window["starts"],
                window["carry"][: model.config.carry_size],
                sensed=senses.select(model.config, window),
            )
            weight = jnp.clip(window["weight"], 0.0, 1.0)
            following = window["states"][1:]
            return losses.world_model(prediction, following, core.change[...], weight)

        mine = {name: deltas[name] for name in FAST_SURFACES}
        descent = descend(objective, mine, gradient_steps)
        return _result(mine, descent, finite(window), sound)

    return fast_update


def inputs(model: WaveCore, steps: int) -> tuple[Any, ...]:
    """Shapes and types of the fast update's arguments, for a window of t = steps."""
    return (*_fixed_inputs(model), _window(model.config, steps))


def _fixed_inputs(model: WaveCore) -> tuple[Any, Any]:
    weights = {
        name: _spec(*x.shape) for name, x in step_function.weights(model).items()
    }
    prefix = step_function.SURFACE_PREFIX
    return weights, {name: weights[prefix + name] for name in surfaces.SURFACES}


def _window(sizes: WaveCoreConfig, steps: int) -> dict[str, jax.ShapeDtypeStruct]:
    return {
        "states": _spec(steps + 1, sizes.state_size),
        "task": _spec(steps, sizes.task_count),
        "starts": _spec(steps, dtype=jnp.bool),
        "weight": _spec(steps),
        "carry": _spec(sizes.step_carry_size),
        **senses.recorded_specs(sizes, steps),
    }


def _lengths(arrays: Arrays, axes: int) -> tuple[int, ...]:
    """Lengths that differ between calls, read from `starts`; ones if that is wrong."""
    shape = tuple(arrays["starts"].shape) if "starts" in arrays else ()
    return shape if len(shape) == axes else (1,) * axes


def _spec(*shape: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:  # noqa: ANN401 - jax has no public name for what it takes as a dtype
    return jax.ShapeDtypeStruct(shape, dtype)


def _check(expected: tuple[Any, ...], got: tuple[Any, ...]) -> None:
    """Compares every array's shape, because one of length 1 would be broadcast."""
    for arrays, given in zip(expected, got, strict=True):
        shapes = {name: tuple(x.shape) for name, x in given.items()}
        for name in sorted(arrays.keys() | given.keys()):
            wanted = arrays[name].shape if name in arrays else "no such array"
            if shapes.get(name) != wanted:
                raise errors.ShapeMismatchError(
                    name,
                    wanted,
                    shapes.get(name, "nothing"),
                    "use arrays of this model",
                )


def _result(
    given: Deltas,
    descent: Descent,
    data_finite: at.Array,
    sound: at.Array,
) -> dict[str, Any]:
    accepted = descent.finite & data_finite
    return {
        "deltas": choose(accepted, descent.deltas, given),
        "loss_before": jnp.where(accepted, descent.before, 0.0),
        "loss_after": jnp.where(accepted, descent.after, 0.0),
        "refused": ~accepted,
        "repaired": ~sound,
    }
