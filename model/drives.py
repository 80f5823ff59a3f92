"""Turns back an arm that moves further, less far or later than it did in training.

A night finds how the sensors of the known robot follow its commands, and with which
gain and how many steps later those of the robot of now do (`model.learn.actuation`). It
writes all of it into the calibration, and the control step then turns it back:

- A command is divided by the gain, up to the limits of the arm: a weak one is as slow
  as it is, but presses as hard as it should and stops where it should.
- The model is given the state that the known robot would show by now: to the state that
  is seen, the motion is added that commands on their way will still cause.

Both are done only while the arm is the one that the delta describes. After each step
the change of the state is compared with what the commands would have done to the known
arm and to the one of now. The difference of the two errors is summed up, and its sign
tells the robots apart after a step or two in free motion. So one delta serves both, and
nothing has to be learned by heart, or forgotten. An episode begins as one of the robot
of now. An arm with a larger gain that presses on something follows neither, and is
taken for the known one until it moves freely again; one with a smaller gain, for the
one of now.

Only the control step does this: in a window of recorded steps (`WaveCore.sequence`) the
commands are those of whoever drove. Commands are in reaches, so the limits are 1.

What a step hands to the next one is in the carry: the commands of the last steps
[h a], latest first, and the evidence [1]; all 0 before the first step. The commands are
those that the model gave. While they are limited, or a person acts in their place, the
evidence says little; a few steps after that it is right again.

Sources: dead time that is compensated by a model of what is on its way, Smith 1957,
"Closer control of loops with dead time", Chemical Engineering Progress 53; two models
that are told apart by summed errors, Wald 1945, "Sequential Tests of Statistical
Hypotheses", Annals of Mathematical Statistics 16.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from model import array_types as at
from model.config import REMEMBERED_COMMANDS, RESPONSE_STEPS
from model.precision import product_f32
from model.surfaces import Calibration

LARGEST_LATENCY_STEPS = REMEMBERED_COMMANDS - RESPONSE_STEPS
"""Largest latency that can be turned back, 16: a fifth of a second at 80 Hz."""
SMALLEST_GAIN, LARGEST_GAIN = 0.25, 4.0
"""Gains that are turned back; one beyond them counts as the nearest of them."""
SAID_GAIN, SAID_LATENCY, SAID_RESPONSE = 0.1, 0.05, 0.25
"""What a delta adds for a gain of 1 more, for a step, and for a response of 1: small,
so that all of it has room within the bound of the calibration."""
FURTHEST = 3.0
"""An error counts up to so many times the part of a sensor's motion that commands do
not explain. An arm that presses on something does not follow its commands, and has no
other gain: without a limit, gains of 1.7 and 1.0 were found as 1.12 and 0.79 in one
axis; with it, as 1.78 and 1.0 (docs/decisions/0009)."""
_MOST_EVIDENCE, _SURE = 20.0, 10.0
"""Squared errors, in unexplained parts: how much is kept, and how much makes sure.
One step in motion of the simulated arm, which has six such sensors, gives up to 54. An
arm that is held on something follows no command and looks like the known one; the less
is kept, the sooner it is told again."""
_LEAST = 1e-6


class Seen(NamedTuple):
    """What the drives make of one step.

    Attributes:
        state: [n] that the model is given.
        command: [a], factor of each command of the model.
        share: [1], how sure it is that the arm is the one of now.
        evidence: [1] for the next step.
    """

    state: at.Array
    command: at.Array
    share: at.Array
    evidence: at.Array


class Drives(nnx.Module):
    """How the known arm follows its commands, and what differs now.

    Zeros, as trained, say that nothing differs: every number passes as it is.
    """

    def __init__(self, state_size: int, action_size: int) -> None:
        def nothing(*shape: int) -> Calibration:
            return Calibration(jnp.asarray(np.zeros(shape, np.float32)))

        self.response = nothing(RESPONSE_STEPS, action_size, state_size)
        self.unit = nothing(state_size)
        self.gain = nothing(action_size)
        self.latency = nothing(1)

    def turn_back(
        self,
        state: at.Array,
        change: at.Array,
        heard: at.Array,
        deviation: at.Array,
        commands: at.Array,
        evidence: at.Array,
    ) -> Seen:
        """What the model is given at one step.

        Shapes: state and its change [n] since the last step, in the robot's units;
        heard [n], 1 where the change was really seen and else 0; deviation [n], what
        the response counts in; commands [h a], latest first; and evidence [1].
        """
        gain, motion = self._gain(), self._move(commands)
        # No unit is below zero, but a delta may say anything within its bound.
        unit = jnp.maximum(self.unit[...], _LEAST)
        error = jnp.abs(change / deviation - motion[:2]) / unit
        limited = jnp.minimum(error, FURTHEST)
        better = (limited[:1] * limited[:1] - limited[1:] * limited[1:]) * heard
        evidence = evidence + jnp.sum(better, axis=-1)
        evidence = jnp.clip(evidence, -_MOST_EVIDENCE, _MOST_EVIDENCE)
        share = jnp.clip(1.0 + evidence / _SURE, 0.0, 1.0)
        return Seen(
            state + share * (motion[2] * deviation),
            1.0 + share * (1.0 / gain - 1.0),
            share,
            evidence,
        )

    def expect(
        self,
        following: at.Array,
        share: at.Array,
        deviation: at.Array,
        commands: at.Array,
    ) -> at.Array:
        """What the arm will show [n] where the known one would show `following` [n].

        Shapes: share [1] of `turn_back`, commands [h a] with the latest one.
        """
        return following - share * (self._move(commands)[2] * deviation)

    def _gain(self) -> at.Array:
        return jnp.clip(1.0 + self.gain[...] / SAID_GAIN, SMALLEST_GAIN, LARGEST_GAIN)

    def _move(self, commands: at.Array) -> at.Array:
        """What commands [h a] do in one step, in deviations, [3 n].

        To the known arm; to the arm of now; and what all those do that have not arrived
        there yet, in all the steps until they have.
        """
        latency = jnp.clip(self.latency[...] / SAID_LATENCY, 0.0, LARGEST_LATENCY_STEPS)
        arrive = jnp.clip(self._gain() * commands, -1.0, 1.0)
        # Weights of the remembered commands for each of the k that move the arm.
        now = jnp.maximum(1.0 - jnp.abs(_LATER - latency), 0.0)
        under_way = jnp.clip(latency - _LATER, 0.0, 1.0) * _GIVEN
        weights = jnp.concatenate([now, under_way])
        arriving = product_f32(arrive.T, weights.T).T
        rows = jnp.concatenate([commands[:RESPONSE_STEPS], arriving]).reshape(3, -1)
        response = self.response[...].reshape(rows.shape[1], -1) / SAID_RESPONSE
        return product_f32(rows, response)


def give(action: at.Array, factor: at.Array) -> at.Array:
    """The command [a] for an action [a] of the model, by `Seen.command`.

    One that is made larger stays within the limits of the arm: a stop rule that watches
    what is proposed must not see more than the model itself proposed.
    """
    most = jnp.maximum(jnp.abs(action), 1.0)
    least = 0.0 - most  # a negation would be one more operator of the step's ONNX form
    return jnp.maximum(jnp.minimum(action * factor, most), least)


def remember(commands: at.Array, given: at.Array) -> at.Array:
    """The commands [h a] after one more [a], within the limits of the arm."""
    latest = jnp.clip(given, -1.0, 1.0)
    return jnp.concatenate([latest.reshape(1, -1), commands[:-1]])


_LATER = np.subtract.outer(-np.arange(RESPONSE_STEPS), -np.arange(REMEMBERED_COMMANDS))
_LATER = _LATER.astype(np.float32)
"""[k h], by how much a remembered command is older than the k-th that moves the arm."""
_GIVEN = (_LATER >= 0).astype(np.float32)
