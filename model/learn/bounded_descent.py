"""Gradient steps of a local delta that end inside its bound, whatever the gradients.

    descend      a few steps against the gradient, each taken only if the loss falls
    step_replay  one of many steps, with a length per number

Each gradient step has a length that does not depend on the size of the gradient: a
broken sensor gives large gradients, which must not move a robot further than small
ones. In the fast update a step that does not reduce the loss is not taken, and the next
one is half as long. The steps of a consolidation are noisy; what they come to is judged
by the robot, on episodes that no step has seen.

Calibration and adapters must move together in the right proportion within a few steps,
so the fast update follows the gradient itself. Replay has time for many small steps,
and scales each number by the size of its own gradients: with one length for a whole
surface the few numbers with large gradients use it up, and a robot whose sensor had
moved lost success instead of winning it back (docs/benchmarks.md).

Each level of the skill memory has its own bound, so that a fast level cannot take the
room of a slow one.

Sources: normalised gradient, Hazan et al. 2015, arXiv:1507.02030, algorithm 1; length
halved on failure, Nocedal and Wright 2006, Numerical Optimization, algorithm 4.1; step
per number, Kingma and Ba 2015, arXiv:1412.6980, algorithm 1.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from model import array_types as at
from model import surfaces

SKILLS = "skill_memory"
SKILL_ARRAYS = 2
"""Keys [l m d], then values [l m d]: the skill memory as a flat vector."""

FAST_STEP = 0.03
"""Length of the first gradient step, in units of `FAST_REACH`. It is short because a
window of a few steps is noisy, and there is an update at every control step."""
FAST_REACH = {"calibration": 0.5, "adapters": 1.0}
"""L2 norm by which a fast step of length one would move each surface. The bound of the
adapters is larger; only replay of many windows has reason to use all of it."""
CONSOLIDATION_STEP = 0.02
"""The most that the first of several replay steps moves a surface, in shares of its
bound; the last ones hardly move it, so that noise of single batches averages out."""
MEAN_DECAY, SQUARE_DECAY = 0.9, 0.99
"""Decay per step of the gradient's running mean and mean square during replay."""

_TINY_GRADIENT = 1e-8
"""Gradients much smaller than this count as zero."""

Arrays = Mapping[str, at.Array]
Deltas = dict[str, at.Surface]
Objective = Callable[[Deltas], at.Array]


class Descent(NamedTuple):
    """Where a descent ended.

    Attributes:
        deltas: by surface, each inside its bound.
        before: the loss where it began.
        after: the loss where it ended, never above `before`.
        finite: whether loss and gradients were finite throughout.
    """

    deltas: Deltas
    before: at.Array
    after: at.Array
    finite: at.Array


def project_deltas(deltas: Deltas, levels: int) -> tuple[Deltas, at.Array]:
    """Every delta inside its bound, and whether all of them were."""
    pairs = {
        name: _project_levels(x, levels)
        if name == SKILLS
        else surfaces.project_delta(name, x)
        for name, x in deltas.items()
    }
    kept = jnp.stack([kept for _, kept in pairs.values()])
    return {name: delta for name, (delta, _) in pairs.items()}, jnp.all(kept)


def _project_levels(delta: at.Surface, levels: int) -> tuple[at.Surface, at.Array]:
    """The skill memory with each level inside its part of the bound.

    Squares of norms add up, so levels of `bound / sqrt(levels)` each are together
    inside the bound of the surface.
    """
    parts = delta.reshape(SKILL_ARRAYS, levels, -1)

    def project(part: at.Array) -> tuple[at.Array, at.Array]:
        inside, kept = surfaces.project_delta(SKILLS, part.reshape(-1), levels**-0.5)
        return inside.reshape(part.shape), kept

    joined, kept = jax.vmap(project, in_axes=1, out_axes=(1, 0))(parts)
    return joined.reshape(-1), jnp.all(kept)


def descend(objective: Objective, deltas: Deltas, gradient_steps: int) -> Descent:
    """Steps against the gradient, each inside the bounds and only if the loss falls.

    Args:
        objective: the loss of given deltas.
        deltas: where to begin.
        gradient_steps: number of steps.
    """
    loss, gradient = jax.value_and_grad(objective)(deltas)
    before, sound = loss, jnp.isfinite(loss) & finite(gradient)
    step_length = jnp.asarray(FAST_STEP)
    for remaining in reversed(range(gradient_steps)):
        tried = _step_fast(deltas, gradient, step_length)
        if remaining:
            tried_loss, tried_gradient = jax.value_and_grad(objective)(tried)
            better = (tried_loss < loss) & finite(tried_gradient)
            gradient = choose(better, tried_gradient, gradient)
        else:
            tried_loss = objective(tried)
            better = tried_loss < loss
        deltas = choose(better, tried, deltas)
        loss = jnp.where(better, tried_loss, loss)
        step_length = jnp.where(better, step_length, step_length / 2)
    return Descent(deltas, before, loss, sound)


