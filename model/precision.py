"""Products in the dtype of the activations, with f32 where digits would be lost.

The trainer decides the precision by the matrices it hands over: with bfloat16 ones,
activations are bfloat16 from the first block on. A bfloat16 has 8 bits, about three
digits, so what sums up over many steps or is read off at the end stays f32: the
normalised state and its encoding, decay and state of the recurrence, the statistics of
norms, and every output.

Source: Micikevicius et al. 2018, arXiv:1710.03740, section 3.3 (products that
accumulate in f32).
"""

import jax.numpy as jnp

from model import array_types as at


def product(x: at.Array, matrix: at.Array) -> at.Array:
    """`x @ matrix` in the dtype of x.

    Shapes: x [... i], matrix [i o] to [... o].
    """
    return x @ matrix.astype(x.dtype)


def product_f32(x: at.Array, matrix: at.Array) -> at.Array:
    """`x @ matrix` with both as precise as x (whole numbers: f32), summed in f32.

    Shapes: x [... i], matrix [i o] to [... o].
    """
    if not jnp.issubdtype(x.dtype, jnp.floating):
        x = x.astype(jnp.float32)
    return jnp.matmul(x, matrix.astype(x.dtype), preferred_element_type=jnp.float32)
