"""Small models and random inputs for the tests of this folder."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from model import config, normalisation, recurrence
from model.wavecore import WaveCore

SIZES = config.tiny(state_size=6, action_size=2, task_count=3)


def shorten_programs() -> None:
    """Makes this process's programs half as long to compile, with the same results.

    The recurrence's loop makes one step per turn. `recurrence_test` and the programs
    that tests start keep the number that is used.
    """
    recurrence.UNROLLED_STEPS = 1


def statistics(
    state_size: int = SIZES.state_size, action_size: int = SIZES.action_size
) -> normalisation.Statistics:
    """Statistics that are neither zero nor one.

    Reaches are powers of two, so that a product with one of them is exact.
    """
    random = np.random.default_rng(5)
    return normalisation.Statistics(
        mean=random.normal(size=state_size).astype(np.float32),
        deviation=random.uniform(0.5, 2, state_size).astype(np.float32),
        change=random.uniform(0.1, 0.5, state_size).astype(np.float32),
        action_reach=np.exp2(random.integers(1, 6, action_size)).astype(np.float32),
    )


def model(sizes: config.WaveCoreConfig = SIZES, seed: int = 0) -> WaveCore:
    """A model with random parameters."""
    measured = statistics(sizes.state_size, sizes.action_size)
    return WaveCore(sizes, measured, np.random.default_rng(seed))


def numbers(*shape: int, seed: int = 1) -> np.ndarray:
    """Normal numbers, f32."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def random_model(sizes: config.WaveCoreConfig = SIZES, seed: int = 0) -> WaveCore:
    """A model whose numbers are all random, including those that begin at zero."""
    random, drawn = np.random.default_rng(seed), model(sizes, seed)
    for _, variable in nnx.to_flat_state(nnx.state(drawn)):
        if not np.any(variable[...]):
            noise = random.normal(size=variable.shape).astype(np.float32)
            variable[...] = jnp.asarray(0.1 * noise)
    return drawn
