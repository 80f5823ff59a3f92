"""What a robot runs to learn: pure functions that return new local deltas.

    fast_update         calibration and adapters, from the world-model error over the
                        last few steps; runs between two control steps
    consolidate_update  adapters, head and skill memory, from replayed memories, pulled
                        towards the last good delta; runs while the robot rests

Both take the arrays of `weights.safetensors`, the present delta of every surface and
data, and return deltas of their own surfaces only. The backbone is an input and no
output, and a delta is inside its bound before it is returned, so whatever the data
are, neither can be lost. A caller exports one like this:

    update = updates.make_fast(model)
    jax.export.export(jax.jit(update))(*updates.fast_inputs(model, steps=8))

Each gradient step has a length that does not depend on the size of the gradient: a
sensor that breaks gives large gradients, and they must not move a robot further than
small ones. What does not reduce the loss is not taken: of the fast update each step,
and the next one is half as long; of the consolidation all its steps together, judged
on everything that was replayed.

Calibration and adapters must move together in the right proportion within a few steps,
so the fast update follows the gradient itself. Replay has time for many small steps,
and scales each number by the size of its own gradients: with one length for a whole
surface the few numbers with large gradients use it up, and a robot whose sensor had
moved lost success instead of winning it back (docs/benchmarks.md).

The action bias and the head have no part in the world-model error: only replay, which
knows actions, can correct an actuator. A bias of a sensor shows there no more, and a
consolidation of the calibration alone finds it. What it finds serves to imagine the
known episodes on the changed robot (`model.imagined`), and need not be kept: adapters
and skill memory learn from both, and tell the robots apart by what is remembered.

The levels of the skill memory are written at different periods: at the i-th
consolidation those whose period divides i, and the others keep every bit. Each level
has a bound of its own, so that a fast one cannot take the room of a slow one.

A learner compiles `jax.jit(exported.call)` once, since a bare call of an exported
function builds it anew, and keeps the weights on the device (`jax.device_put`).

Sources: memories at periods of their own, Behrouz et al. 2025, arXiv:2512.24695;
learning from what needs no labels, during deployment, Hansen et al. 2021,
arXiv:2007.04309; normalised gradient, Hazan et al. 2015, arXiv:1507.02030, algorithm
1; length halved on failure, Nocedal and Wright 2006, Numerical Optimization,
algorithm 4.1; step per number, Kingma and Ba 2015, arXiv:1412.6980, algorithm 1; pull
towards known weights, Li et al. 2018, arXiv:1802.01483, section 3.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from model import array_types as at
from model import errors, losses, step_function, surfaces
from model.config import WaveCoreConfig
from model.wavecore import WaveCore

_SKILLS = "skill_memory"
_SKILL_ARRAYS = 2
"""Keys [l m d], then values [l m d]: the skill memory as a flat vector."""

FAST_SURFACES = ("calibration", "adapters")
CONSOLIDATED_SURFACES = ("adapters", "head", _SKILLS)
CALIBRATED_SURFACES = ("calibration",)

FAST_STEP = 0.03
"""Length of the first gradient step, in units of `FAST_REACH`. A window of a few steps
is noisy, and there is an update at every control step."""
FAST_REACH = {"calibration": 0.5, "adapters": 1.0}
"""L2 norm by which a fast step of length one would move each surface. Adapters have a
larger bound than this, which only replay of many windows has reason to use."""
CONSOLIDATION_STEP = 0.02
"""The most that the first of several steps of replay moves a surface; the last ones
move it hardly at all, so that the noise of single minibatches is averaged out."""
MEAN_DECAY, SQUARE_DECAY = 0.9, 0.99
"""Decay per step of the gradient's running mean and mean square during replay."""
PULL = 0.1
"""Loss added at a distance of one bound from the last good delta."""
NEXT_SHARE = 0.1
"""Weight of the world-model error beside the action error in replay. In training it is
1; but that error is ten times the action's, and the little room of a bounded delta
belongs to the action."""

_TINY_GRADIENT = 1e-8
"""Gradients below this count as none."""

_NO_HEADS = losses.Shares(action_scale=0.0, value=0.0)
"""Nothing that a robot may change can improve what these heads say."""

Arrays = Mapping[str, at.Array]
Deltas = dict[str, at.Surface]
Objective = Callable[[Deltas], at.Array]
ReplayObjective = Callable[[Deltas, Arrays], at.Array]
FastUpdate = Callable[[Arrays, Deltas, Arrays], dict[str, Any]]
ConsolidateUpdate = Callable[[Arrays, Deltas, Deltas, Arrays], dict[str, Any]]