def _step_fast(deltas: Deltas, gradient: Deltas, length: at.Array) -> Deltas:
    """Deltas after one step of `length`, in units of `FAST_REACH`."""
    # A surface with a larger reach may move further; one whose gradient is small
    # compared with the others moves little.
    scaled = {name: g * FAST_REACH[name] for name, g in gradient.items()}
    norm = jnp.linalg.norm(jnp.concatenate(list(scaled.values())))
    unit = jnp.where(norm > 0, norm, 1.0)
    moved = {
        name: deltas[name] - length * FAST_REACH[name] * (g / unit)
        for name, g in scaled.items()
    }
    return {name: surfaces.project_delta(name, x)[0] for name, x in moved.items()}


class Moments(NamedTuple):
    """Running means [u] of gradients and of their squares, all surfaces joined."""

    mean: at.Array
    square: at.Array


def join(deltas: Deltas) -> at.Array:
    """Every number of every surface [u], surfaces by their names in order.

    A step works on all at once: by surface it has four times as many kernels, which a
    robot compiles one by one (docs/decisions/0017).
    """
    return jnp.concatenate([deltas[name] for name in sorted(deltas)])


def take_apart(joined: at.Array, like: Deltas) -> Deltas:
    """The surfaces of what `join` made, of the sizes of `like`."""
    names = sorted(like)
    ends = np.cumsum([like[name].size for name in names])
    return dict(zip(names, jnp.split(joined, ends[:-1]), strict=True))


def scale_gradient(
    moments: Moments, gradient: at.Array, index: at.Array
) -> tuple[Moments, at.Array]:
    """The moments after one more gradient [u], and the direction [u] they give.

    No component of the direction is much larger than one. Gradients are first clipped
    to a norm of one, so that their squares do not overflow.
    """
    gradient = gradient / jnp.maximum(jnp.linalg.norm(gradient), 1.0)
    mean = MEAN_DECAY * moments.mean + (1 - MEAN_DECAY) * gradient
    square = SQUARE_DECAY * moments.square + (1 - SQUARE_DECAY) * jnp.square(gradient)
    # The moments began at zero; these are the shares that come from gradients.
    mean_share = 1 - MEAN_DECAY ** (index + 1.0)
    square_share = 1 - SQUARE_DECAY ** (index + 1.0)
    root = jnp.sqrt(square / square_share) + _TINY_GRADIENT
    return Moments(mean, square), (mean / mean_share) / root


def step_replay(
    deltas: Deltas,
    direction: at.Array,
    length: at.Array,
    levels: int,
    due: at.Array,
    counts: Mapping[str, int],
) -> Deltas:
    """Deltas after one step; components of one move by `length` shares of a bound.

    Args:
        deltas: where to begin.
        direction: [u], the way against which each number moves.
        length: [] of a surface whose every component is 1, in shares of its bound.
        levels: of the skill memory.
        due: [u] bool, the numbers that may move now.
        counts: how many numbers of a surface ever move.
    """
    reach = {
        name: np.full(x.size, surfaces.BOUNDS[name] / counts[name] ** 0.5, np.float32)
        for name, x in deltas.items()
    }
    # What does not move keeps its bits: zero is subtracted, and a level that was inside
    # its bound is not projected.
    way = jnp.where(due, direction, 0.0)
    moved = join(deltas) - length * join(reach) * way
    return project_deltas(take_apart(moved, deltas), levels)[0]


def square_distance(deltas: Deltas, others: Deltas) -> at.Array:
    """Sum over surfaces of the squared L2 distance, in shares of the bounds."""
    away = {
        name: (delta - others[name]) / surfaces.BOUNDS[name]
        for name, delta in deltas.items()
    }
    return jnp.sum(jnp.square(join(away)))


def choose[T](first: at.Array, a: T, b: T) -> T:
    """All of `a` where `first` is True, else all of `b`."""
    return jax.tree.map(lambda x, y: jnp.where(first, x, y), a, b)


def finite(arrays: Arrays) -> at.Array:
    """Whether every number of every array is finite."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in arrays.values()]))
