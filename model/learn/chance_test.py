"""What is drawn by chance is spread evenly, and only its seed and number decide it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from model.learn import chance

draw = jax.jit(chance.draw_uniform, static_argnums=2)
choose = jax.jit(chance.choose_index)


def drawn(seed: int, number: int, size: int = 20_000) -> np.ndarray:
    return np.asarray(draw(np.int32(seed), np.int32(number), (size,)))


@pytest.mark.parametrize(("seed", "number"), [(0, 0), (0, 1), (7, 599), (2**31 - 1, 5)])
def test_numbers_are_spread_evenly_and_do_not_follow_from_the_one_before(
    seed: int, number: int
) -> None:
    found = drawn(seed, number)
    assert found.min() >= 0
    assert found.max() < 1
    counts = np.histogram(found, 50, (0, 1))[0]
    expected = len(found) / 50
    # Chi-square with 49 degrees of freedom is above 90 once in 3,000 draws.
    assert np.sum((counts - expected) ** 2 / expected) < 90
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.03


def test_other_seeds_and_draws_are_independent() -> None:
    rows = np.stack([drawn(seed, number) for seed in range(6) for number in range(6)])
    related = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(related).max() < 0.03
    np.testing.assert_array_equal(drawn(3, 4), drawn(3, 4))


def test_what_is_chosen_is_chosen_as_often_as_it_weighs() -> None:
    weights = jnp.asarray([0.0, 1.0, 3.0, 0.0, 4.0, 0.0])
    counts = np.bincount(np.asarray(choose(drawn(1, 1), weights)), minlength=6)
    np.testing.assert_allclose(counts / counts.sum(), weights / 8, atol=0.015)
    assert not counts[[0, 3, 5]].any()


@pytest.mark.parametrize("uniform", [0.0, 1 - 2.0**-24])
@pytest.mark.parametrize("count", [1, 3, 255])
def test_the_ends_never_choose_what_weighs_nothing(uniform: float, count: int) -> None:
    weights = np.zeros(256, np.float32)
    weights[:count] = 1 / 3
    number = int(choose(np.array([uniform], np.float32), weights)[0])
    assert number == (count - 1 if uniform else 0)
    np.testing.assert_array_equal(
        choose(np.array([uniform], np.float32), 0 * weights), [255]
    )
