"""Sensors that stand elsewhere at rest are turned back, and only on that robot."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from model.config import REST_CARRY
from model.rest import Rest
from model.surfaces import Calibration
from model.testing import small_models

KNOWN = np.array([0.5, -1.0, 2.0, 0.0, 1.0, -2.0], np.float32)
TASK = np.array([0, 1, 0], np.float32)
"""The task that is driven; the others begin elsewhere."""
MOVED = np.array([0.3, 0, -0.4, 0, 0, 0], np.float32)
"""By how much two of the channels stand elsewhere, in their deviations."""


@pytest.fixture(scope="module")
def rest() -> Rest:
    statistics = small_models.statistics()
    known = KNOWN + 3 * (TASK[:, None] - 1)
    stands = known * statistics.deviation + statistics.mean
    made = Rest(dataclasses.replace(statistics, rest=stands), TASK.size)
    made.moved[...] = jnp.asarray(MOVED)
    return made


def drive(seed: int, shift: np.ndarray, steps: int = 7) -> np.ndarray:
    """An episode [t n] that begins at rest; channel 3, a thing, lies anywhere."""
    moves = np.cumsum(small_models.numbers(steps, KNOWN.size, seed=seed), axis=0)
    states = KNOWN + moves - moves[0] + shift
    states[:, 3] += 5 * small_models.numbers(1, seed=seed)
    return states.astype(np.float32)


def turn(rest: Rest, states: np.ndarray) -> np.ndarray:
    starts = np.arange(len(states)) == 0
    tasks = np.tile(TASK, (len(states), 1))
    return np.asarray(rest.sequence(states, tasks, starts, jnp.zeros(REST_CARRY))[0])


@pytest.mark.parametrize("seed", range(4))
def test_robot_that_rests_where_it_did_is_left_alone(rest: Rest, seed: int) -> None:
    states = drive(seed, 0.2 * MOVED)
    np.testing.assert_array_equal(turn(rest, states), states)


@pytest.mark.parametrize("seed", range(4))
def test_robot_that_rests_elsewhere_is_turned_back(rest: Rest, seed: int) -> None:
    as_it_was = drive(seed, 0 * MOVED)
    np.testing.assert_allclose(turn(rest, drive(seed, MOVED)), as_it_was, atol=1e-6)
    further = turn(rest, drive(seed, 1.5 * MOVED))
    np.testing.assert_allclose(further, as_it_was + 0.5 * MOVED, atol=1e-6)


def test_steps_equal_windows_of_several_episodes(rest: Rest) -> None:
    """Windows begin before, at and after the first step of an episode."""
    episodes = [drive(i, MOVED * (i % 2)) for i in range(4)]
    carry, one_by_one = jnp.zeros(REST_CARRY), []
    for states in episodes:
        carry = jnp.zeros(REST_CARRY)
        for state in states:
            x, carry = rest.step(jnp.asarray(state), TASK, carry)
            one_by_one.append(x)
    states = np.concatenate(episodes)
    tasks = np.tile(TASK, (len(states), 1))
    starts = np.arange(len(states)) % 7 == 0
    carry, windows = jnp.zeros(REST_CARRY), []
    for begin, end in ((0, 7), (7, 12), (12, 13), (13, 28)):
        now = slice(begin, end)
        x, carry = jax.jit(rest.sequence)(states[now], tasks[now], starts[now], carry)
        windows.append(x)
    np.testing.assert_allclose(np.concatenate(windows), one_by_one, atol=1e-6)


def test_robots_of_a_batch_are_told_apart(rest: Rest) -> None:
    both = np.stack([drive(0, 0 * MOVED), drive(0, MOVED)], axis=1)
    starts, tasks = np.zeros((7, 2), bool), np.tile(TASK, (7, 2, 1))
    starts[0] = True
    turned, carry = rest.sequence(both, tasks, starts, jnp.zeros((2, REST_CARRY)))
    np.testing.assert_allclose(turned[:, 1], turned[:, 0], atol=1e-6)
    np.testing.assert_allclose(carry, [[1.0], [2.0]])


def test_no_gradient_moves_where_sensors_rest(rest: Rest) -> None:
    states = jnp.asarray(drive(0, MOVED))

    def loss(rest: Rest) -> jax.Array:
        return jnp.sum(rest.step(states[0], TASK, jnp.zeros(REST_CARRY))[0] ** 2)

    (gradient,) = jax.tree.leaves(
        nnx.grad(loss, argnums=nnx.DiffState(0, Calibration))(rest)
    )
    np.testing.assert_array_equal(gradient, np.zeros_like(MOVED))


def test_without_a_shift_nothing_is_changed_however_a_robot_begins() -> None:
    plain = Rest(small_models.statistics(), TASK.size)
    states = 4 * small_models.numbers(5, KNOWN.size)
    np.testing.assert_array_equal(turn(plain, states), states)
