"""What a robot runs to learn: pure functions that return new local deltas.

    fast_update         calibration and adapters, from the world-model error over the
                        last few steps; runs between two control steps
    consolidate_update  adapters, head and skill memory, from replayed memories, pulled
                        towards the last good delta; runs while the robot rests

Both take the arrays of `weights.safetensors`, the present delta of every surface and
data, and return deltas of their own surfaces only. The backbone is an input and never
an output, and a delta is inside its bound before it is returned, so no data can damage
either. A caller exports one like this:

    update = updates.make_fast(model)
    jax.export.export(jax.jit(update))(*updates.fast_inputs(model, steps=8))

The action bias and the head do not affect the world-model error: only replay, which
has actions, can correct an actuator. A sensor's bias does not show there either; a
consolidation of the calibration alone finds it. The calibration that it finds is used
to project the known episodes onto the changed robot (`model.learn.projection`), and
need not be kept: adapters and skill memory learn from both, and tell the robots apart
by what the recurrent state has seen.

The levels of the skill memory have different periods: the i-th consolidation writes
those whose period divides i, and the others keep every bit.

How a delta moves, and why it cannot leave its bound, is in
`model.learn.bounded_descent`.

A learner compiles `jax.jit(exported.call)` once, because a bare call of an exported
function rebuilds it every time, and keeps the weights on the device
(`jax.device_put`).

Sources: memories with their own periods, Behrouz et al. 2025, arXiv:2512.24695;
learning without labels during deployment, Hansen et al. 2021, arXiv:2007.04309; pull
towards known weights, Li et al. 2018, arXiv:1802.01483, section 3.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from model import array_types as at
from model import errors, losses, senses, step_function, surfaces
from model.config import WaveCoreConfig
from model.learn.bounded_descent import (
    SKILL_ARRAYS,
    SKILLS,
    Arrays,
    Deltas,
    Descent,
    choose,
    descend,
    finite,
    project_deltas,
    replay_batches,
    square_distance,
)
from model.wavecore import WaveCore

FAST_SURFACES = ("calibration", "adapters")
CONSOLIDATED_SURFACES = ("adapters", "head", SKILLS)
CALIBRATED_SURFACES = ("calibration",)

PULL = 0.1
"""Loss that is added at a distance of one bound from the last good delta."""
NEXT_SHARE = 0.1
"""Weight of the world-model error relative to the action error in replay. In training
it is 1; but that error is ten times the action's, and the small room of a bounded delta
should serve the action."""

_NO_HEADS = losses.Shares(action_scale=0.0, value=0.0)
"""These heads are part of the backbone, so nothing that a robot may change is trained
by their losses."""

FastUpdate = Callable[[Arrays, Deltas, Arrays], dict[str, Any]]
ConsolidateUpdate = Callable[[Arrays, Deltas, Deltas, Arrays], dict[str, Any]]


def make_fast(model: WaveCore, gradient_steps: int = 1) -> FastUpdate:
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
            core = _with_deltas(model, weights, {**deltas, **mine})
            prediction = core.sequence(
                window["states"][:-1],
                window["task"],
                window["starts"],
                window["carry"],
                sensed=senses.select(model.config, window),
            )
            weight = jnp.clip(window["weight"], 0.0, 1.0)
            following = window["states"][1:]
            return losses.world_model(prediction, following, core.change[...], weight)

        mine = {name: deltas[name] for name in FAST_SURFACES}
        descent = descend(objective, mine, gradient_steps)
        return _result(mine, descent, finite(window), sound)

    return fast_update


def make_consolidate(
    model: WaveCore,
    gradient_steps: int = 1,
    moved: tuple[str, ...] = CONSOLIDATED_SURFACES,
) -> ConsolidateUpdate:
    """Makes the consolidation for models of this shape; weights come with each call.

    Arguments of the returned function, all f32 except `starts`, `image` and
    `update_index`:
        weights, deltas: as for `make_fast`.
        last_good: the delta of every surface that the robot last found good.
        replay: b windows of local memories: `states` [b t+1 n] raw, `task` [b t k],
            `starts` [b t] bool, `actions` [b t a] to imitate, `action_weight` [b t]
            and `next_weight` [b t] between 0 and 1. The recurrence begins at zero, as
            an episode does: give whole episodes, one after the other in a window. A
            window that begins in the middle of an episode lacks what distinguishes this
            robot from others, so learning from it spoils what is known of the others.
            `update_index` [] i32 counts the consolidations of this robot from 0, and
            decides which levels of the skill memory are written. Each sense of the
            model is there as in a window of `make_fast`, [b t ...]. Projected memories
            keep the recorded frames and sound: a calibration has numbers only for the
            state.

    It returns what `make_fast` does, with `deltas` of the surfaces in `moved`; the
    losses are action error plus world-model error plus the pull. A level of the skill
    memory that is not due is returned bit for bit, unless it had to be repaired.

    Args:
        model: gives structure and shapes.
        gradient_steps: the windows are divided in order, b / gradient_steps to each
            step; two more forward passes over all of them judge the outcome.
        moved: surfaces that change. With `CALIBRATED_SURFACES` it finds the calibration
            of a changed robot from episodes of that robot alone; see
            `model.learn.projection`.

    Raises:
        ShapeMismatchError: from the returned function, if an array is missing, unknown
            or has the wrong size, or the windows cannot be divided evenly.
    """
    fixed, levels = _fixed_inputs(model), model.config.skill_levels

    def consolidate_update(
        weights: Arrays, deltas: Deltas, last_good: Deltas, replay: Arrays
    ) -> dict[str, Any]:
        windows, steps = _lengths(replay, 2)
        expected = _replay(model.config, windows, steps)
        _check((*fixed, fixed[1], expected), (weights, deltas, last_good, replay))
        if windows % gradient_steps:
            raise errors.ShapeMismatchError(
                "replay, first axis",
                f"a multiple of {gradient_steps}",
                windows,
                "give every gradient step the same number of windows",
            )
        deltas, sound = project_deltas(deltas, levels)
        last_good, last_good_sound = project_deltas(last_good, levels)
        due = _due_numbers(model.config, replay["update_index"])

        def objective(mine: Deltas, batch: Arrays) -> at.Array:
            core = _with_deltas(model, weights, {**deltas, **mine})
            begin = jnp.zeros((windows // gradient_steps, model.config.carry_size))
            prediction = core.sequence(
                batch["states"][:, :-1],
                batch["task"],
                batch["starts"],
                begin,
                sensed=senses.select(model.config, batch),
            )
            loss = losses.imitation(
                prediction,
                batch["actions"],
                batch["states"][:, 1:],
                core.change[...],
                jnp.clip(batch["action_weight"], 0.0, 1.0),
                jnp.clip(batch["next_weight"], 0.0, 1.0),
                NEXT_SHARE,
                shares=_NO_HEADS,
            )
            return loss.total + PULL * square_distance(mine, last_good)

        mine = {name: deltas[name] for name in moved}
        batches = {
            name: x.reshape(gradient_steps, -1, *x.shape[1:])
            for name, x in replay.items()
            if name != "update_index"
        }
        descent = replay_batches(objective, mine, batches, levels, due)
        return _result(mine, descent, finite(replay), sound & last_good_sound)

    return consolidate_update


def fast_inputs(model: WaveCore, steps: int) -> tuple[Any, ...]:
    """Shapes and types of the fast update's arguments, for a window of t = steps."""
    return (*_fixed_inputs(model), _window(model.config, steps))


