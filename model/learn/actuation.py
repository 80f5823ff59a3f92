"""What a robot's commands do: how far they move it, how late, and how large they are.

A replaced drive may move further or less far than the one a model was trained on, and
commands over a slower link arrive later. Neither shows in one observation; both show in
how observations follow commands. The known robot's response is assumed to be linear in
its last commands, which are 0 before the first of an episode:

    s[t+1] - s[t] = sum over k of B[k] a[t-k],    k = 0 .. RESPONSE_STEPS - 1

and the changed robot's is the same response to clip(gain * a), `latency` steps later. B
is fitted to memories of the known robot; gain and latency are those with which B best
explains the memories of the changed robot. No label is needed: it does not matter who
drove, or whether it was right. A sensor's scale shows as a gain; its bias is invisible.

What is found is turned back in the control step (`model.drives`). An actor who is
careful gives smaller commands in every situation: that is the pace. Where nothing else
has changed, a model that is to follow them must learn what slow motion looks like
(`memories.read`): to one that has only seen full speed, a slow arm looks as if it had
almost arrived.

Sources: finite impulse response fitted by least squares, Ljung 1999, System
Identification, sections 4.2 and 7.3; latency by comparing fits, section 16.6 there.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from model import array_types as at
from model.config import RESPONSE_STEPS
from model.drives import (
    FURTHEST,
    LARGEST_GAIN,
    SAID_GAIN,
    SAID_LATENCY,
    SAID_RESPONSE,
    SMALLEST_GAIN,
)
from model.learn import body, silent_sensors
from model.learn import memories as mem
from model.learn.memories import KNOWN, LIVED, Memories

GAINS = np.geomspace(SMALLEST_GAIN, LARGEST_GAIN, 49).astype(np.float32)
"""Gains that are tried, in steps of 6 %."""
_WEAK = 0.7
"""A gain below 1 counts if it leaves at most this share of the error that 1 leaves,
because an arm that presses on something also moves less than it is told. It leaves
0.34 to 0.53 for a true 0.63, and 0.10 to 0.29 for 0.28. Where nothing is weak, the best
gain below 1 leaves 0.82 to 1.0: 0.31 to 0.94 for a gripper that holds something, for
play, and for a late arm that presses (docs/decisions/0009)."""
_UNCHANGED = int(np.argmin(np.abs(GAINS - 1.0)))
_SWEEPS = 3
_RIDGE = 1e-3
_SOLVER_STEPS = 200
_ACTUATED = 0.5
"""Share of a channel's changes that commands must explain for it to count."""
_FOLLOWED = 0.9
"""And that they must explain of one that is turned back: 0.97 to 0.99 for the simulated
hand, 0.86 for its gripper, up to 0.94 for what it pushes."""
_HEARD = 1.0
"""A command counts if the part of some followed channel that it explains is, in mean
square, more than this many times the part that nothing explains: 30 to 70 for the
simulated arm. Its gripper follows in part, and the best gain of that would be chance:
1.1 to 2.1 were found where it is 1."""
_MOVING, _FREE = 3.0, 2.0
"""A change of a sensor says something of a gain if it is larger than this, and its
error counts up to that, both in unexplained parts: in free motion errors are below 1.
A gain of 3.2 in the axis that presses on the table was found as 1.3 and 2.0 where every
change counted up to `FURTHEST`, and as 2.7 and 2.5 so (docs/decisions/0009)."""
_MOST = 0.95
"""Quantile of absolute actions that counts as a driver's largest action."""


class Response(NamedTuple):
    """How a robot's sensors follow its commands.

    Attributes:
        matrix: [k a n], for each channel in units of its unexplained part; zero for
            channels that commands do not explain.
        unit: [n], the unexplained part of each channel, root mean square.
        heard: [a] bool, whether a command clearly moves any followed channel.
        followed: [n] bool, channels that commands explain nearly all of.
    """

    matrix: at.Array
    unit: at.Array
    heard: at.Array
    followed: at.Array


