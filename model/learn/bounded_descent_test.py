"""Descents end inside the bounds, and take only steps that lower the loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from model import surfaces
from model.learn import bounded_descent

LEVELS = 2
BOUND = surfaces.BOUNDS[bounded_descent.SKILLS]


def level_norms(delta: jax.Array) -> list[np.floating]:
    parts = np.asarray(delta).reshape(bounded_descent.SKILL_ARRAYS, LEVELS, -1)
    return [np.linalg.norm(parts[:, level]) for level in range(LEVELS)]


def test_large_level_is_projected_to_its_part_and_the_other_keeps_its_bits() -> None:
    parts = np.full((bounded_descent.SKILL_ARRAYS, LEVELS, 6), 0.01, np.float32)
    parts[:, 0] = 1e6
    delta = {bounded_descent.SKILLS: jnp.asarray(parts.reshape(-1))}
    projected, kept = bounded_descent.project_deltas(delta, LEVELS)
    found = projected[bounded_descent.SKILLS]
    large, small = level_norms(found)
    assert large <= BOUND / np.sqrt(LEVELS) * (1 + 1e-6)
    assert small == np.linalg.norm(parts[:, 1])
    assert not kept


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
def test_step_length_does_not_depend_on_the_size_of_the_gradient(size: float) -> None:
    begin = {"calibration": jnp.zeros(3), "adapters": jnp.zeros(4)}
    ended = bounded_descent.descend(
        lambda d: size * (jnp.sum(d["calibration"]) + jnp.sum(d["adapters"])), begin, 1
    )
    reach = bounded_descent.FAST_REACH
    units = [ended.deltas[name] / reach[name] for name in begin]
    length = np.linalg.norm(np.concatenate(units))
    assert length == pytest.approx(bounded_descent.FAST_STEP, rel=1e-4)
    assert ended.after < ended.before


def test_step_that_does_not_reduce_the_loss_is_not_taken() -> None:
    begin = {"calibration": jnp.zeros(3), "adapters": jnp.zeros(4)}
    ended = bounded_descent.descend(
        # Steep towards zero from above, and higher everywhere else.
        lambda d: jnp.sum(jnp.abs(d["calibration"] - 1e-6)),
        begin,
        1,
    )
    np.testing.assert_array_equal(ended.deltas["calibration"], 0)
    assert ended.after == ended.before


def test_steps_of_replay_follow_the_gradient_and_stay_inside_the_bound() -> None:
    deltas = {"head": jnp.zeros(8)}
    moments = bounded_descent.Moments(jnp.zeros(8), jnp.zeros(8))
    for index in range(400):
        gradient = jnp.ones(8)
        moments, direction = bounded_descent.scale_gradient(
            moments, gradient, jnp.asarray(index)
        )
        length = jnp.asarray(bounded_descent.CONSOLIDATION_STEP)
        deltas = bounded_descent.step_replay(
            deltas, direction, length, LEVELS, jnp.ones(8, bool), {"head": 8}
        )
    assert np.linalg.norm(deltas["head"]) <= surfaces.BOUNDS["head"] * (1 + 1e-6)
    assert (np.asarray(deltas["head"]) < 0).all()


def test_number_that_is_not_due_keeps_its_bits() -> None:
    deltas = {"head": jnp.asarray(np.array([0.1, 0.2], np.float32))}
    moved = bounded_descent.step_replay(
        deltas,
        jnp.ones(2),
        jnp.asarray(0.02),
        LEVELS,
        jnp.asarray([True, False]),
        {"head": 2},
    )
    assert moved["head"][0] < deltas["head"][0]
    assert moved["head"][1] == deltas["head"][1]