def consolidate_inputs(model: WaveCore, windows: int, steps: int) -> tuple[Any, ...]:
    """Shapes and types of the consolidation's arguments; b = windows, t = steps."""
    weights, deltas = _fixed_inputs(model)
    return weights, deltas, deltas, _replay(model.config, windows, steps)


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
        "carry": _spec(sizes.carry_size),
        **senses.recorded_specs(sizes, steps),
    }


def _replay(
    sizes: WaveCoreConfig, windows: int, steps: int
) -> dict[str, jax.ShapeDtypeStruct]:
    return {
        "states": _spec(windows, steps + 1, sizes.state_size),
        "task": _spec(windows, steps, sizes.task_count),
        "starts": _spec(windows, steps, dtype=jnp.bool),
        "actions": _spec(windows, steps, sizes.action_size),
        "action_weight": _spec(windows, steps),
        "next_weight": _spec(windows, steps),
        "update_index": _spec(dtype=jnp.int32),
        **senses.recorded_specs(sizes, windows, steps),
    }


def _due_numbers(sizes: WaveCoreConfig, index: at.Array) -> Deltas:
    """For every number of the skill memory [s], True if it is written at `index`."""
    levels = index % np.array(sizes.skill_periods, np.int32) == 0
    shape = (SKILL_ARRAYS, sizes.skill_levels, sizes.skill_slots * sizes.width)
    return {SKILLS: jnp.broadcast_to(levels[:, None], shape).reshape(-1)}


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


def _with_deltas(model: WaveCore, weights: Arrays, deltas: Deltas) -> WaveCore:
    """The model of these weights with the deltas added to its surfaces."""
    names = {name: step_function.SURFACE_PREFIX + name for name in deltas}
    changed = {names[n]: weights[names[n]] + delta for n, delta in deltas.items()}
    return step_function.with_weights(model, {**weights, **changed})


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
