"""Which arrays are inputs of the compiled programs of training, and which constants."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from cloud.dataset import training_data
from cloud.dataset.window_batches import Windows
from cloud.testing import train_tiny, training_episodes
from cloud.train import mesh
from cloud.train.update import Trainer


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
