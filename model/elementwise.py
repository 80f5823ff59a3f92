"""Norm and gate that keep only their inputs for the backward pass.

On a CPU the matrix products of a block are as fast as the machine allows, so what can
still be saved is the memory traffic between them. By default, differentiation keeps
every intermediate value of these two functions, each at least as large as the residual
stream; here the backward pass recomputes them.
"""

import jax
import jax.numpy as jnp

from model import array_types as at

_SMALLEST_MEAN_SQUARE = 1e-6
"""Keeps the norm of a zero vector finite."""


@jax.custom_vjp
def rms_norm(x: at.Array) -> at.Array:
    """Divides by the root mean square over channels, without a learned scale.

    A scale per channel would be absorbed by the matrix that follows. The result has the
    dtype of x; the mean square is always computed in f32.

    Shapes: x [... d] to [... d].
    Source: Zhang and Sennrich 2019, arXiv:1910.07467, equation 4 with gain 1.
    """
    return _norm_forward(x)[0]


def _inverse_size(x: at.Array) -> at.Array:
    wide = x.astype(jnp.float32)
    mean_square = jnp.mean(wide * wide, axis=-1, keepdims=True)
    return jax.lax.rsqrt(mean_square + _SMALLEST_MEAN_SQUARE)


def _norm_forward(x: at.Array) -> tuple[at.Array, tuple[at.Array, at.Array]]:
    scale = _inverse_size(x)
    return (x * scale).astype(x.dtype), (x, scale)


def _norm_backward(
    kept: tuple[at.Array, at.Array], change: at.Array
) -> tuple[at.Array]:
    x, scale = kept
    wide, change = x.astype(jnp.float32), change.astype(jnp.float32)
    along = jnp.mean(change * wide, axis=-1, keepdims=True) * scale**3
    return ((change * scale - wide * along).astype(x.dtype),)


rms_norm.defvjp(_norm_forward, _norm_backward)


@jax.custom_vjp
def apply_gate(gate: at.Array, value: at.Array) -> at.Array:
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


apply_gate.defvjp(_gate_forward, _gate_backward)
