"""Baselines for WaveCore's success: LSTM, GRU and a memoryless MLP.

Each has WaveCore's interface (`sequence`, `step`, `config.carry_size`), takes the
same normalised inputs, predicts the same action and next observation, and resets its
state at the first step of an episode, so that `cloud.train.fit.fit` trains all alike.

Products with the inputs of a layer are computed for all steps at once and only the
product with the recurrent state is in the loop, as in fast libraries. Sources:
Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000 (LSTM, its
bias at one); Cho et al. 2014, arXiv:1406.1078 (GRU, reset after the product).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from model import normalisation
from model.surfaces import Normalisation
from model.wavecore import Prediction


class PolicySizes(NamedTuple):
    """Sizes that training and evaluation read from a model.

    Attributes:
        carry_size: c, numbers carried from step to step; at least 1.
        task_count: k, tasks of the one-hot vector.
    """

    carry_size: int
    task_count: int


class Policy(nnx.Module):
    """Normalise, encode, layers of one kind, heads; shapes as in WaveCore."""

    def __init__(
        self,
        sizes: tuple[int, int, int],
        statistics: normalisation.Statistics,
        layers: list[nnx.Module],
        width: int,
        random: np.random.Generator,
    ) -> None:
        n, a, k = sizes
        carry = sum(layer.carry_size for layer in layers)
        self.config = PolicySizes(max(1, carry), k)
        self.mean = Normalisation(jnp.asarray(statistics.mean))
        self.deviation = Normalisation(jnp.asarray(statistics.deviation))
        self.change = Normalisation(jnp.asarray(statistics.change))
        self.encode = nnx.Param(_matrix(random, n + k, width))
        self.layers = nnx.List(layers)
        self.action_head = nnx.Param(_matrix(random, width, a) * 0.1)
        self.action_bias = nnx.Param(jnp.zeros(a))
        self.next_head = nnx.Param(_matrix(random, width, n) * 0.1)

    def sequence(
        self,
        states: jax.Array,
        task: jax.Array,
        starts: jax.Array,
        carry: jax.Array,
        form: str | None = None,
    ) -> Prediction:
        """See `WaveCore.sequence`; there is only one form."""
        del form
        x = jnp.moveaxis(self._encode(states, task), -2, 0)
        starts = jnp.moveaxis(starts, -1, 0)
        after = []
        for layer, part in zip(self.layers, self._parts(carry), strict=True):
            x, following = layer.sequence(x, starts, part)
            after.append(following)
        return self._decode(jnp.moveaxis(x, 0, -2), states, after, carry)

    def step(self, state: jax.Array, task: jax.Array, carry: jax.Array) -> Prediction:
        """See `WaveCore.step`."""
        starts = jnp.zeros((*state.shape[:-1], 1), bool)
        prediction = self.sequence(
            state[..., None, :], task[..., None, :], starts, carry
        )
        return Prediction(
            prediction.action[..., 0, :],
            prediction.next_observation[..., 0, :],
            prediction.carry,
        )

    def _parts(self, carry: jax.Array) -> list[jax.Array]:
        ends = np.cumsum([layer.carry_size for layer in self.layers])[:-1]
        return jnp.split(carry[..., : self.config.carry_size], ends, axis=-1)

    def _encode(self, states: jax.Array, task: jax.Array) -> jax.Array:
        x = (states - self.mean[...]) / self.deviation[...]
        x = jnp.clip(x, -normalisation.LARGEST_INPUT, normalisation.LARGEST_INPUT)
        return jnp.concatenate([x, task], -1) @ self.encode[...]

    def _decode(
        self,
        x: jax.Array,
        states: jax.Array,
        after: list[jax.Array],
        carry: jax.Array,
    ) -> Prediction:
        following = jnp.concatenate(after, -1)
        return Prediction(
            action=x @ self.action_head[...] + self.action_bias[...],
            next_observation=states + (x @ self.next_head[...]) * self.change[...],
            carry=following if following.shape[-1] else carry,
        )


class LstmLayer(nnx.Module):
    """One LSTM layer; carries output and cell."""

    def __init__(self, width: int, random: np.random.Generator) -> None:
        self.carry_size = 2 * width
        self.inward = nnx.Param(_matrix(random, width, 4 * width))
        self.recurrent = nnx.Param(_matrix(random, width, 4 * width))
        bias = np.zeros((4, width), np.float32)
        bias[1] = 1
        self.bias = nnx.Param(jnp.asarray(bias.ravel()))

    def sequence(
        self, x: jax.Array, starts: jax.Array, carry: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Shapes: x [t ... d], starts [t ...], carry [... 2d] to the same."""
        recurrent = self.recurrent[...]

        def advance(
            carry: tuple[jax.Array, ...], inputs: tuple[jax.Array, ...]
        ) -> tuple[tuple[jax.Array, ...], jax.Array]:
            drive, start = inputs
            output, cell = (jnp.where(start[..., None], 0, y) for y in carry)
            let, keep, say, new = jnp.split(drive + output @ recurrent, 4, -1)
            cell = jax.nn.sigmoid(keep) * cell + jax.nn.sigmoid(let) * jnp.tanh(new)
            output = jax.nn.sigmoid(say) * jnp.tanh(cell)
            return (output, cell), output

        drive = x @ self.inward[...] + self.bias[...]
        first = tuple(jnp.split(carry, 2, -1))
        last, outputs = jax.lax.scan(advance, first, (drive, starts))
        return outputs, jnp.concatenate(last, -1)


