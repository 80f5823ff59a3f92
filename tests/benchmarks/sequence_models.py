"""WaveCore, and its baselines: recurrent cells and a transformer from flax.nnx.

All baselines have the same interface, `model(states, task) -> (action,
next_observation)` over whole sequences [b t], and about as many parameters as
WaveCore's preset `seed`, within a few percent.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from model import config, normalisation
from model.wavecore import WaveCore

STATE_SIZE, ACTION_SIZE, TASK_COUNT = 39, 4, 10
"""Sizes of a Meta-World robot with ten tasks."""

LSTM_WIDTH, GRU_WIDTH, TRANSFORMER_WIDTH = 430, 496, 248
LAYERS, TRANSFORMER_LAYERS, HEADS = 2, 4, 8


def wavecore(preset: str, task_count: int = TASK_COUNT) -> WaveCore:
    """A model of a preset, with its initial numbers and means of 0 and scales of 1."""
    sizes = config.PRESETS[preset](STATE_SIZE, ACTION_SIZE, task_count)
    ones = np.ones(STATE_SIZE, np.float32)
    plain = normalisation.Statistics(0 * ones, ones, ones)
    return WaveCore(sizes, plain, np.random.default_rng(0))


class Recurrent(nnx.Module):
    """Two recurrent layers between a linear encoder and a linear head."""

    def __init__(self, cell: type[nnx.Module], width: int, rngs: nnx.Rngs) -> None:
        inputs = STATE_SIZE + TASK_COUNT
        self.has_cells = cell is nnx.OptimizedLSTMCell
        self.encode = nnx.Linear(inputs, width, rngs=rngs)
        self.layers = nnx.List(
            [nnx.RNN(cell(width, width, rngs=rngs)) for _ in range(LAYERS)]
        )
        self.head = nnx.Linear(width, STATE_SIZE + ACTION_SIZE, rngs=rngs)

    def __call__(self, states: jax.Array, task: jax.Array) -> tuple[jax.Array, ...]:
        """Shapes: states [b t n], task [b t k] to [b t a], [b t n]."""
        x = self.encode(jnp.concatenate([states, task], -1))
        zeros = jnp.zeros_like(x[:, 0])
        for layer in self.layers:
            x = layer(x, initial_carry=(zeros, zeros) if self.has_cells else zeros)
        return _split(self.head(x))


class Transformer(nnx.Module):
    """Causal attention and MLP blocks, normalised before each; learned positions."""

    def __init__(self, length: int, rngs: nnx.Rngs) -> None:
        d = TRANSFORMER_WIDTH
        self.encode = nnx.Linear(STATE_SIZE + TASK_COUNT, d, rngs=rngs)
        # Not counted as parameters, because their number depends on the length.
        self.positions = nnx.Param(0.02 * jax.random.normal(rngs.params(), (length, d)))
        self.blocks = nnx.List(
            [_TransformerBlock(d, rngs) for _ in range(TRANSFORMER_LAYERS)]
        )
        self.norm = nnx.RMSNorm(d, rngs=rngs)
        self.head = nnx.Linear(d, STATE_SIZE + ACTION_SIZE, rngs=rngs)

    def __call__(self, states: jax.Array, task: jax.Array) -> tuple[jax.Array, ...]:
        """Shapes: states [b t n], task [b t k] to [b t a], [b t n]."""
        x = self.encode(jnp.concatenate([states, task], -1)) + self.positions[...]
        for block in self.blocks:
            x = block(x)
        return _split(self.head(self.norm(x)))


class _TransformerBlock(nnx.Module):
    def __init__(self, d: int, rngs: nnx.Rngs) -> None:
        self.attention_norm = nnx.RMSNorm(d, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(
            num_heads=HEADS, in_features=d, decode=False, rngs=rngs
        )
        self.mlp_norm = nnx.RMSNorm(d, rngs=rngs)
        self.up = nnx.Linear(d, 4 * d, rngs=rngs)
        self.down = nnx.Linear(4 * d, d, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        mask = nnx.make_causal_mask(x[..., 0])
        x = x + self.attention(self.attention_norm(x), mask=mask)
        return x + self.down(jax.nn.gelu(self.up(self.mlp_norm(x))))


def _split(x: jax.Array) -> tuple[jax.Array, ...]:
    return x[..., :ACTION_SIZE], x[..., ACTION_SIZE:]


BASELINES: dict[str, Callable[[int], nnx.Module]] = {
    "lstm": lambda length: Recurrent(
        nnx.OptimizedLSTMCell, LSTM_WIDTH, nnx.Rngs(length)
    ),
    "gru": lambda length: Recurrent(nnx.GRUCell, GRU_WIDTH, nnx.Rngs(length)),
    "transformer": lambda length: Transformer(length, nnx.Rngs(length)),
}
"""Name to a function that makes the model for sequences of a length."""
