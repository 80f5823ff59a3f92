"""Decides whether an episode shows the robot as trained or as it is now.

Nobody tells a robot at which episode a sensor was remounted or a drive replaced. Two
things in its own recordings show it, whoever drove and whether or not it went well:

- where its sensors stand before the first command. An arm begins each episode in the
  same place, so a sensor that stands elsewhere there is another sensor. The error of an
  action shows it only to somebody who sees the world as it is, and the error of the
  next observation not at all, since a constant offset moves with the arm.
- how observations follow commands (`model.learn.actuation`).

The robot that the package knows is read from the earlier half of the known episodes of
each task, and the robot as it is now from the latest that were lived or only seen.
Other known episodes belong to the one that they fit better: a package also succeeds now
and then on a robot that has changed, and then shows what to do there.

Source: a robot's zero is found where it is known to be, as in homing; robust location
and spread by medians, Huber and Ronchetti 2009, Robust Statistics, chapters 1 and 5.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from model import array_types as at
from model.learn import memories as mem
from model.learn.memories import KNOWN, LIVED, SEEN, Memories

LATEST_EPISODES = 16
"""Episodes from which the robot of now is read: five are enough to find gain and
latency (docs/decisions/0009), and an old one may be of another robot."""
_STILL = 0.05
"""A channel is at rest if its first values differ by less than this share of how far it
moves in an episode. The hand of the simulated arm begins within 0.001 of it, and what
lies on the table, anywhere."""
_ELSEWHERE = 0.04
"""Share of how far a channel moves by which it must begin elsewhere."""
_CLEARLY = 5.0
"""And so many times as far as it usually lies from the middle."""
_FEWEST = 2
_BETTER = 0.7
"""An episode fits the robot of now if this leaves less than that share of the error
which the known robot leaves: in between it may be either."""


class Rest(NamedTuple):
    """Where sensors stand before the first command.

    Attributes:
        compared: [] bool, whether there were enough episodes of both robots.
        shift: [n], how far they stand from where they stood; 0 where they do not.
        moved: [n] bool, the channels that stand elsewhere.
        still: [n] bool, channels that move in an episode and begin each in one place
            that is not zero: a speed begins at zero, whatever its sensor.
        nearer: [r] bool, episodes that begin nearer to the robot of now.
    """

    compared: at.Array
    shift: at.Array
    moved: at.Array
    still: at.Array
    nearer: at.Array

    def says_unmoved(self) -> at.Array:
        """Whether some sensor would show it [] if it stood elsewhere, and none does.

        A scale about the very place of rest would not show; commands show it, as a
        gain.
        """
        return jnp.any(self.still) & ~jnp.any(self.moved)


def find_reference(memories: Memories) -> at.Array:
    """The earlier half [r] bool of the known episodes of each task."""
    known = (memories["kind"] == KNOWN) & (memories["length"] > 0)
    of_task = memories["task"] * known[:, None]
    rank = jnp.sum((jnp.cumsum(of_task, axis=0) - of_task) * of_task, axis=1)
    count = memories["task"] @ jnp.sum(of_task, axis=0)
    return known & (2 * rank < count)


def find_latest(memories: Memories) -> at.Array:
    """The latest episodes [r] bool that were lived or seen."""
    length, kind = memories["length"], memories["kind"]
    now = ((kind == LIVED) | (kind == SEEN)) & (length > 0)
    after = jnp.cumsum(now[::-1])[::-1]
    return now & (after <= LATEST_EPISODES)


def select(memories: Memories, chosen: at.Array, kind: int) -> Memories:
    """Memories in which the chosen episodes [r] alone are of a kind."""
    return {**memories, "kind": jnp.where(chosen, kind, -1)}


def compare_rest(memories: Memories) -> Rest:
    """Compares where the sensors of the robot of now stand with where they stood."""
    first, task = memories["states"][:, 0], memories["task"]
    reference, latest = find_reference(memories), find_latest(memories)

    def centre(of_task: at.Array) -> at.Array:
        both = jnp.stack([reference, latest], axis=1) & (of_task > 0)[:, None]
        return find_quantile(jnp.stack([first, first], axis=1), both[..., None], 0.5)

    centres = jax.lax.map(centre, task.T)[jnp.argmax(task, axis=1)]
    off = first - centres[:, 0]
    # Four medians at once: a robot compiles each by itself.
    of_known = jnp.stack([jnp.abs(off), jnp.abs(first), first], axis=1)
    columns = jnp.concatenate([of_known, off[:, None]], axis=1)
    chosen = jnp.stack([reference, reference, reference, latest], axis=1)
    usual, large, middle, shift = find_quantile(columns, chosen[..., None], 0.5)
    # Around where each task begins now: a scale shifts every place by another length,
    # which is no noise. One episode says nothing of how far they lie apart.
    count = jnp.sum(task * (latest @ task), axis=1)
    twice = latest & (count > 1)
    by_task = jnp.sum(twice) >= _FEWEST
    apart = jnp.sqrt(count / jnp.maximum(count - 1, 1))[:, None]
    lie = jnp.where(by_task, (first - centres[:, 1]) * apart, off - shift)
    lies = find_median(jnp.abs(lie), jnp.where(by_task, twice, latest))
    spread = jnp.maximum(usual, lies)
    steps = (mem.select_recorded(memories, KNOWN) & reference[:, None])[..., None]
    moves = jnp.square(memories["states"][:, :-1] - first[:, None])
    travel = jnp.sqrt(
        jnp.sum(jnp.where(steps, moves, 0.0), axis=(0, 1))
        / jnp.maximum(jnp.sum(steps), 1)
    )
    finite = jnp.all(jnp.isfinite(off), axis=1)
    enough = jnp.minimum(jnp.sum(reference), jnp.sum(latest & finite)) >= _FEWEST
    # What rounding does to a channel that never moves is no shift.
    rounding = 1e-4 * large
    least = jnp.maximum(jnp.maximum(_ELSEWHERE * travel, _CLEARLY * spread), rounding)
    in_one_place = enough & (spread <= _STILL * travel)
    moved = in_one_place & (jnp.abs(shift) > least)
    shift = jnp.where(moved, shift, 0.0)
    unit = jnp.where(moved, jnp.abs(shift), 1.0)
    to_known, to_now = (
        jnp.sum(jnp.where(moved, jnp.abs(x) / unit, 0.0), axis=1)
        for x in (off, off - shift)
    )
    away = jnp.abs(middle) > _ELSEWHERE * travel
    still = in_one_place & (travel > rounding) & away
    return Rest(enough, shift, moved, still, to_now < _BETTER * to_known)


def tell_kinds(
    memories: Memories,
    nearer: at.Array,
    known_error: at.Array,
    now_error: at.Array,
) -> at.Array:
    """Kinds [r] i32 by the robot that recorded an episode, and not by who drove it.

    Args:
        memories: all of them.
        nearer: [r] bool, episodes that begin nearer to the robot of now, or whose
            sensors fall silent as its do.
        known_error: [r], what the known robot's response to commands leaves over.
        now_error: [r], the same of the robot of now; equal if that is no other.
    """
    kind = memories["kind"]
    fits_now = nearer | (now_error < _BETTER * known_error)
    unsure = (kind == KNOWN) & ~find_reference(memories)
    return jnp.where(unsure & fits_now, LIVED, kind)


def find_median(values: at.Array, of: at.Array) -> at.Array:
    """The median [n] of the episodes [r] that are asked for; NaN without one."""
    return find_quantile(values, of[:, None], 0.5)


def find_quantile(values: at.Array, of: at.Array, share: float) -> at.Array:
    """The quantile [...] of those of m numbers [m ...] that are asked for and no NaN.

    Between two of them it is on the line that joins them; NaN where there is none.
    """
    counted = of & ~jnp.isnan(values)
    ordered = jnp.sort(jnp.where(counted, values, jnp.inf), axis=0)
    count = jnp.sum(counted, axis=0)
    place = jnp.maximum(share * (count - 1), 0.0)
    below = place.astype(jnp.int32)
    rest = place - below
    # Sums over one number each: a robot compiles them as one kernel, an index as ten.
    order = jnp.arange(len(ordered)).reshape(-1, *[1] * (ordered.ndim - 1))
    low = jnp.sum(jnp.where(order == below, ordered, 0.0), axis=0)
    high = jnp.sum(jnp.where(order == below + 1, ordered, 0.0), axis=0)
    found = jnp.where(rest > 0, (1 - rest) * low + rest * high, low)
    return jnp.where(count > 0, found, jnp.nan)
