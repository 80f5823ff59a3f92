"""Memories for tests: episodes as arrays of fixed shapes."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from model.config import WaveCoreConfig
from model.learn import memories
from model.learn.memories import KNOWN, Memories


class Remembered(NamedTuple):
    """One episode.

    Attributes:
        states: [t+1 n].
        actions: [t a] to imitate.
        executed: [t a]; the actions if None.
        task: its number.
        kind: `KNOWN`, `LIVED` or `SEEN`.
        imitate: [t], which steps to imitate; all if None.
    """

    states: np.ndarray
    actions: np.ndarray
    executed: np.ndarray | None = None
    task: int = 0
    kind: int = KNOWN
    imitate: np.ndarray | None = None


def fill(
    sizes: WaveCoreConfig, episodes: Sequence[Remembered], room: int, steps: int
) -> Memories:
    """Memories of `room` episodes of at most `steps` steps, the given ones first."""
    arrays = {
        name: np.zeros(x.shape, x.dtype)
        for name, x in memories.shapes(sizes, room, steps).items()
    }
    for slot, one in enumerate(episodes):
        length = min(len(one.actions), steps)
        executed = one.actions if one.executed is None else one.executed
        arrays["states"][slot, : length + 1] = one.states[: length + 1]
        arrays["actions"][slot, :length] = one.actions[:length]
        arrays["executed"][slot, :length] = executed[:length]
        imitate = np.ones(length) if one.imitate is None else one.imitate
        arrays["imitate"][slot, :length] = imitate[:length]
        arrays["task"][slot, one.task] = 1.0
        arrays["length"][slot], arrays["kind"][slot] = length, one.kind
    return {name: jnp.asarray(x) for name, x in arrays.items()}
