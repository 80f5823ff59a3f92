"""A robot's memories as arrays of fixed shapes, and windows of replay drawn from them.

Axis r stands for the episodes, which fill the arrays from the front in the order in
which they were recorded; an episode of length 0 is none. A compiled program needs fixed
shapes, so an episode that is longer than the arrays is cut at their end.

A `View` reads an episode as another robot would have recorded it: one whose sensors are
calibrated differently, whose arm moves further or later, or whose commands are scaled
down. Views are applied while a window is drawn, so that imagined memories take no room.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from model import array_types as at
from model import senses
from model.config import WaveCoreConfig
from model.learn import chance

KNOWN, LIVED, SEEN = 0, 1, 2
"""Kinds of memories: the package drove and succeeded, without a delta, so that this is
most likely the robot as the package knows it; somebody showed what to do, or the
package drove and succeeded with a delta, so that this is the robot as it is now; or
nothing is to be imitated, but it shows what sensors and commands do now."""

SHORTEST_STEPS = 16
"""A window is filled with as many episodes as would fit if each had this length; if
they are shorter, the rest of the window stays empty."""

Memories = Mapping[str, at.Array]


def in_reaches(memories: Memories, reach: at.Array) -> Memories:
    """The memories with every command divided by the largest [a] that the robot takes.

    A robot remembers commands in its own units; all that learns has them in reaches.
    """
    commands = {name: memories[name] / reach for name in ("actions", "executed")}
    return {**memories, **commands}


class View(NamedTuple):
    """How an episode is read; a stack of views has an axis v in front of each array.

    Attributes:
        kind: [] i32, `KNOWN` or `LIVED`: the memories that this view reads.
        speed: [] relative to that of the recorded robot, above 0 and at most 1: an
            episode takes 1 / speed as many steps, rounded up.
        pace: [a], factor of each command.
        gain: [a], above 1 where the viewed robot moves further for its command.
        latency: [] i32, steps by which the viewed robot moves later.
        scale: [n], factor of each channel of the state.
        shift: [n], added to the scaled state.
        action_shift: [a], added to each command.
    """

    kind: at.Array
    speed: at.Array
    pace: at.Array
    gain: at.Array
    latency: at.Array
    scale: at.Array
    shift: at.Array
    action_shift: at.Array


def shapes(
    sizes: WaveCoreConfig, episodes: int, steps: int
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of the memories of r episodes of at most t steps.

    `states` [r t+1 n] raw, the last one of an episode only as a next state; `actions`
    [r t a] to imitate; `imitate` [r t], the weight of each in doing so, 0 for what
    only a package did that somebody corrected; `executed` [r t a], the commands that
    the robot was given; `task` [r k]; `length` [r] i32 in steps; `kind` [r] i32; and
    each sense of the model under its name, as in `senses.recorded_specs`.
    """

    def f32(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((episodes, *shape), jnp.float32)

    number = jax.ShapeDtypeStruct((episodes,), jnp.int32)
    return {
        "states": f32(steps + 1, sizes.state_size),
        "actions": f32(steps, sizes.action_size),
        "imitate": f32(steps),
        "executed": f32(steps, sizes.action_size),
        "task": f32(sizes.task_count),
        "length": number,
        "kind": number,
        **senses.recorded_specs(sizes, episodes, steps),
    }


def as_recorded(sizes: WaveCoreConfig, kind: int) -> View:
    """The view that changes nothing."""
    n, a = sizes.state_size, sizes.action_size
    return View(
        kind=jnp.asarray(kind, jnp.int32),
        speed=jnp.ones(()),
        pace=jnp.ones(a),
        gain=jnp.ones(a),
        latency=jnp.zeros((), jnp.int32),
        scale=jnp.ones(n),
        shift=jnp.zeros(n),
        action_shift=jnp.zeros(a),
    )


def select_recorded(memories: Memories, kind: int) -> at.Array:
    """Which steps [r t] were recorded in episodes of this kind."""
    of_kind = (memories["kind"] == kind) & (memories["length"] > 0)
    step = jnp.arange(memories["actions"].shape[1])
    return of_kind[:, None] & (step < memories["length"][:, None])


def find_repeats(memories: Memories) -> at.Array:
    """For every channel, the channel [n] whose value it repeats one step later.

    Observations that hold the last one too have such channels. A channel that repeats
    none is given its own index; so is one that is constant.
    """
    before, now = memories["states"][:, :-1], memories["states"][:, 1:]
    known, lived = select_recorded(memories, KNOWN), select_recorded(memories, LIVED)
    # A sensor that has fallen silent since no longer repeats another.
    known = jnp.where(jnp.any(known), known, lived)

    def find(channel: at.Array) -> at.Array:
        mine = now[..., channel]
        same = jnp.all((mine[..., None] == before) | ~known[..., None], axis=(0, 1))
        same = same.at[channel].set(False)
        least = jnp.min(jnp.where(known, mine, jnp.inf))
        changes = jnp.any(known & (mine > least))
        return jnp.where(jnp.any(same) & changes, jnp.argmax(same), channel)

    return jax.lax.map(find, jnp.arange(before.shape[-1]))


def viewed_length(memories: Memories, view: View, episode: at.Array) -> at.Array:
    """Steps [] that an episode takes in this view, as far as the arrays hold it."""
    length = memories["length"][episode].astype(jnp.float32)
    return jnp.ceil(length / view.speed).astype(jnp.int32)


def read(
    memories: Memories,
    view: View,
    repeats: at.Array,
    episode: at.Array,
    step: at.Array,
) -> tuple[at.Array, at.Array]:
    """The state [n] and the action [a] of one step of an episode in this view.

    Between two recorded states the robot is assumed to move in a straight line. It
    stands still until its first command arrives. Channels that repeat others of the
    step before are read there: interpolated, they would show the robot moving as fast
    as it was recorded.

    Source: uniform scaling of time, Hollerbach 1984, Dynamic Scaling of Manipulator
    Trajectories, Journal of Dynamic Systems, Measurement, and Control 106; here of an
    arm whose commands are speeds.
    """
    last = jnp.maximum(memories["length"][episode], 1)

    def state(at_step: at.Array) -> at.Array:
        moved = jnp.maximum(at_step - view.latency, 0).astype(jnp.float32)
        time = jnp.minimum(moved * view.speed, last)
        begun = jnp.minimum(time.astype(jnp.int32), last - 1)
        share = time - begun
        states = memories["states"]
        return (1 - share) * states[episode, begun] + share * states[episode, begun + 1]

    channels = jnp.arange(repeats.shape[0])
    repeated = state(step - 1)[repeats]
    shown = jnp.where((repeats != channels) & (step > 0), repeated, state(step))
    begun = jnp.minimum((step * view.speed).astype(jnp.int32), last - 1)
    action = memories["actions"][episode, begun] + view.action_shift
    asked = jnp.clip(action * view.pace / view.gain, -1.0, 1.0)
    return shown * view.scale + view.shift, asked


def draw_windows(
    memories: Memories,
    views: View,
    shares: at.Array,
    repeats: at.Array,
    seed: at.Array,
    draw: at.Array,
    windows: int,
    steps: int,
) -> dict[str, at.Array]:
    """Draws b = windows windows of t = steps, each from one of the views.

    A window is whole episodes one after the other, each from its first step on; the
    last one is cut where the window ends. Every step has its past, because the signs
    that distinguish two robots may only show at the beginning of an episode; a window
    that begins later would ask the model for two answers to the same question.

    Args:
        memories: of the shapes of `shapes`.
        views: a stack of v views.
        shares: [v], how often each view is drawn; where no memory is of a view's kind,
            it is not.
        repeats: what `find_repeats` found.
        seed, draw: [] i32; equal ones draw equal windows (`chance.draw_uniform`).
        windows: number of windows.
        steps: steps of one window.

    Returns:
        `states` [b t+1 n] raw, `task` [b t k], `starts` [b t] bool, `actions` [b t a],
        `action_weight` [b t], `imitate` of the step and 0 where the window is empty,
        `next_weight` [b t], 0 where the next state belongs to another episode, and the
        senses.
    """
    exists = (memories["length"] > 0)[None] & (memories["kind"] == views.kind[:, None])
    wanted = jnp.where(jnp.any(exists, axis=1), shares, 0.0)

    def make(uniform: at.Array) -> dict[str, at.Array]:
        which = chance.choose_index(uniform[0], wanted)
        view = jax.tree.map(lambda x: x[which], views)
        chosen = chance.choose_index(uniform[1:], exists[which].astype(jnp.float32))
        return _join(memories, view, repeats, chosen, steps)

    episodes = max(1, -(-steps // SHORTEST_STEPS)) + 1
    uniform = chance.draw_uniform(seed, draw, (windows, 1 + episodes))
    drawn = jax.vmap(make)(uniform)
    # Without any memory the last view is drawn; such windows weigh nothing.
    some = jnp.any(wanted > 0).astype(jnp.float32)
    weights = {n: drawn[n] * some for n in ("action_weight", "next_weight")}
    return {**drawn, **weights}


def _join(
    memories: Memories, view: View, repeats: at.Array, chosen: at.Array, steps: int
) -> dict[str, at.Array]:
    """One window of the chosen episodes, one after the other."""
    longest = memories["actions"].shape[1]
    lengths = jax.vmap(lambda one: viewed_length(memories, view, one))(chosen)
    lengths = jnp.minimum(lengths, longest)
    ends = jnp.cumsum(lengths)
    position = jnp.arange(steps + 1)
    number = jnp.sum(position[:, None] >= ends[None], axis=1)
    inside = number < len(chosen)
    number = jnp.minimum(number, len(chosen) - 1)
    step = jnp.where(inside, position - (ends[number] - lengths[number]), 0)
    episode = chosen[number]
    states, actions = jax.vmap(lambda e, t: read(memories, view, repeats, e, t))(
        episode, step
    )
    now = slice(0, steps)
    recorded_step = jnp.minimum(
        (step * view.speed).astype(jnp.int32),
        jnp.maximum(memories["length"][episode], 1) - 1,
    )
    names = memories.keys() - shapes_of_steps()
    sensed = {n: memories[n][episode[now], recorded_step[now]] for n in sorted(names)}
    used = inside[now].astype(jnp.float32)
    followed = used * (step[now] < lengths[number[now]] - 1)
    return {
        "states": states,
        "task": memories["task"][episode[now]],
        "starts": step[now] == 0,
        "actions": actions[now],
        "action_weight": used * memories["imitate"][episode[now], recorded_step[now]],
        "next_weight": followed,
        **sensed,
    }


def shapes_of_steps() -> frozenset[str]:
    """Names of the arrays of memories that are no senses."""
    return frozenset(
        {"states", "actions", "imitate", "executed", "task", "length", "kind"}
    )


def empty(
    sizes: WaveCoreConfig, episodes: int, steps: int
) -> dict[str, np.ndarray[Any, Any]]:
    """Memories without an episode."""
    return {
        name: np.zeros(x.shape, x.dtype)
        for name, x in shapes(sizes, episodes, steps).items()
    }
