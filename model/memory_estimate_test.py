"""Counts are exact; the estimate is near what XLA plans for a whole update."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from model import config, losses, memory_estimate, surfaces
from model.config import PresetTraining, WaveCoreConfig
from model.testing import small_models

SIZES = (39, 4, 5)

TrainState = tuple[nnx.State, optax.OptState, nnx.State]
"""Parameters, the optimiser's moments, and the average of the parameters."""


def parts(
    sizes: WaveCoreConfig,
) -> tuple[nnx.GraphDef, nnx.State, nnx.State, nnx.State]:
    """Structure, constant and trained state of a model of these sizes."""
    return nnx.split(
        small_models.model(sizes),
        surfaces.Normalisation,
        nnx.Any(surfaces.Backbone, surfaces.Head),
        ...,
    )


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"oscillating": True},
        {"channels_per_gate": 4},
        {"skill_levels": 3, "block_count": 1, "adapter_rank": 5},
        {"audio_size": 7},
        {"image_height": 17, "image_width": 32, "image_colours": 5},
    ],
)
def test_counts_match_the_model(
    change: dict[str, Any],
) -> None:
    sizes = dataclasses.replace(config.tiny(*SIZES), **change)
    _, constant, trained, rest = parts(sizes)
    counts = [
        sum(x.size for x in jax.tree.leaves(s)) for s in (trained, (constant, rest))
    ]
    assert memory_estimate.trained_count(sizes) == counts[0]
    assert memory_estimate.untrained_count(sizes) == counts[1]


def planned_bytes(sizes: WaveCoreConfig, training: PresetTraining) -> int:
    """What XLA plans for one update: inputs, outputs and temporary memory.

    The old state is donated, so the new one uses its memory.
    """
    graph, constant, trained, rest = parts(sizes)
    optimizer = optax.adamw(1e-3)
    rows = (training.batch_size, training.sequence_length)

    def objective(
        parameters: nnx.State, states: jax.Array, actions: jax.Array
    ) -> jax.Array:
        core = nnx.merge(graph, constant, parameters, rest)
        prediction = core.sequence(
            states[:, :-1],
            jnp.ones((*rows, sizes.task_count)),
            jnp.zeros(rows, bool),
            jnp.zeros((training.batch_size, sizes.carry_size)),
            remat=training.remat,
        )
        ones = jnp.ones(rows)
        following, change = states[:, 1:], core.change[...]
        return losses.imitation(
            prediction, actions, following, change, ones, ones
        ).total

    def update(state: TrainState, states: jax.Array, actions: jax.Array) -> TrainState:
        parameters, moments, average = state
        gradient = jax.grad(objective)(parameters, states, actions)
        change, moments = optimizer.update(gradient, moments, parameters)
        parameters = optax.apply_updates(parameters, change)
        return parameters, moments, optax.incremental_update(parameters, average, 0.1)

    state = (trained, optimizer.init(trained), trained)
    states = np.zeros((rows[0], rows[1] + 1, sizes.state_size), np.float32)
    actions = np.zeros((*rows, sizes.action_size), np.float32)
    lowered = jax.jit(update, donate_argnums=0).lower(state, states, actions)
    plan = lowered.compile().memory_analysis()
    return plan.argument_size_in_bytes + plan.temp_size_in_bytes


@pytest.mark.parametrize(
    ("preset", "batch", "length", "remat"),
    [
        ("tiny", 32, 32, False),
        ("tiny", 32, 32, True),
        pytest.param("seed", 4, 128, True, marks=pytest.mark.long),
        pytest.param("seed", 4, 128, False, marks=pytest.mark.long),
        pytest.param("pi5", 32, 32, False, marks=pytest.mark.long),
        pytest.param("pi5", 32, 32, True, marks=pytest.mark.long),
    ],
)
def test_estimate_is_near_the_plan_of_the_compiler(
    preset: str, batch: int, length: int, remat: bool
) -> None:
    sizes = config.PRESETS[preset](*SIZES)
    training = config.PresetTraining(
        batch_size=batch, sequence_length=length, remat=remat
    )
    estimated = memory_estimate.estimate(sizes, training).total_bytes
    ratio = planned_bytes(sizes, training) / estimated
    assert memory_estimate.LOWEST_RATIO < ratio < memory_estimate.HIGHEST_RATIO


def test_remat_and_smaller_parts_of_a_batch_need_less_memory() -> None:
    sizes = config.vertex(*SIZES)
    whole = config.PresetTraining(batch_size=64, sequence_length=512)
    needed = memory_estimate.estimate(sizes, whole)
    again = memory_estimate.estimate(sizes, dataclasses.replace(whole, remat=True))
    quarter = memory_estimate.estimate(
        sizes, dataclasses.replace(whole, accumulation_steps=4)
    )
    assert again.activations_bytes < needed.activations_bytes / 3
    assert quarter.activations_bytes == needed.activations_bytes // 4


def test_every_preset_fits_the_device_it_is_made_for() -> None:
    for preset, gigabytes in (("pi5", 1), ("seed", 1), ("rtx3050", 4), ("vertex", 16)):
        needed = memory_estimate.estimate(
            config.PRESETS[preset](*SIZES), config.PRESET_TRAINING[preset]
        )
        assert needed.total_bytes < gigabytes * 10**9, preset
