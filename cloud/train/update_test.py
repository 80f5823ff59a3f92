"""What an update computes, and that it fits: constants, identity, whole presets.

The presets for accelerators take real updates of their whole models, on a CPU. Dtype,
parts of a batch and remat are those of the preset; the batch and its windows are
smaller. On 2 shared cores it took 28 to 55 s and 3.6 to 4.1 GB.
"""

import dataclasses
import gc
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import pytest

from cloud.dataset import training_data
from cloud.dataset.window_batches import Windows
from cloud.testing import train_tiny, training_episodes
from cloud.train import mesh
from cloud.train.config import TrainConfig
from cloud.train.update import Trainer
from model.config import PRESET_TRAINING

UPDATES, WINDOW_STEPS = 2, 16


def constant_shapes(
    function: Callable[..., object], *arguments: Any
) -> set[tuple[int, ...]]:
    """Shapes of the arrays that a program has as constants."""
    closed = jax.make_jaxpr(function)(*arguments)
    return {np.shape(x) for x in closed.consts if np.ndim(x) > 1}


def test_surfaces_of_the_robot_are_inputs_and_not_constants() -> None:
    """XLA:CPU miscomputes products with matrices that it knows to be zero."""
    made = training_data.join_episodes(
        training_episodes.episodes(6), training_episodes.TASKS
    )
    trainer = Trainer(
        made, made, train_tiny.config(4).for_platform("cpu"), mesh.single()
    )
    state, fixed = trainer.initial_state(), trainer._fixed
    assert jax.tree.leaves(fixed)
    windows = Windows(made.steps, 2, 4, 0).batch(0)
    assert constant_shapes(trainer._compute_update, state, fixed, windows) == set()
    carry = np.zeros((1, trainer._carry_size), np.float32)
    given = (state["average"], fixed, made.steps, carry)
    assert constant_shapes(trainer._compute_error, *given) == set()


def test_parts_of_a_batch_do_not_change_the_identity() -> None:
    made = training_data.join_episodes(
        training_episodes.episodes(6), training_episodes.TASKS
    )
    whole, parts, other = (
        train_tiny.config(4, **changes).for_platform("cpu")
        for changes in ({}, {"accumulation_steps": 2}, {"learning_rate": 0.1})
    )
    one = Trainer(made, None, whole, mesh.single()).identity
    assert Trainer(made, None, parts, mesh.single()).identity == one
    assert Trainer(made, None, other, mesh.single()).identity != one


def test_loss_does_not_depend_on_the_unit_of_commands() -> None:
    plain = training_data.join_episodes(
        training_episodes.episodes(2), training_episodes.TASKS
    )
    found, identities = [], set()
    for reach in (np.float32(1), np.float32(64)):
        steps = plain.steps._replace(actions=plain.steps.actions * reach)
        made = dataclasses.replace(plain, steps=steps)
        made = made.with_reach(np.full(made.sizes[1], reach))
        config = train_tiny.config(4).for_platform("cpu")
        trainer = Trainer(made, None, config, mesh.single(), train_tiny.one_block)
        state, fixed = trainer.initial_state(), trainer._fixed
        windows = Windows(made.steps, 2, 4, 0).batch(0)
        carry = np.zeros((1, trainer._carry_size), np.float32)
        found.append(trainer._losses(state["average"], fixed, windows))
        found.append(trainer._compute_error(state["average"], fixed, made.steps, carry))
        identities.add(trainer.identity)
    jax.tree.map(np.testing.assert_array_equal, found[:2], found[2:])
    assert len(identities) == 2


@pytest.mark.parametrize("known", [0.0, 1.0])
def test_value_head_learns_nothing_from_an_episode_that_nobody_judged(
    known: float,
) -> None:
    made = training_data.join_episodes(
        training_episodes.episodes(6), training_episodes.TASKS
    )
    steps = made.steps._replace(
        values=np.ones_like(made.steps.values),
        value_known=np.full_like(made.steps.value_known, known),
    )
    config = train_tiny.config(4, warmup_updates=0).for_platform("cpu")
    trainer = Trainer(made, None, config, mesh.single())
    state = trainer.initial_state()
    before = fingerprints(state["parameters"])
    state, measured = trainer.update(state, Windows(steps, 2, 4, 0).batch(0))
    after = fingerprints(state["parameters"])
    assert (after["value_bias"] != before["value_bias"]) == bool(known)
    assert (measured["value"] > 0) == bool(known)


def fingerprints(parameters: dict[str, jax.Array]) -> dict[str, np.float64]:
    """Returns one number per parameter array, because a second copy takes 0.4 GB."""
    return {n: np.abs(x).sum(dtype=np.float64) for n, x in parameters.items()}


@pytest.fixture
def freed() -> Iterator[None]:
    """Frees programs and arrays before the next preset."""
    yield
    gc.collect()
    jax.clear_caches()


@pytest.mark.long
@pytest.mark.usefixtures("freed")
@pytest.mark.parametrize(("preset", "least"), [("rtx3050", 2.3e7), ("vertex", 1e8)])
def test_preset_for_an_accelerator_takes_updates(preset: str, least: float) -> None:
    defaults = PRESET_TRAINING[preset]
    config = TrainConfig(
        updates=100,
        warmup_updates=0,
        preset=preset,
        batch_size=max(2, defaults.accumulation_steps),
        sequence_length=WINDOW_STEPS,
        compute_dtype=defaults.compute_dtype,
    ).for_platform("cpu")
    assert config.compute_dtype == "bfloat16"
    assert config.accumulation_steps == defaults.accumulation_steps
    assert (config.remat == "on") == defaults.remat
    data = training_data.join_episodes(
        training_episodes.episodes(12), training_episodes.TASKS
    )
    trainer = Trainer(data, None, config, mesh.single())
    assert trainer.parameter_count > least
    windows = Windows(data.steps, config.batch_size, WINDOW_STEPS, 0)
    state = trainer.initial_state()
    before = fingerprints(state["parameters"])
    for update in range(UPDATES):
        state, measured = trainer.update(state, windows.batch(update))
        for name, value in measured.items():
            assert np.isfinite(value), name
    assert measured["gradient_norm"] > 0
    after = fingerprints(state["parameters"])
    assert all(np.isfinite(x) for x in after.values())
    # Only the value head learns from rewards, and these episodes have none.
    still = {name for name, x in after.items() if x == before[name]}
    assert still == {"value_head", "value_bias"}