def fit_response(memories: Memories) -> Response:
    """Fits the response of the known robot by ridge regression.

    Without known memories nothing is explained, and no command is heard.
    """
    reference = body.select(memories, body.find_reference(memories), KNOWN)
    weight = mem.select_recorded(reference, KNOWN).astype(jnp.float32)
    total = jnp.maximum(weight.sum(), 1.0)
    commands = _last(memories["executed"], jnp.asarray(0))
    changes = jnp.diff(memories["states"], axis=1)
    size, channels = commands.shape[-1], changes.shape[-1]
    rows = commands.reshape(-1, RESPONSE_STEPS * size)
    weighted = rows * weight.reshape(-1, 1)
    targets = jnp.where(weight[..., None] > 0, changes, 0.0).reshape(-1, channels)
    gram = weighted.T @ rows / total
    ridge = _RIDGE * jnp.trace(gram) / len(gram) + jnp.finfo(jnp.float32).tiny
    gram = gram + ridge * jnp.eye(len(gram))
    matrix = _solve(gram, weighted.T @ targets / total)
    left = jnp.sum(jnp.square(targets - weighted @ matrix), axis=0) / total
    moved = jnp.sum(jnp.square(targets), axis=0) / total
    explained = left < (1 - _ACTUATED) * moved
    followed = left < (1 - _FOLLOWED) * moved
    unit = jnp.sqrt(jnp.maximum(left, jnp.finfo(jnp.float32).tiny))
    shaped = jnp.where(explained, matrix / unit, 0.0)
    shaped = shaped.reshape(RESPONSE_STEPS, size, channels)
    heard = jax.lax.map(
        lambda one: jnp.sum(
            jnp.square(_part(commands, shaped, one) * weight[..., None]), (0, 1)
        ),
        jnp.arange(size),
    )
    return Response(
        shaped,
        unit,
        jnp.any((heard / total > _HEARD) & followed, axis=1),
        followed,
    )


def fit_gain(
    known: Response,
    memories: Memories,
    view: mem.View,
    silent: silent_sensors.SilentSensors,
    latency: at.Array,
) -> tuple[at.Array, at.Array]:
    """The smallest mean error [] at one latency [], and its gains [a].

    Errors are squared up to `FURTHEST`. Gains are found by coordinate search over
    `GAINS` in the latest episodes, where sensors clearly move: an arm that is pressed
    on something stands still whatever its gain, which a small one explains best. For
    the same reason one below 1 must explain the motion clearly better than 1. `view`
    turns states back into those of the known robot's sensors. What a `silent` sensor
    shows while it is not heard counts for nothing.

    Source: truncated squares, an M-estimator that leaves out what lies far away; Huber
    and Ronchetti 2009, Robust Statistics, section 4.8.
    """
    order = jnp.arange(len(memories["length"]))
    now = body.find_latest(memories)
    count = min(body.LATEST_EPISODES, len(order))
    _, latest = jax.lax.top_k(jnp.where(now, order, -1), count)
    step = jnp.arange(memories["actions"].shape[1])
    used = now[:, None] & (step < memories["length"][:, None])
    states = memories["states"][latest]
    counted = used[latest][..., None] & silent_sensors.is_heard(states, silent)
    weight = counted.astype(jnp.float32)
    changes = _changes(known, states, view) * weight
    # By the step before: chosen by itself, a slow step would count where its error
    # adds to the motion, and an unchanged arm moved slowly would seem to have a gain.
    moved_before = jnp.abs(changes[:, :-1]) > _MOVING
    moving = jnp.pad(moved_before, ((0, 0), (1, 0), (0, 0)))
    given = memories["executed"][latest]
    gains = jnp.asarray(GAINS)

    def moved(one: at.Array, gain: at.Array) -> at.Array:
        scaled = jnp.clip(gain * given, -1.0, 1.0)
        return _part(_last(scaled, latency), known.matrix, one) * weight

    def miss(left: at.Array, furthest: float) -> at.Array:
        return jnp.sum(jnp.minimum(jnp.square(left), furthest**2))

    def improve(turn: at.Array, chosen: at.Array) -> at.Array:
        one = turn % len(chosen)
        others = changes - sum(
            jnp.where(i == one, 0.0, moved(jnp.asarray(i), chosen[i]))
            for i in range(known.heard.shape[0])
        )
        missed = jax.lax.map(
            lambda gain: miss((others - moved(one, gain)) * moving, _FREE), gains
        )
        least = jnp.min(jnp.where(gains < 1, missed, jnp.inf))
        weak = least <= _WEAK * missed[_UNCHANGED]
        possible = jnp.where(weak | (gains >= 1), missed, jnp.inf)
        best = jnp.where(known.heard[one], gains[jnp.argmin(possible)], 1.0)
        return chosen.at[one].set(best)

    size = known.heard.shape[0]
    gain = jax.lax.fori_loop(0, _SWEEPS * size, improve, jnp.ones(size))
    left = changes - sum(moved(jnp.asarray(i), gain[i]) for i in range(size))
    steps = jnp.sum(jnp.any(counted, axis=-1))
    return miss(left, FURTHEST) / jnp.maximum(steps, 1), gain