def make_fast(model: WaveCore, gradient_steps: int = 1) -> FastUpdate:
    """The fast update of models like `model`, none of whose numbers it keeps.

    Arguments of the function made, all f32 but for `starts`:
        weights: what `step_function.weights` returns.
        deltas: present local delta [s] of every surface, by the surface's name.
        window: the last t steps, oldest first: `states` [t+1 n] raw, the last one only
            as a next state; `task` [t k]; `starts` [t] bool; `weight` [t] between 0
            and 1, 0 where the next state is of another episode; `carry` [c] before
            the first step.

    It returns `deltas` of `FAST_SURFACES` [s]; `loss_before` and `loss_after`, the
    world-model error in typical changes of one step; `refused`, True when data, loss
    or gradient are not finite, and then the deltas are as given and both losses zero;
    `repaired`, True when a given delta was not finite or not in its bound and was
    projected first.

    Args:
        model: gives structure and shapes.
        gradient_steps: each costs a forward and a backward pass, and one further
            forward pass checks the last.

    Raises:
        ShapeMismatchError: by the function made, when an array is missing, unknown or
            of a wrong size.
    """
    fixed, levels = _fixed_inputs(model), model.config.skill_levels

    def fast_update(weights: Arrays, deltas: Deltas, window: Arrays) -> dict[str, Any]:
        (steps,) = _lengths(window, 1)
        expected = _window(model.config, steps)
        _check((*fixed, expected), (weights, deltas, window))
        deltas, sound = _projected(deltas, levels)

        def objective(mine: Deltas) -> at.Array:
            core = _adapted(model, weights, {**deltas, **mine})
            prediction = core.sequence(
                window["states"][:-1],
                window["task"],
                window["starts"],
                window["carry"],
            )
            weight = jnp.clip(window["weight"], 0.0, 1.0)
            following = window["states"][1:]
            return losses.world_model(prediction, following, core.change[...], weight)

        mine = {name: deltas[name] for name in FAST_SURFACES}
        descended = _descend(objective, mine, FAST_STEP, gradient_steps)
        return _result(mine, descended, _finite(window), sound)

    return fast_update