class GruLayer(nnx.Module):
    """One GRU layer; carries its output."""

    def __init__(self, width: int, random: np.random.Generator) -> None:
        self.carry_size = width
        self.inward = nnx.Param(_matrix(random, width, 3 * width))
        self.recurrent = nnx.Param(_matrix(random, width, 3 * width))
        self.bias = nnx.Param(jnp.zeros(3 * width))

    def sequence(
        self, x: jax.Array, starts: jax.Array, carry: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Shapes: x [t ... d], starts [t ...], carry [... d] to the same."""
        recurrent = self.recurrent[...]

        def advance(
            output: jax.Array, inputs: tuple[jax.Array, ...]
        ) -> tuple[jax.Array, jax.Array]:
            drive, start = inputs
            output = jnp.where(start[..., None], 0, output)
            old = jnp.split(output @ recurrent, 3, -1)
            new = jnp.split(drive, 3, -1)
            keep = jax.nn.sigmoid(new[0] + old[0])
            use = jax.nn.sigmoid(new[1] + old[1])
            output = keep * output + (1 - keep) * jnp.tanh(new[2] + use * old[2])
            return output, output

        drive = x @ self.inward[...] + self.bias[...]
        last, outputs = jax.lax.scan(advance, carry, (drive, starts))
        return outputs, last


class MlpLayer(nnx.Module):
    """One hidden layer without memory."""

    carry_size = 0

    def __init__(self, width: int, random: np.random.Generator) -> None:
        self.weight = nnx.Param(_matrix(random, width, width) * np.sqrt(2))
        self.bias = nnx.Param(jnp.zeros(width))

    def sequence(
        self, x: jax.Array, starts: jax.Array, carry: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Shapes: x [t ... d], starts [t ...], carry [... 0] to the same."""
        del starts
        return jax.nn.relu(x @ self.weight[...] + self.bias[...]), carry


def _matrix(random: np.random.Generator, rows: int, columns: int) -> jax.Array:
    numbers = random.standard_normal((rows, columns), np.float32)
    return jnp.asarray(numbers / np.float32(np.sqrt(rows)))


def maker(kind: str, width: int, layers: int) -> Callable[..., Policy]:
    """A `cloud.train.fit.MakeModel` for a kind, `lstm`, `gru` or `mlp`.

    Raises:
        KeyError: there is no such kind.
    """
    layer = {"lstm": LstmLayer, "gru": GruLayer, "mlp": MlpLayer}[kind]

    def make(
        state_size: int,
        action_size: int,
        task_count: int,
        statistics: normalisation.Statistics,
        random: np.random.Generator,
    ) -> Policy:
        stack = [layer(width, random) for _ in range(layers)]
        sizes = (state_size, action_size, task_count)
        return Policy(sizes, statistics, stack, width, random)

    return make
