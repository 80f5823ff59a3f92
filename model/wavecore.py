"""WaveCore: a recurrent policy that also predicts its next observation.

    normalise -> turn back moved sensors -> encode
              -> [wave mixer, particle mixer, adapter] x blocks
              -> read skill memory -> heads: action and its scale, next observation,
                                      value

The wave mixer moves information through time (a gated diagonal linear
recurrence), the particle mixer within one step (a gated MLP). The model has two
forms with one set of weights: `sequence` for training, `step` for control. Both
compute in the dtype of the matrices (see `model.precision`).

Action scale and value are computed from the features and do not shape them: imitation,
the purpose of the model, learns the same with and without them.

Actions are in reaches, here and in all that learns: 1 is the largest command that the
robot takes (`action_reach`), be that 100 degrees or 0.05 m/s. Only the control step
(`model.step_function`), which speaks with the robot, has them in the robot's units.

Sources: residual blocks of temporal mixer and gated MLP, De et al. 2024,
arXiv:2402.19427 (Griffin), section 2; low-rank adapters,
Hu et al. 2021, arXiv:2106.09685, section 4.1.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from model import array_types as at
from model import elementwise, errors, normalisation, recurrence, senses
from model.config import REST_CARRY, WaveCoreConfig
from model.drives import Drives
from model.gaps import Gaps
from model.precision import product, product_f32
from model.rest import Rest
from model.surfaces import (
    Adapters,
    Backbone,
    Calibration,
    Head,
    Normalisation,
    SkillMemory,
)

LARGEST_LOG_SCALE = 10.0
"""An action scale stays between exp(-10) and exp(10), whatever the features are."""


class Prediction(NamedTuple):
    """Outputs of the model at each step; f32 whatever the model computes in.

    Attributes:
        action: the action [... a], in reaches, not clamped.
        next_observation: expected next observation state [... n], in its units.
        carry: recurrent state [... c] after the last step.
        action_scale: expected absolute error [... a] of the action, in reaches: the
            scale of a Laplace distribution around it. None if the model has no such
            head.
        value: discounted mean [...] of the rewards to come, between -1 and 1, as
            `losses.returns` defines it. None if the model has no such head.
    """

    action: at.Actions
    next_observation: at.States
    carry: at.Carry
    action_scale: at.ActionScales | None = None
    value: at.Values | None = None


def _matrix(
    random: np.random.Generator, rows: int, columns: int, gain: float = 1.0
) -> at.Array:
    """Normal numbers of variance gain² / rows; LeCun et al. 1998, section 4.6.

    NumPy draws them, because JAX would compile one program per shape.
    """
    numbers = random.standard_normal((rows, columns), np.float32)
    return jnp.asarray(numbers * np.float32(gain / np.sqrt(rows)))


def _zeros(*shape: int) -> at.Array:
    return jnp.asarray(np.zeros(shape, np.float32))


def _ones(*shape: int) -> at.Array:
    return jnp.asarray(np.ones(shape, np.float32))


class WaveMixer(nnx.Module):
    """Mixes along time: gated recurrence, then an output gate.

    Initial time constants are evenly spaced in logarithm from one step to
    `longest_memory_steps`. With `config.oscillating`, pairs of channels also rotate by
    a learned angle per step, which makes the recurrence complex.
    """

    def __init__(self, config: WaveCoreConfig, random: np.random.Generator) -> None:
        d, e, g = config.width, config.recurrence_size, config.gate_count
        memory_steps = np.geomspace(1, config.longest_memory_steps, g)
        self.gate = Backbone(_matrix(random, d, g))
        self.gate_bias = Backbone(jnp.asarray(-np.log(memory_steps), jnp.float32))
        self.value = Backbone(_matrix(random, d, e))
        self.out_gate = Backbone(_matrix(random, d, e))
        self.outward = Backbone(_matrix(random, e, d))
        self.oscillating = config.oscillating
        if self.oscillating:
            turns = np.pi / np.geomspace(1, config.longest_memory_steps, e // 2)
            self.angle_rad = Backbone(jnp.asarray(turns, jnp.float32))

    def sequence(
        self, x: at.Residual, starts: at.Starts, carry: at.Recurrent, form: str | None
    ) -> tuple[at.Residual, at.Recurrent]:
        """Shapes: x [r d], starts [t ...], carry [... e] to [r d], [... e].

        Rows r are the steps of all batch entries, time first. As rows of one matrix,
        products need no copies; only the recurrence sees time.
        """
        decay, drive = (y.reshape(*starts.shape, -1) for y in self._inputs(x))
        decay = jnp.where(starts[..., None], 0.0, decay)
        if not self.oscillating:
            states = recurrence.sequence(decay, drive, carry, form)
        else:
            angle, times = self.angle_rad[...], jnp.arange(1.0, len(starts) + 1)
            drive = recurrence.rotate(drive, angle, -times)
            turned = recurrence.sequence(decay, drive, carry, form)
            states = recurrence.rotate(turned, angle, times)
        rows = states.reshape(*x.shape[:-1], -1)
        return self._outward(x, rows), states[-1]

    def step(
        self, x: at.Residual, carry: at.Recurrent
    ) -> tuple[at.Residual, at.Recurrent]:
        """Shapes: x [... d], carry [... e] to [... d], [... e]."""
        decay, drive = self._inputs(x)
        if self.oscillating:
            once = jnp.ones(1)
            carry = recurrence.rotate(carry[None], self.angle_rad[...], once)[0]
        carry = recurrence.step(decay, drive, carry)
        return self._outward(x, carry), carry

    def _outward(self, x: at.Residual, states: at.Recurrent) -> at.Residual:
        gate = product(x, self.out_gate[...])
        mixed = elementwise.apply_gate(gate, states.astype(x.dtype))
        return product(mixed, self.outward[...])

    def _inputs(self, x: at.Residual) -> tuple[at.Array, at.Recurrent]:
        """Decay [... g] and drive [... e]: how much stays, and what is added."""
        logit = product_f32(x, self.gate[...]) + self.gate_bias[...]
        value = product_f32(x, self.value[...])
        fresh = jax.nn.sigmoid(logit)
        if self.oscillating:
            fresh = jnp.concatenate([fresh, fresh], axis=-1)
        group = value.shape[-1] // fresh.shape[-1]
        share = fresh if group == 1 else jnp.repeat(fresh, group, axis=-1)
        return 1 - fresh, share * value


class ParticleMixer(nnx.Module):
    """Mixes the channels of one step: a gated MLP."""

    def __init__(self, config: WaveCoreConfig, random: np.random.Generator) -> None:
        d, f = config.width, config.hidden_size
        self.gate = Backbone(_matrix(random, d, f))
        self.value = Backbone(_matrix(random, d, f))
        self.outward = Backbone(_matrix(random, f, d))

    def __call__(self, x: at.Residual) -> at.Residual:
        """Shapes: x [... d] to [... d]."""
        gate, value = product(x, self.gate[...]), product(x, self.value[...])
        return product(elementwise.apply_gate(gate, value), self.outward[...])


class Block(nnx.Module):
    """One residual block with its low-rank adapter."""

    def __init__(self, config: WaveCoreConfig, random: np.random.Generator) -> None:
        d, rank = config.width, config.adapter_rank
        self.wave = WaveMixer(config, random)
        self.particle = ParticleMixer(config, random)
        self.adapter_in = Adapters(_matrix(random, d, rank))
        self.adapter_out = Adapters(_zeros(rank, d))

    def sequence(
        self, x: at.Residual, starts: at.Starts, carry: at.Recurrent, form: str | None
    ) -> tuple[at.Residual, at.Recurrent]:
        """Shapes: x [r d], starts [t ...], carry [... e] to [r d], [... e]."""
        mixed, carry = self.wave.sequence(elementwise.rms_norm(x), starts, carry, form)
        return self._within_step(x + mixed), carry

    def step(
        self, x: at.Residual, carry: at.Recurrent
    ) -> tuple[at.Residual, at.Recurrent]:
        """Shapes: x [... d], carry [... e] to [... d], [... e]."""
        mixed, carry = self.wave.step(elementwise.rms_norm(x), carry)
        return self._within_step(x + mixed), carry

    def _within_step(self, x: at.Residual) -> at.Residual:
        x = x + self.particle(elementwise.rms_norm(x))
        return x + product(product(x, self.adapter_in[...]), self.adapter_out[...])


class Skills(nnx.Module):
    """Levels of fixed slots, each read by content: softmax attention over its keys.

    The levels differ in when they are written (`model.learn.consolidation`), not in
    how they are read: a fast one follows the robot, a slow one keeps what lasts.

    Sources: Behrouz et al. 2025, arXiv:2512.24695 (continuum memory system: a chain
    of memories, each with its own frequency); Vaswani et al. 2017,
    arXiv:1706.03762, section 3.2.1 (reading).
    """

    def __init__(self, config: WaveCoreConfig, random: np.random.Generator) -> None:
        levels, m, d = config.skill_levels, config.skill_slots, config.width
        keys = _matrix(random, levels * m, d, gain=levels**0.5)
        self.keys = SkillMemory(keys.reshape(levels, m, d))
        self.values = SkillMemory(_zeros(levels, m, d))

    def __call__(self, x: at.Residual) -> at.Residual:
        """Shapes: x [... d] to [... d], the sum of what the levels read."""
        levels, m, d = self.keys.shape
        scores = product_f32(x, self.keys[...].reshape(-1, d).T) / jnp.sqrt(float(d))
        scores = scores.reshape(*x.shape[:-1], levels, m)
        shares = jax.nn.softmax(scores, axis=-1).reshape(*x.shape[:-1], levels * m)
        return product(shares.astype(x.dtype), self.values[...].reshape(-1, d))


class WaveCore(nnx.Module):
    """The whole model; its sizes are in `config`.

    Raises:
        ShapeMismatchError: on construction, when the statistics are not of
            `config.state_size`, `config.action_size` and `config.audio_size` channels;
            on a call, when an input's channels disagree with `config`.
    """

    def __init__(
        self,
        config: WaveCoreConfig,
        statistics: normalisation.Statistics,
        random: np.random.Generator,
    ) -> None:
        n, a, d = config.state_size, config.action_size, config.width
        _check("statistics", statistics.mean.shape[-1:], (n,))
        if config.audio_size and statistics.audio_mean is not None:
            sound = statistics.audio_mean.shape[-1:]
            _check("statistics of the sound", sound, (config.audio_size,))
        reach = statistics.action_reach
        reach = np.ones(a, np.float32) if reach is None else reach
        _check("reach of the actions", reach.shape, (a,))
        self.config = config
        self.mean = Normalisation(jnp.asarray(statistics.mean))
        self.deviation = Normalisation(jnp.asarray(statistics.deviation))
        self.change = Normalisation(jnp.asarray(statistics.change))
        self.action_reach = Normalisation(jnp.asarray(reach))
        self.rest = Rest(statistics, config.task_count)
        self.gaps = Gaps(n)
        self.drives = Drives(n, config.action_size)
        self.input_scale = Calibration(_ones(n))
        self.input_bias = Calibration(_zeros(n))
        self.action_bias = Calibration(_zeros(a))
        self.encode_state = Backbone(_matrix(random, n, d))
        self.encode_task = Backbone(_matrix(random, config.task_count, d))
        self.blocks = nnx.List(
            [Block(config, random) for _ in range(config.block_count)]
        )
        self.skills = Skills(config, random)
        self.action_head = Head(_matrix(random, d, a, gain=0.1))
        self.action_head_bias = Head(_zeros(a))
        self.next_head = Backbone(_matrix(random, d, n, gain=0.1))
        self.scale_head, self.scale_bias = Backbone(_zeros(d, a)), Backbone(_zeros(a))
        self.value_head, self.value_bias = Backbone(_zeros(d, 1)), Backbone(_zeros(1))
        self.senses = senses.make_encoders(config, statistics, random)

    def sequence(
        self,
        states: at.States,
        task: at.TaskOneHot,
        starts: at.Starts,
        carry: at.Carry,
        form: str | None = None,
        *,
        sensed: Mapping[str, at.Array] | None = None,
        remat: bool = False,
    ) -> Prediction:
        """Predicts at every step of a window; equal to repeated `step`.

        Shapes: states [... t n], task [... t k], starts [... t], carry [... c] to
        action [... t a], next_observation [... t n], carry [... c], action_scale
        [... t a], value [... t].

        Args:
            states: observation states, in the robot's units.
            task: one-hot choice of the task.
            starts: True at the first step of an episode.
            carry: recurrent state before the first step.
            form: of the recurrence; default: the fastest for the shape, on whatever
                platform the program is lowered for (`recurrence.sequence`).
            sensed: what the robot perceives besides its state, by the name of the
                sense, in the shapes of `senses.shapes` with [... t] in front, or of
                `senses.encoded_shapes`. A sense that is left out is silent, like one
                whose numbers are all zero.
            remat: recompute the inside of each block in the backward pass instead of
                keeping it: less memory for about a third more work.
        """
        # Inside, steps are the rows of one matrix, time first: the recurrence reads and
        # writes whole steps, and only the narrow inputs and outputs are moved.
        axis = starts.ndim - 1

        def rows(x: at.Array) -> at.Array:
            return jnp.moveaxis(x, axis, 0).reshape(-1, *x.shape[axis + 1 :])

        def batch_first(x: at.Array) -> at.Array:
            return jnp.moveaxis(x.reshape(*starts.shape, *x.shape[1:]), 0, axis)

        states, task = rows(states), rows(task)
        sensed = {name: rows(x) for name, x in (sensed or {}).items()}
        starts = jnp.moveaxis(starts, -1, 0)
        parts, told = self._parts(carry)
        scaled, told = self.rest.sequence(
            self.normalise(states).reshape(*starts.shape, -1),
            task.reshape(*starts.shape, -1),
            starts,
            told,
        )
        x = self._encode(scaled.reshape(states.shape), task, sensed)
        carries = []
        for block, part in zip(self.blocks, parts, strict=True):
            x, following = _sequence(block, x, starts, part, form, remat)
            carries.append(following)
        prediction = self._decode(x, states, [*carries, told])
        return jax.tree.map(batch_first, prediction._replace(carry=None))._replace(
            carry=prediction.carry
        )

    def step(
        self,
        state: at.States,
        task: at.TaskOneHot,
        carry: at.Carry,
        *,
        sensed: Mapping[str, at.Array] | None = None,
    ) -> Prediction:
        """Predicts at one control step.

        Shapes: state [... n], task [... k], carry [... c] to action [... a],
        next_observation [... n], carry [... c], action_scale [... a], value [...]. An
        episode begins with a carry of zeros. `sensed` is as for `sequence`.
        """
        parts, told = self._parts(carry)
        scaled, told = self.rest.step(self.normalise(state), task, told)
        x = self._encode(scaled, task, sensed or {})
        carries = []
        for block, part in zip(self.blocks, parts, strict=True):
            x, following = block.step(x, part)
            carries.append(following)
        return self._decode(x, state, [*carries, told])

    def _parts(self, carry: at.Carry) -> tuple[list[at.Recurrent], at.Array]:
        """What each block carries, and what `Rest` does."""
        _check("carry", carry.shape[-1:], (self.config.carry_size,))
        recurrent, told = jnp.split(carry, [-REST_CARRY], axis=-1)
        return jnp.split(recurrent, self.config.block_count, axis=-1), told

    def normalise(self, states: at.States) -> at.States:
        """States [... n] without units, as the model's first layer sees them."""
        _check("states", states.shape[-1:], (self.config.state_size,))
        x = (states - self.mean[...]) / self.deviation[...]
        return jnp.clip(x, -normalisation.LARGEST_INPUT, normalisation.LARGEST_INPUT)

    def _encode(
        self, x: at.States, task: at.TaskOneHot, sensed: Mapping[str, at.Array]
    ) -> at.Residual:
        _check("task", task.shape[-1:], (self.config.task_count,))
        x = x * self.input_scale[...] + self.input_bias[...]
        encoded = product_f32(x, self.encode_state[...])
        encoded = encoded + product_f32(task, self.encode_task[...])
        encoded = encoded.astype(self.encode_state[...].dtype)
        return encoded + self._encode_senses(sensed, encoded) if sensed else encoded

    def _encode_senses(
        self, sensed: Mapping[str, at.Array], encoded: at.Residual
    ) -> at.Residual:
        """What the senses add to the residual stream of the state."""
        recorded = senses.shapes(self.config)
        known = recorded | senses.encoded_shapes(self.config)
        for name, x in sensed.items():
            expected = known.get(name, ())
            if not expected or x.shape[encoded.ndim - 1 :] != expected:
                raise errors.ShapeMismatchError(
                    f"sense {name}",
                    expected or f"one of {', '.join(recorded) or 'no sense'}",
                    x.shape[encoded.ndim - 1 :],
                    "configure the model for the senses of its episodes",
                )
        total = jnp.zeros_like(encoded)
        for name, x in senses.perceive(self.config, sensed).items():
            total = total + self.senses[name](x, encoded.dtype)
        return total

    def _decode(
        self, x: at.Residual, states: at.States, carries: list[at.Recurrent]
    ) -> Prediction:
        x = elementwise.rms_norm(x)
        x = x + self.skills(x)
        action = product_f32(x, self.action_head[...]) + self.action_head_bias[...]
        change = product_f32(x, self.next_head[...]) * self.change[...]
        still = jax.lax.stop_gradient(x)
        scale = product_f32(still, self.scale_head[...]) + self.scale_bias[...]
        value = product_f32(still, self.value_head[...]) + self.value_bias[...]
        return Prediction(
            action=action + self.action_bias[...],
            next_observation=states + change,
            carry=jnp.concatenate(carries, axis=-1),
            action_scale=jnp.exp(
                jnp.clip(scale, -LARGEST_LOG_SCALE, LARGEST_LOG_SCALE)
            ),
            value=jnp.tanh(value[..., 0]),
        )


def _sequence(
    block: Block,
    x: at.Residual,
    starts: at.Starts,
    carry: at.Recurrent,
    form: str | None,
    remat: bool,
) -> tuple[at.Residual, at.Recurrent]:
    """One block over a window; with `remat` only its inputs are kept."""

    def run(x: at.Residual, carry: at.Recurrent) -> tuple[at.Residual, at.Recurrent]:
        return block.sequence(x, starts, carry, form)

    return (jax.checkpoint(run) if remat else run)(x, carry)


def _check(name: str, got: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if got != expected:
        raise errors.ShapeMismatchError(
            f"{name}, last axis", expected, got, "use arrays of this model's robot"
        )
