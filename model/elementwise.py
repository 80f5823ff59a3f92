"""Norm and gate that keep only their inputs for the backward pass.

On a CPU the matrix products of a block are as fast as the machine allows, and what
is left to save is the traffic of everything between them. Left to itself,
differentiation keeps every intermediate of these two functions, each as large as the
residual stream or larger; here the backward pass computes them again.
"""

import jax
import jax.numpy as jnp

from model import array_types as at

_SMALLEST_MEAN_SQUARE = 1e-6
"""Keeps the norm of a zero vector finite."""


@jax.custom_vjp
def rms_norm(x: at.Array) -> at.Array:
    """Divides by the root mean square over channels, without a learned scale.

    A scale per channel would be absorbed by the matrix that follows.

    Shapes: x [... d] to [... d].
    Source: Zhang and Sennrich 2019, arXiv:1910.07467, equation 4 with gain 1.
    """
    return x * _inverse_size(x)


def _inverse_size(x: at.Array) -> at.Array:
    mean_square = jnp.mean(x * x, axis=-1, keepdims=True)
    return jax.lax.rsqrt(mean_square + _SMALLEST_MEAN_SQUARE)


def _norm_forward(x: at.Array) -> tuple[at.Array, tuple[at.Array, at.Array]]:
    scale = _inverse_size(x)
    return x * scale, (x, scale)


def _norm_backward(
    kept: tuple[at.Array, at.Array], change: at.Array
) -> tuple[at.Array]:
    x, scale = kept
    along = jnp.mean(change * x, axis=-1, keepdims=True) * scale**3
    return (change * scale - x * along,)


rms_norm.defvjp(_norm_forward, _norm_backward)


@jax.custom_vjp
def gated(gate: at.Array, value: at.Array) -> at.Array:
    """`silu(gate) * value`.

    Shapes: gate [... f], value [... f] to [... f].
    Source: Shazeer 2020, arXiv:2002.05202, equation 6 (SwiGLU).
    """
    return jax.nn.silu(gate) * value


def _gate_forward(
    gate: at.Array, value: at.Array
) -> tuple[at.Array, tuple[at.Array, at.Array]]:
    return jax.nn.silu(gate) * value, (gate, value)


def _gate_backward(
    kept: tuple[at.Array, at.Array], change: at.Array
) -> tuple[at.Array, at.Array]:
    gate, value = kept
    open_ = jax.nn.sigmoid(gate)
    slope = open_ * (1 + gate * (1 - open_))
    return change * value * slope, change * gate * open_


gated.defvjp(_gate_forward, _gate_backward)
