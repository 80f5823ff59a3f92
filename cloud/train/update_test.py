"""What the compiled programs of training are given, and what is built into them."""

import jax
import numpy as np

from cloud.dataset import training_data
from cloud.dataset.window_batches import Windows
from cloud.testing import train_tiny, training_episodes
from cloud.train import mesh
from cloud.train.update import Trainer


def shapes_built_in(function, *arguments):
    """Shapes of the arrays that a program has as constants."""
    closed = jax.make_jaxpr(function)(*arguments)
    return {np.shape(x) for x in closed.consts if np.ndim(x) > 1}


def test_surfaces_of_the_robot_are_inputs_and_no_constants():
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
    assert shapes_built_in(trainer._updated, state, fixed, windows) == set()
    carry = np.zeros((1, trainer._carry_size), np.float32)
    given = (state["average"], fixed, made.steps, carry)
    assert shapes_built_in(trainer._validated, *given) == set()


def test_parts_of_a_batch_are_rounding_and_no_other_run():
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