def measure_error(
    known: Response,
    memories: Memories,
    view: mem.View,
    silent: silent_sensors.SilentSensors,
    gain: at.Array,
    latency: at.Array,
) -> at.Array:
    """What gain [a] and latency [] leave unexplained in each episode [r].

    Mean square over its steps, in units of what the known robot leaves.
    """
    step = jnp.arange(memories["actions"].shape[1])

    def measure(episode: at.Array) -> at.Array:
        one = {name: memories[name][episode][None] for name in ("states", "executed")}
        inside = (step < memories["length"][episode])[None, :, None]
        counted = inside & silent_sensors.is_heard(one["states"], silent)
        scaled = jnp.clip(gain * one["executed"], -1.0, 1.0)
        follow = jnp.einsum("rtka,kan->rtn", _last(scaled, latency), known.matrix)
        left = jnp.square(_changes(known, one["states"], view) - follow)
        steps = jnp.sum(jnp.any(counted, axis=-1))
        return jnp.sum(jnp.where(counted, left, 0.0)) / jnp.maximum(steps, 1)

    # One after the other: all at once take as much room as the memories, many times.
    return jax.lax.map(measure, jnp.arange(len(memories["length"])))


def describe(
    known: Response,
    still: at.Array,
    deviation: at.Array,
    gain: at.Array,
    latency: at.Array,
) -> dict[str, at.Array]:
    """What the calibration of `model.drives` says of an arm, by path of its array.

    Only sensors of the arm itself count. What it pushes in each episode of the one task
    that a robot knows also follows its commands, but not before it is touched.

    Args:
        known: how the known robot follows its commands.
        still: [n] bool, channels that begin each episode in one place, as an arm does.
        deviation: [n], in which the response counts there.
        gain: [a] of the arm of now.
        latency: [] i32, its latency in steps.
    """
    unit = known.unit / deviation
    follows = find_arm(known, still)
    return {
        "drives/response": SAID_RESPONSE * jnp.where(follows, known.matrix * unit, 0.0),
        "drives/unit": jnp.where(follows, unit, 0.0),
        "drives/gain": SAID_GAIN * (gain - 1.0),
        "drives/latency": SAID_LATENCY * latency.astype(jnp.float32),
    }


def find_arm(known: Response, still: at.Array) -> at.Array:
    """The channels [n] bool that show the arm itself; see `describe`."""
    return jnp.any(known.matrix != 0, axis=(0, 1)) & known.followed & still


def measure_pace(memories: Memories) -> at.Array:
    """Ratio [a] of the largest lived actions to the largest known ones.

    1 for actions that are not smaller, that are always zero, or that nobody has given.
    """
    used, most = _find_largest(memories)
    slower = (used > 0) & (used < most)
    return jnp.where(slower, used / jnp.where(most > 0, most, 1.0), 1.0)


def _changes(known: Response, states: at.Array, view: mem.View) -> at.Array:
    """How channels that commands explain change, [r t n] of states [r t+1 n]."""
    explained = jnp.any(known.matrix != 0, axis=(0, 1))
    turned = states * view.scale + view.shift
    return jnp.where(explained, jnp.diff(turned, axis=1) / known.unit, 0.0)


def _last(commands: at.Array, latency: at.Array) -> at.Array:
    """The commands [r t k a] that move the robot at each of t steps, latest first."""
    steps = jnp.arange(commands.shape[1])
    which = steps[:, None] - jnp.arange(RESPONSE_STEPS) - latency
    return jnp.where(which[..., None] >= 0, commands[:, jnp.maximum(which, 0)], 0.0)


def _part(commands: at.Array, matrix: at.Array, one: at.Array | int) -> at.Array:
    """What one command contributes to the change of each channel, [r t n]."""
    return jnp.einsum("rtk,kn->rtn", commands[..., one], matrix[:, one])


def _find_largest(memories: Memories) -> at.Array:
    """The `_MOST` quantile [2 a] of absolute actions, of those lived and those known.

    NaN where there are none.
    """
    given = jnp.stack([mem.select_recorded(memories, kind) for kind in (LIVED, KNOWN)])
    actions = jnp.abs(memories["actions"])
    actions = actions.reshape(-1, 1, actions.shape[-1])
    return body.find_quantile(actions, given.reshape(2, -1).T[..., None], _MOST)


def _solve(gram: at.Array, right: at.Array) -> at.Array:
    """Solves gram @ x = right by conjugate gradients: pure XLA on every platform."""
    scale = jnp.sqrt(jnp.diagonal(gram))
    scaled = gram / scale[:, None] / scale

    def column(b: at.Array) -> at.Array:
        found, _ = jax.scipy.sparse.linalg.cg(
            lambda x: scaled @ x, b, tol=1e-7, maxiter=_SOLVER_STEPS
        )
        return jnp.asarray(found)

    return (
        jax.vmap(column, in_axes=1, out_axes=1)(right / scale[:, None]) / scale[:, None]
    )
