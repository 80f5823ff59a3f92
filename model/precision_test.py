"""Products, norms and gates have the values and gradients of the plain formulas."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from model import elementwise, precision
from model.testing import small_models

small_models.shorten_programs()


@pytest.mark.parametrize("product", [precision.product, precision.product_f32])
@pytest.mark.parametrize("rows", [1, 8, precision.FEW_ROWS, precision.FEW_ROWS + 1])
def test_value_and_gradient_match_a_plain_product(
    product: Callable[[jax.Array, jax.Array], jax.Array], rows: int
) -> None:
    x, matrix = (
        small_models.numbers(rows, 24, seed=0),
        small_models.numbers(24, 40, seed=1),
    )
    change = small_models.numbers(rows, 40, seed=2)
    got, pull = jax.vjp(product, jnp.asarray(x), jnp.asarray(matrix))
    to_x, to_matrix = pull(jnp.asarray(change))
    np.testing.assert_allclose(got, x @ matrix, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(to_x, change @ matrix.T, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(to_matrix, x.T @ change, rtol=1e-4, atol=1e-4)


def test_gradient_of_few_rows_is_compiled_with_the_matrix_first() -> None:
    def gradient(x: jax.Array, matrix: jax.Array) -> jax.Array:
        return jax.grad(lambda x: jnp.sum(jnp.square(precision.product(x, matrix))))(x)

    def compiled(rows: int) -> str:
        x, matrix = jnp.ones((rows, 24)), jnp.ones((24, 40))
        return jax.jit(gradient).lower(x, matrix).compile().as_text()

    few, many = precision.FEW_ROWS, precision.FEW_ROWS + 1
    assert f"f32[24,{few}]{{1,0}} dot(" in compiled(few)
    assert f"f32[{many},24]{{1,0}} dot(" in compiled(many)


def plain_norm(x: jax.Array) -> jax.Array:
    return x / jnp.sqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6)


def plain_gate(gate: jax.Array, value: jax.Array) -> jax.Array:
    return gate / (1 + jnp.exp(-gate)) * value


@pytest.mark.parametrize(
    ("ours", "plain", "count"),
    [(elementwise.rms_norm, plain_norm, 1), (elementwise.apply_gate, plain_gate, 2)],
)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_value_and_gradient_match_the_formula(
    ours: Callable[..., jax.Array],
    plain: Callable[..., jax.Array],
    count: int,
    scale: float,
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
