"""Which sensors of the robot of now are not always heard, as its recordings show.

Their names go into the delta, and the control step then assumes what it expected while
they are silent (`model.gaps`). Nothing else is learned from gaps: rehearsing known
episodes with the recorded gaps in them taught adapters next to nothing
(docs/decisions/0009).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from model import array_types as at
from model.learn import body
from model.learn.memories import Memories

_ALWAYS = 0.1
"""A sensor is always heard if it keeps its value in less than this share of the steps
since it first moved, in each episode: the hand of the simulated arm does in none, and
a thing that one task does not touch lies still in all."""
_SILENT = 0.2
"""And it is silent now and then if it does in more than this share of them."""
_DEAD = 0.95
"""A sensor that moves no more at all has no gaps; it is gone."""


class SilentSensors(NamedTuple):
    """Sensors that the robot of now does not always hear.

    Attributes:
        channels: [n] bool, which they are.
        episodes: [r] bool, which recordings have such gaps.
    """

    channels: at.Array
    episodes: at.Array


def find_silent_sensors(memories: Memories) -> SilentSensors:
    """Compares how often sensors keep a value with how often those of before did."""
    step = jnp.arange(memories["actions"].shape[1])[:, None]

    def measure_share(episode: at.Array) -> at.Array:
        kept = is_kept(memories["states"][episode])
        # A late arm stands still before it moves for the first time, and is heard.
        begun = jnp.cumsum(~kept, axis=0) > 0
        counted = begun & told[episode][:, None] & (step < memories["length"][episode])
        count = jnp.maximum(jnp.sum(counted, axis=0), 1)
        return jnp.sum(kept & counted, axis=0) / count

    told = is_told_anew(memories["executed"])
    share = jax.lax.map(measure_share, jnp.arange(len(memories["length"])))
    reference = body.find_reference(memories)[:, None]
    before = jnp.max(jnp.where(reference, share, 0.0), axis=0)
    before = jnp.where(jnp.any(reference), before, 1.0)
    now = body.find_median(share, body.find_latest(memories))
    channels = (before < _ALWAYS) & (now > _SILENT) & (now < _DEAD)
    episodes = jnp.any(channels & (share > _SILENT), axis=1) & (memories["length"] > 0)
    return SilentSensors(channels, episodes)


def is_told_anew(executed: at.Array) -> at.Array:
    """Steps [r t] whose command is another than that of the step before.

    An arm that a person holds is told the same again, stands still, and is heard.
    """
    changed = jnp.any(executed[:, 1:] != executed[:, :-1], axis=-1)
    return jnp.pad(changed, ((0, 0), (1, 0)), constant_values=True)


def is_kept(states: at.Array) -> at.Array:
    """Where a channel of states [... t n] shows the same twice, [... t-1 n] bool."""
    return states[..., 1:, :] == states[..., :-1, :]


def is_heard(states: at.Array, silent: SilentSensors) -> at.Array:
    """Where a channel's change from one of states [r t n] to the next was really seen.

    Shapes: [r t-1 n] bool. The jump at the end of a gap is what gathered in it.
    """
    kept = is_kept(states)
    ended = jnp.pad(kept[:, :-1], ((0, 0), (1, 0), (0, 0)))
    return ~(silent.channels & (kept | ended))
