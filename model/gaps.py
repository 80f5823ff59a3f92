"""What is assumed of a sensor while it is not heard.

A driver whose message is lost leaves the number that was read last, so a sensor with a
loose plug keeps a value for some steps and then jumps. To a policy it says that the arm
stands still, and the policy pushes on. Nothing in one observation tells such a value
from a fresh one, but a delta may say which sensors fall silent (`model.learn.gaps`).
While one of these keeps exactly the value that it had, the model is given what it
expected to see in its place. A sensor that is heard never keeps its value, so one delta
serves the robot with and without gaps.

Only the control step does this; in a window of recorded steps (`WaveCore.sequence`) an
expectation would have to wait for the step before.

What a step hands to the next one is in the carry, behind that of the model: the last
state as it came [n], the one that was expected [n], and for how many steps in a row
each sensor was silent [n]; all 0 before the first step.

Source: the prediction step of a Kalman filter without a measurement, Sinopoli et al.
2004, "Kalman Filtering with Intermittent Observations", IEEE Transactions on Automatic
Control 49, section II; here the model is learned, and its expectation is taken as it
is.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from model import array_types as at
from model.surfaces import Calibration

SAID_SILENT = 0.1
"""What a delta adds for a sensor that falls silent. All sensors of the simulated arm
together take 0.6 of the bound of 2 of the calibration."""
LONGEST_STEPS = 100
"""For so many steps in a row something is assumed of a sensor: 1.25 s at 80 Hz. One
that is silent for longer is not to be replaced by a guess, and its last value stands
again."""
_SURE, _UNSURE = 0.75 * SAID_SILENT, 0.25 * SAID_SILENT
_EVERY_DIFFERENCE = 1e30
LARGEST = 1e30
"""Largest reading that a step remembers. The model itself clips what it is given, so an
infinite reading may pass; remembered, it would spoil every step after it."""


class Gaps(nnx.Module):
    """Which sensors fall silent now and then, and what is assumed of them meanwhile."""

    def __init__(self, state_size: int) -> None:
        self.silent = Calibration(jnp.asarray(np.zeros(state_size, np.float32)))

    def assume(self, state: at.States, carry: at.Array) -> tuple[at.States, at.Array]:
        """Puts what was expected in the place of what is not heard.

        Shapes: state [... n], carry [... 3n] to the state that the model is given
        [... n], and for how many steps in a row each sensor was silent [... n].
        """
        n = state.shape[-1]
        last, expected, steps = jnp.split(carry, [n, 2 * n], axis=-1)
        # In operators that ONNX has, and exact: 1 where nothing differs, else 0.
        kept = 1.0 - jnp.minimum(jnp.abs(state - last) * _EVERY_DIFFERENCE, 1.0)
        says = (self.silent[...] - _UNSURE) / (_SURE - _UNSURE)
        silent = kept * jnp.minimum(jnp.maximum(says, 0.0), 1.0)
        may = jnp.minimum(jnp.maximum(LONGEST_STEPS - steps, 0.0), 1.0)
        return state + may * silent * (expected - state), (steps + 1.0) * silent
