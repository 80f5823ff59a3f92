"""WaveCore: a recurrent policy that also predicts its next observation.

    normalise -> encode -> [wave mixer, particle mixer, adapter] x blocks
              -> read skill memory -> action head, next-observation head

The wave mixer moves information through time (a gated diagonal linear
recurrence), the particle mixer within one step (a gated MLP). The model has two
forms with one set of weights: `sequence` for training, `step` for control.

Sources: residual blocks of temporal mixer and gated MLP, De et al. 2024,
arXiv:2402.19427 (Griffin), section 2; low-rank adapters,
Hu et al. 2021, arXiv:2106.09685, section 4.1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from model import array_types as at
from model import elementwise, errors, normalisation, recurrence
from model.config import WaveCoreConfig
from model.surfaces import (
    Adapters,
    Backbone,
    Calibration,
    Head,
    Normalisation,
    SkillMemory,
)


class Prediction(NamedTuple):
    """What the model says at each step.

    Attributes:
        action: mean action [... a], in the robot's units, not clamped.
        next_observation: expected next observation state [... n], in its units.
        carry: recurrent state [... c] after the last step.
    """

    action: at.Actions
    next_observation: at.States
    carry: at.Carry


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

    Time constants begin spread evenly in logarithm between one step and
    `longest_memory_steps`. With `config.oscillating`, pairs of channels also turn by
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
        self, x: at.Residual, starts: at.Starts, carry: at.Recurrent, form: str
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
        mixed = elementwise.gated(x @ self.out_gate[...], rows)
        return mixed @ self.outward[...], states[-1]

    def step(
        self, x: at.Residual, carry: at.Recurrent
    ) -> tuple[at.Residual, at.Recurrent]:
        """Shapes: x [... d], carry [... e] to [... d], [... e]."""
        decay, drive = self._inputs(x)
        if self.oscillating:
            once = jnp.ones(1)
            carry = recurrence.rotate(carry[None], self.angle_rad[...], once)[0]
        carry = recurrence.step(decay, drive, carry)
        mixed = elementwise.gated(x @ self.out_gate[...], carry)
        return mixed @ self.outward[...], carry

    def _inputs(self, x: at.Residual) -> tuple[at.Array, at.Recurrent]:
        """Decay [... g] and drive [... e]: how much stays, and what comes instead."""
        logit = x @ self.gate[...] + self.gate_bias[...]
        value = x @ self.value[...]
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
        mixed = elementwise.gated(x @ self.gate[...], x @ self.value[...])
        return mixed @ self.outward[...]


class Block(nnx.Module):
    """One residual block with its low-rank adapter."""

    def __init__(self, config: WaveCoreConfig, random: np.random.Generator) -> None:
        d, rank = config.width, config.adapter_rank
        self.wave = WaveMixer(config, random)
        self.particle = ParticleMixer(config, random)
        self.adapter_in = Adapters(_matrix(random, d, rank))
        self.adapter_out = Adapters(_zeros(rank, d))

    def sequence(
        self, x: at.Residual, starts: at.Starts, carry: at.Recurrent, form: str
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
        return x + (x @ self.adapter_in[...]) @ self.adapter_out[...]


class Skills(nnx.Module):
    """Levels of fixed slots, each read by content: softmax attention over its keys.

    The levels differ in when they are written (`model.updates`), not in how they are
    read: a fast one follows the robot, a slow one keeps what lasted.

    Sources: Behrouz et al. 2025, arXiv:2512.24695 (continuum memory system: a chain
    of memories, each at a frequency of its own); Vaswani et al. 2017,
    arXiv:1706.03762, section 3.2.1 (reading).
    """

    def __init__(self, config: WaveCoreConfig, random: np.random.Generator) -> None:
        levels, m, d = config.skill_levels, config.skill_slots, config.width
        keys = _matrix(random, levels * m, d, gain=levels**0.5)
        self.keys = SkillMemory(keys.reshape(levels, m, d))
        self.values = SkillMemory(_zeros(levels, m, d))

    def __call__(self, x: at.Residual) -> at.Residual:
        """Shapes: x [... d] to [... d], the sum over levels of what each says."""
        levels, m, d = self.keys.shape
        scores = x @ self.keys[...].reshape(-1, d).T / jnp.sqrt(float(d))
        scores = scores.reshape(*x.shape[:-1], levels, m)
        shares = jax.nn.softmax(scores, axis=-1).reshape(*x.shape[:-1], levels * m)
        return shares @ self.values[...].reshape(-1, d)


class WaveCore(nnx.Module):
    """The whole model; its sizes are in `config`.

    Raises:
        ShapeMismatchError: on construction, when the statistics are not of
            `config.state_size` channels; on a call, when an input's last axis
            disagrees with `config`.
    """

    def __init__(
        self,
        config: WaveCoreConfig,
        statistics: normalisation.Statistics,
        random: np.random.Generator,
    ) -> None:
        n, a, d = config.state_size, config.action_size, config.width
        _check("statistics", statistics.mean.shape[-1:], (n,))
        self.config = config
        self.mean = Normalisation(jnp.asarray(statistics.mean))
        self.deviation = Normalisation(jnp.asarray(statistics.deviation))
        self.change = Normalisation(jnp.asarray(statistics.change))
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

    def sequence(
        self,
        states: at.States,
        task: at.TaskOneHot,
        starts: at.Starts,
        carry: at.Carry,
        form: str | None = None,
    ) -> Prediction:
        """Predicts at every step of a window; equal to repeated `step`.

        Shapes: states [... t n], task [... t k], starts [... t], carry [... c] to
        action [... t a], next_observation [... t n], carry [... c]. `form` is that of
        the recurrence; default: the fastest on this machine's devices.
        """
        # Rows of one matrix inside, time first: the recurrence then reads and writes
        # whole steps, and only the narrow inputs and outputs are moved.
        starts = jnp.moveaxis(starts, -1, 0)
        states, task = (
            jnp.moveaxis(y, -2, 0).reshape(-1, y.shape[-1]) for y in (states, task)
        )
        form = form or recurrence.fastest_form(jax.default_backend())
        x = self._encode(states, task)
        _check("carry", carry.shape[-1:], (self.config.carry_size,))
        carries = []
        for block, part in zip(self.blocks, self._parts(carry), strict=True):
            x, following = block.sequence(x, starts, part, form)
            carries.append(following)
        said = self._decode(x, states, carries)

        def batch_first(rows: at.Array) -> at.Array:
            return jnp.moveaxis(rows.reshape(*starts.shape, -1), 0, -2)

        return Prediction(
            action=batch_first(said.action),
            next_observation=batch_first(said.next_observation),
            carry=said.carry,
        )

    def step(
        self, state: at.States, task: at.TaskOneHot, carry: at.Carry
    ) -> Prediction:
        """Predicts at one control step.

        Shapes: state [... n], task [... k], carry [... c] to action [... a],
        next_observation [... n], carry [... c]. An episode begins with a carry of
        zeros.
        """
        x = self._encode(state, task)
        _check("carry", carry.shape[-1:], (self.config.carry_size,))
        carries = []
        for block, part in zip(self.blocks, self._parts(carry), strict=True):
            x, following = block.step(x, part)
            carries.append(following)
        return self._decode(x, state, carries)

    def _parts(self, carry: at.Carry) -> list[at.Recurrent]:
        return jnp.split(carry, self.config.block_count, axis=-1)

    def _encode(self, states: at.States, task: at.TaskOneHot) -> at.Residual:
        _check("states", states.shape[-1:], (self.config.state_size,))
        _check("task", task.shape[-1:], (self.config.task_count,))
        x = (states - self.mean[...]) / self.deviation[...]
        x = jnp.clip(x, -normalisation.LARGEST_INPUT, normalisation.LARGEST_INPUT)
        x = x * self.input_scale[...] + self.input_bias[...]
        return x @ self.encode_state[...] + task @ self.encode_task[...]

    def _decode(
        self, x: at.Residual, states: at.States, carries: list[at.Recurrent]
    ) -> Prediction:
        x = elementwise.rms_norm(x)
        x = x + self.skills(x)
        action = x @ self.action_head[...] + self.action_head_bias[...]
        return Prediction(
            action=action + self.action_bias[...],
            next_observation=states + (x @ self.next_head[...]) * self.change[...],
            carry=jnp.concatenate(carries, axis=-1),
        )


def _check(name: str, got: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if got != expected:
        raise errors.ShapeMismatchError(
            f"{name}, last axis", expected, got, "use arrays of this model's robot"
        )
