"""Products of few rows have the gradients of plain ones, in the fast order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from model import precision
from model.testing import small_models


@pytest.mark.parametrize("product", [precision.product, precision.product_f32])
@pytest.mark.parametrize("rows", [1, 8, precision.FEW_ROWS, precision.FEW_ROWS + 1])
def test_value_and_gradient_match_a_plain_product(product, rows) -> None:
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
    def gradient(x, matrix):
        return jax.grad(lambda x: jnp.sum(jnp.square(precision.product(x, matrix))))(x)

    def compiled(rows):
        x, matrix = jnp.ones((rows, 24)), jnp.ones((24, 40))
        return jax.jit(gradient).lower(x, matrix).compile().as_text()

    few, many = precision.FEW_ROWS, precision.FEW_ROWS + 1
    assert f"f32[24,{few}]{{1,0}} dot(" in compiled(few)
    assert f"f32[{many},24]{{1,0}} dot(" in compiled(many)
