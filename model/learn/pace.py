"""How large the commands of lived episodes are, compared with known ones.

An operator who notices that an arm responds late, or overshoots, gives smaller commands
in every situation. If no observation distinguishes the arm from the known one, the
known robot's commands must be scaled down too, and the model must learn what slow
motion looks like (`memories.read`): to a model that has only seen full speed, a slow
arm looks as if it had almost arrived.
"""

import jax.numpy as jnp

from model import array_types as at
from model.learn import memories as mem
from model.learn.memories import KNOWN, LIVED, Memories

_MOST = 0.95
"""Quantile of absolute actions that counts as a driver's largest action."""


def measure_pace(memories: Memories) -> at.Array:
    """Ratio [a] of the largest lived actions to the largest known ones.

    1 for actions that are not smaller, that are always zero, or that nobody has given.
    """
    used, most = (_largest(memories, kind) for kind in (LIVED, KNOWN))
    slower = (used > 0) & (used < most)
    return jnp.where(slower, used / jnp.where(most > 0, most, 1.0), 1.0)


def _largest(memories: Memories, kind: int) -> at.Array:
    """The `_MOST` quantile [a] of the absolute actions; NaN where there are none."""
    given = mem.recorded(memories, kind)[..., None]
    actions = jnp.where(given, jnp.abs(memories["actions"]), jnp.nan)
    return jnp.nanquantile(actions, _MOST, axis=(0, 1))
