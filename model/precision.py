"""Products in the dtype of the activations, with f32 where digits would be lost.

The trainer chooses the precision by the matrices it passes: with bfloat16 ones,
activations are bfloat16 from the first block on. A bfloat16 has 8 bits, about three
digits, so what accumulates over many steps or is read at the end stays f32: the
normalised state and its encoding, decay and state of the recurrence, the statistics of
norms, and every output.

The gradient of few rows is computed with the matrix as the left operand. As the right
operand, transposed, it takes longer, probably because it is repacked for each product.

Source: Micikevicius et al. 2018, arXiv:1710.03740, section 3.3 (products that
accumulate in f32).
"""

import jax
import jax.numpy as jnp

from model import array_types as at

FEW_ROWS = 64
"""Up to this many rows, the gradient has the matrix on the left. Ten products with the
transpose of 384 by 768 numbers on the right and on the left, on 2 cores of an AMD EPYC,
in ms: 8 rows, 0.82 and 0.53; 32 rows, 2.82 and 2.07; 64 rows, 2.83 and 2.47; 128 rows,
4.88 and 5.72; 1,024 rows, 31.7 and 40.5."""


def product(x: at.Array, matrix: at.Array) -> at.Array:
    """`x @ matrix` in the dtype of x.

    Shapes: x [... i], matrix [i o] to [... o].
    """
    matrix = matrix.astype(x.dtype)
    return _few_rows(x, matrix) if _is_few(x) else x @ matrix


def product_f32(x: at.Array, matrix: at.Array) -> at.Array:
    """`x @ matrix` in the dtype of x (f32 if x is whole numbers), summed in f32.

    Shapes: x [... i], matrix [i o] to [... o].
    """
    if not jnp.issubdtype(x.dtype, jnp.floating):
        x = x.astype(jnp.float32)
    matrix = matrix.astype(x.dtype)
    if _is_few(x):
        return _few_rows(x, matrix)
    return jnp.matmul(x, matrix, preferred_element_type=jnp.float32)


def _is_few(x: at.Array) -> bool:
    """Only in f32, which a robot learns in; the trainer has many rows."""
    return x.ndim == 2 and len(x) <= FEW_ROWS and x.dtype == jnp.float32


@jax.custom_vjp
def _few_rows(x: at.Array, matrix: at.Array) -> at.Array:
    return x @ matrix


def _forward(
    x: at.Array, matrix: at.Array
) -> tuple[at.Array, tuple[at.Array, at.Array]]:
    return x @ matrix, (x, matrix)


def _backward(
    kept: tuple[at.Array, at.Array], change: at.Array
) -> tuple[at.Array, at.Array]:
    x, matrix = kept
    # Without the barrier the compiler puts the operands back in the slow order.
    columns = jax.lax.optimization_barrier(
        jax.lax.dot_general(matrix, change, (((1,), (1,)), ((), ())))
    )
    return columns.T, x.T @ change


_few_rows.defvjp(_forward, _backward)
