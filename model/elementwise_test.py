"""Hand-written backward passes agree with differentiation of the plain formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from model import elementwise
from model.testing import small_models


def plain_norm(x):
    return x / jnp.sqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6)


def plain_gate(gate, value) -> int:
    return gate / (1 + jnp.exp(-gate)) * value


@pytest.mark.parametrize(
    ("ours", "plain", "count"),
    [(elementwise.rms_norm, plain_norm, 1), (elementwise.apply_gate, plain_gate, 2)],
)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_value_and_gradient_match_the_formula(
    ours, plain, count: int, scale: float
) -> None:
    given = [small_models.numbers(4, 5, 16, seed=s) * scale for s in range(count)]
    change = small_models.numbers(4, 5, 16, seed=9)
    got, pull = jax.vjp(ours, *map(jnp.asarray, given))
    with jax.enable_x64(True):
        double = [jnp.asarray(x, jnp.float64) for x in given]
        wanted, plain_pull = jax.vjp(plain, *double)
        expected = plain_pull(jnp.asarray(change, jnp.float64))
    np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=1e-6)
    for mine, theirs in zip(pull(jnp.asarray(change)), expected, strict=True):
        size = np.abs(theirs).max()
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5 * size)


def test_norm_of_zeros_is_zero() -> None:
    zeros = jnp.zeros((2, 8))
    assert not elementwise.rms_norm(zeros).any()
    gradient = jax.grad(lambda x: elementwise.rms_norm(x).sum())(zeros)
    assert jnp.isfinite(gradient).all()
