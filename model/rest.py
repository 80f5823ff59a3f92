"""Tells by where its sensors stand at rest whether an episode is of the changed robot.

An arm begins each episode of a task in the same place. A remounted sensor stands
elsewhere there, so the first observation tells which robot this is, and by how much to
turn its sensors back. One delta then serves the robot before and after the change: only
the one that rests elsewhere is corrected.

How far an episode's first state lies on the way from the known place to the one that
the delta names is its share, 0 for the known robot and 1 for the changed one. It is
kept in the carry for the rest of the episode: 0 before its first step, then 1 plus its
share.

Source: a robot finds the zero of its encoders at a place that it knows (homing).
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from model import array_types as at
from model.normalisation import Statistics
from model.precision import product_f32
from model.surfaces import Calibration, Normalisation

_UNCERTAIN = 0.25
"""Up to this share an episode is of the known robot, and from 1 minus it on of the
changed one. Readings at rest spread by less than a fifth of a shift that was found."""
_SMALLEST = 1e-9
"""Squared length of a shift that counts as none."""


class Rest(nnx.Module):
    """Where sensors stood at rest in training, and how far they have moved since."""

    def __init__(self, statistics: Statistics, task_count: int) -> None:
        size = (task_count, statistics.mean.size)
        stands = statistics.mean if statistics.rest is None else statistics.rest
        known = (stands - statistics.mean) / statistics.deviation
        known = np.broadcast_to(known, size).astype(np.float32)
        self.known = Normalisation(jnp.asarray(known))
        self.moved = Calibration(jnp.asarray(np.zeros(size[1:], np.float32)))

    def sequence(
        self, x: at.States, task: at.TaskOneHot, starts: at.Starts, carry: at.Array
    ) -> tuple[at.States, at.Array]:
        """Turns moved sensors back over a window.

        Shapes: x [t ... n] normalised, task [t ... k], starts [t ...], carry [... 1] to
        the same x and carry.
        """
        told = self.tell(x, task)
        step = jnp.arange(len(starts)).reshape(-1, *[1] * (starts.ndim - 1))
        latest = jax.lax.cummax(jnp.where(starts, step, -1), axis=0)
        begun = jnp.take_along_axis(told, jnp.maximum(latest, 0), axis=0)
        told = jnp.where(latest < 0, _hold(carry[..., 0], told[0]), begun)
        return self._turn_back(x, told), told[-1][..., None]

    def step(
        self, x: at.States, task: at.TaskOneHot, carry: at.Array
    ) -> tuple[at.States, at.Array]:
        """The same for one step: x [... n], task [... k], carry [... 1]."""
        told = _hold(carry[..., 0], self.tell(x, task))
        return self._turn_back(x, told), told[..., None]

    def tell(self, x: at.States, task: at.TaskOneHot) -> at.Array:
        """1 plus the share [...], should an episode of a task begin with x [... n]."""
        moved = self._moved()
        length = jnp.maximum(jnp.sum(moved * moved), _SMALLEST)
        known = product_f32(task, self.known[...])
        way = jnp.sum((x - known) * moved, axis=-1) / length
        share = (way - _UNCERTAIN) / (1.0 - 2.0 * _UNCERTAIN)
        return 1.0 + jnp.clip(share, 0.0, 1.0)

    def _turn_back(self, x: at.States, told: at.Array) -> at.States:
        return x - (told[..., None] - 1.0) * self._moved()

    def _moved(self) -> at.Array:
        # Measured where the robot rests, never descended on: actions do not show it.
        return jax.lax.stop_gradient(self.moved[...])


def _hold(carried: at.Array, told: at.Array) -> at.Array:
    """What is carried, or what is told where nothing is, in operators that ONNX has."""
    return carried + (1.0 - jnp.minimum(carried, 1.0)) * told