def make_consolidate(
    model: WaveCore,
    gradient_steps: int = 1,
    moved: tuple[str, ...] = CONSOLIDATED_SURFACES,
) -> ConsolidateUpdate:
    """The consolidation of models like `model`, none of whose numbers it keeps.

    Arguments of the function made, all f32 but for `starts`:
        weights, deltas: as for `make_fast`.
        last_good: the delta of every surface that the robot last found good.
        replay: b windows of local memories: `states` [b t+1 n] raw, `task` [b t k],
            `starts` [b t] bool, `actions` [b t a] to imitate, `action_weight` [b t]
            and `next_weight` [b t] between 0 and 1. The recurrence begins at zero, as
            an episode does: give whole episodes, one after the other in a window. A
            window from the middle of one lacks what told this robot from others, and
            what is learned from it is forgotten of them. `update_index` [] i32 counts
            the consolidations of this robot from 0, and decides which levels of the
            skill memory are written.

    It returns what `make_fast` does, with `deltas` of the surfaces in `moved`; the
    losses are action error plus world-model error plus the pull. A level of the skill
    memory that is not due comes back bit for bit, unless it had to be repaired.

    Args:
        model: gives structure and shapes.
        gradient_steps: the windows are dealt out in order, b / gradient_steps to each
            step; two further forward passes over all of them judge the outcome.
        moved: surfaces that change. `CALIBRATED_SURFACES` find what a robot's sensors
            say from what was lived there alone; see `model.imagined`.

    Raises:
        ShapeMismatchError: by the function made, when an array is missing, unknown or
            of a wrong size, or the windows cannot be dealt out evenly.
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
                "give each gradient step as many windows",
            )
        deltas, sound = _projected(deltas, levels)
        last_good, last_good_sound = _projected(last_good, levels)
        due = _due(model.config, replay["update_index"])

        def objective(mine: Deltas, batch: Arrays) -> at.Array:
            core = _adapted(model, weights, {**deltas, **mine})
            begin = jnp.zeros((windows // gradient_steps, model.config.carry_size))
            prediction = core.sequence(
                batch["states"][:, :-1], batch["task"], batch["starts"], begin
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
            return loss.total + PULL * _square_distance(mine, last_good)

        mine = {name: deltas[name] for name in moved}
        batches = {
            name: x.reshape(gradient_steps, -1, *x.shape[1:])
            for name, x in replay.items()
            if name != "update_index"
        }
        descended = _replayed(objective, mine, batches, levels, due)
        return _result(mine, descended, _finite(replay), sound & last_good_sound)

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
    }


def _due(sizes: WaveCoreConfig, index: at.Array) -> Deltas:
    """True [s] for every number of the skill memory that is written at `index`."""
    levels = index % np.array(sizes.skill_periods, np.int32) == 0
    shape = (_SKILL_ARRAYS, sizes.skill_levels, sizes.skill_slots * sizes.width)
    return {_SKILLS: jnp.broadcast_to(levels[:, None], shape).reshape(-1)}


def _lengths(arrays: Arrays, axes: int) -> tuple[int, ...]:
    """Lengths that differ between calls, by `starts`; ones where that is wrong."""
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


def _adapted(model: WaveCore, weights: Arrays, deltas: Deltas) -> WaveCore:
    """The model of these weights with the deltas added to its surfaces."""
    names = {name: step_function.SURFACE_PREFIX + name for name in deltas}
    changed = {names[n]: weights[names[n]] + delta for n, delta in deltas.items()}
    return step_function.with_weights(model, {**weights, **changed})


def _projected(deltas: Deltas, levels: int) -> tuple[Deltas, at.Array]:
    """Every delta inside its bound, and whether all of them were."""
    pairs = {
        name: _project_levels(x, levels)
        if name == _SKILLS
        else surfaces.project(name, x)
        for name, x in deltas.items()
    }
    kept = jnp.stack([kept for _, kept in pairs.values()])
    return {name: delta for name, (delta, _) in pairs.items()}, jnp.all(kept)


def _project_levels(delta: at.Surface, levels: int) -> tuple[at.Surface, at.Array]:
    """The skill memory with each level inside its part of the bound.

    Squares of norms add up, so levels of `bound / sqrt(levels)` each are together
    inside the bound of the surface.
    """
    parts = delta.reshape(_SKILL_ARRAYS, levels, -1)
    pairs = [
        surfaces.project(_SKILLS, parts[:, level].reshape(-1), levels**-0.5)
        for level in range(levels)
    ]
    joined = [x.reshape(_SKILL_ARRAYS, -1) for x, _ in pairs]
    kept = jnp.stack([kept for _, kept in pairs])
    return jnp.stack(joined, axis=1).reshape(-1), jnp.all(kept)


def _descend(
    objective: Objective,
    deltas: Deltas,
    length: float,
    gradient_steps: int,
) -> tuple[Deltas, at.Array, at.Array, at.Array]:
    """Steps against the gradient, each inside the bounds and only if the loss falls.

    Args:
        objective: what to make small.
        deltas: where to begin.
        length: of the first step, in shares of the bounds.
        gradient_steps: how many.

    Returns: the deltas, the loss before and after, whether loss and gradient were
    finite before the first step.
    """
    loss, gradient = jax.value_and_grad(objective)(deltas)
    before, finite = loss, jnp.isfinite(loss) & _finite(gradient)
    step_length = jnp.asarray(length)
    for remaining in reversed(range(gradient_steps)):
        tried = _moved(deltas, gradient, step_length)
        if remaining:
            tried_loss, tried_gradient = jax.value_and_grad(objective)(tried)
            better = (tried_loss < loss) & _finite(tried_gradient)
            gradient = _choose(better, tried_gradient, gradient)
        else:
            tried_loss = objective(tried)
            better = tried_loss < loss
        deltas = _choose(better, tried, deltas)
        loss = jnp.where(better, tried_loss, loss)
        step_length = jnp.where(better, step_length, step_length / 2)
    return deltas, before, loss, finite


def _moved(deltas: Deltas, gradient: Deltas, length: at.Array) -> Deltas:
    """Deltas after one step of `length`, in units of `FAST_REACH`."""
    # A surface with a larger reach may move further, and one whose gradient is small
    # beside the others' moves little.
    scaled = {name: g * FAST_REACH[name] for name, g in gradient.items()}
    norm = jnp.linalg.norm(jnp.concatenate(list(scaled.values())))
    unit = jnp.where(norm > 0, norm, 1.0)
    moved = {
        name: deltas[name] - length * FAST_REACH[name] * (g / unit)
        for name, g in scaled.items()
    }
    return {name: surfaces.project(name, x)[0] for name, x in moved.items()}


class _Moments(NamedTuple):
    """Running means of gradients [s] and of their squares, by surface."""

    mean: Deltas
    square: Deltas


def _replayed(
    objective: ReplayObjective,
    deltas: Deltas,
    batches: Arrays,
    levels: int,
    due: Deltas,
) -> tuple[Deltas, at.Array, at.Array, at.Array]:
    """One step per batch, each inside the bounds; all kept only if the loss falls.

    Args:
        objective: what to make small, of one batch.
        deltas: where to begin.
        batches: arrays by name, one batch per entry of the first axis.
        levels: of the skill memory.
        due: by surface, where its numbers may move; default: everywhere.

    Returns: what `_descend` does, the losses over all batches.
    """
    count = len(batches["starts"])

    def step(
        state: tuple[Deltas, _Moments], numbered: tuple[at.Array, Arrays]
    ) -> tuple[tuple[Deltas, _Moments], at.Array]:
        (now, moments), (index, batch) = state, numbered
        gradient = jax.grad(objective)(now, batch)
        moments, direction = _scaled(moments, gradient, index)
        length = CONSOLIDATION_STEP * (1 - index / count)
        now = _moved_by(now, direction, length, levels, due)
        return (now, moments), _finite(gradient)

    def loss_of(mine: Deltas) -> at.Array:
        return jnp.mean(jax.lax.map(lambda batch: objective(mine, batch), batches))

    nothing = jax.tree.map(jnp.zeros_like, deltas)
    begin = (deltas, _Moments(nothing, nothing))
    (tried, _), finite = jax.lax.scan(step, begin, (jnp.arange(count), batches))
    before, after = loss_of(deltas), loss_of(tried)
    better = after < before
    sound = jnp.all(finite) & jnp.isfinite(before)
    loss = jnp.where(better, after, before)  # what is no number is not better
    return _choose(better, tried, deltas), before, loss, sound


def _scaled(
    moments: _Moments, gradient: Deltas, index: at.Array
) -> tuple[_Moments, Deltas]:
    """The moments after one more gradient, and the direction they give.

    No component of the direction is much larger than one. Gradients are cut to a norm
    of one first, so that their squares are numbers.
    """
    norm = jnp.linalg.norm(jnp.concatenate(list(gradient.values())))
    gradient = jax.tree.map(lambda g: g / jnp.maximum(norm, 1.0), gradient)
    mean = _blend(moments.mean, gradient, MEAN_DECAY)
    square = _blend(moments.square, jax.tree.map(jnp.square, gradient), SQUARE_DECAY)
    # The moments began at zero; these shares of them are real.
    mean_share = 1 - MEAN_DECAY ** (index + 1.0)
    square_share = 1 - SQUARE_DECAY ** (index + 1.0)
    direction = jax.tree.map(
        lambda m, q: (m / mean_share) / (jnp.sqrt(q / square_share) + _TINY_GRADIENT),
        mean,
        square,
    )
    return _Moments(mean, square), direction


def _blend(old: Deltas, new: Deltas, decay: float) -> Deltas:
    return jax.tree.map(lambda x, y: decay * x + (1 - decay) * y, old, new)


def _moved_by(
    deltas: Deltas, direction: Deltas, length: at.Array, levels: int, due: Deltas
) -> Deltas:
    """Deltas after one step; components of one give `length`, in shares of a bound."""
    # What does not move keeps its bits: nothing is taken from it, and a level that
    # was inside its bound is not projected.
    direction = {
        name: jnp.where(due[name], way, 0.0) if name in due else way
        for name, way in direction.items()
    }
    moved = {
        name: deltas[name] - length * surfaces.BOUNDS[name] * way / jnp.sqrt(way.size)
        for name, way in direction.items()
    }
    return _projected(moved, levels)[0]


def _square_distance(deltas: Deltas, others: Deltas) -> at.Array:
    """Sum over surfaces of the squared L2 distance, in shares of the bounds."""
    parts = [
        jnp.sum(jnp.square((delta - others[name]) / surfaces.BOUNDS[name]))
        for name, delta in deltas.items()
    ]
    return jnp.sum(jnp.stack(parts))


def _result(
    given: Deltas,
    descended: tuple[Deltas, at.Array, at.Array, at.Array],
    data_finite: at.Array,
    sound: at.Array,
) -> dict[str, Any]:
    deltas, before, after, finite = descended
    accepted = finite & data_finite
    return {
        "deltas": _choose(accepted, deltas, given),
        "loss_before": jnp.where(accepted, before, 0.0),
        "loss_after": jnp.where(accepted, after, 0.0),
        "refused": ~accepted,
        "repaired": ~sound,
    }


def _choose(first: at.Array, a: Deltas, b: Deltas) -> Deltas:
    return jax.tree.map(lambda x, y: jnp.where(first, x, y), a, b)


def _finite(arrays: Arrays) -> at.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in arrays.values()]))
