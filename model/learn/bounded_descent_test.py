"""Descents end inside the bounds, and take only steps that lower the loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from model import surfaces
from model.learn import bounded_descent
from model.learn.bounded_descent import Arrays, Deltas, Descent, ReplayObjective

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


def replay(loss_of: ReplayObjective, batches: list[float]) -> Descent:
    begin = {"head": jnp.zeros(8)}
    arrays = {"starts": jnp.zeros(len(batches)), "pull": jnp.asarray(batches)}
    return bounded_descent.replay_batches(loss_of, begin, arrays, LEVELS, {})


def test_replay_follows_its_batches_and_stays_inside_the_bound() -> None:
    ended = replay(lambda d, b: jnp.sum(d["head"]) * b["pull"], [1.0] * 400)
    assert np.linalg.norm(ended.deltas["head"]) <= surfaces.BOUNDS["head"] * (1 + 1e-6)
    assert (np.asarray(ended.deltas["head"]) < 0).all()
    assert ended.after < ended.before


def test_replay_that_ends_with_a_larger_loss_over_all_batches_is_dropped() -> None:
    def loss_of(deltas: Deltas, batch: Arrays) -> jax.Array:
        # One batch has a gradient; the others get worse without one.
        x = jnp.sum(deltas["head"])
        worse = jax.lax.stop_gradient(jnp.abs(x))
        return jnp.where(batch["pull"] > 0, x, 1000 * worse)

    ended = replay(loss_of, [1.0] + [0.0] * 20)
    np.testing.assert_array_equal(ended.deltas["head"], 0)
    assert ended.after == ended.before == 0
