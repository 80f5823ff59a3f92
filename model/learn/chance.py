"""Numbers by chance that follow from what they are asked for, in a few operations.

A generator with a state has to hand it on, and splitting keys takes a hundred kernels,
each of which costs a robot that compiles them 0.6 MB (docs/decisions/0017). Here a
number is a hash of its seed, of the draw and of its place in it, so equal ones are
drawn equally on every machine, in any order.

Sources: random numbers from a counter, Salmon et al. 2011, "Parallel Random Numbers: As
Easy as 1, 2, 3", section 2; the hash is the finaliser of MurmurHash3, whose every input
bit changes each output bit in about half of all cases. It is for drawing windows, and
for nothing that must be kept from anybody.
"""

import math

import jax.numpy as jnp
import numpy as np

from model import array_types as at

_FIRST, _SECOND = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)
_STRIDE = np.uint32(0x9E3779B9)
"""The golden ratio as a share of 2^32, so that neighbours lie far apart."""


def draw_uniform(seed: at.Array, draw: at.Array, shape: tuple[int, ...]) -> at.Array:
    """Numbers of this shape, from 0 to below 1, in steps of 2^-24.

    Args:
        seed: [] i32.
        draw: [] i32, the number of this draw; others are independent of it.
        shape: of what is drawn.
    """
    # The hash of 0 is 0, and the first night has seed 0.
    first = _mix(seed.astype(jnp.uint32) + _STRIDE)
    stream = _mix(first + draw.astype(jnp.uint32) * _STRIDE)
    place = jnp.arange(math.prod(shape), dtype=jnp.uint32)
    bits = _mix(_mix(place * _STRIDE + stream) ^ stream)
    return ((bits >> 8).astype(jnp.float32) * 2.0**-24).reshape(shape)


def choose_index(uniform: at.Array, weights: at.Array) -> at.Array:
    """For each uniform number [...] an index of `weights` [v], as often as it weighs.

    One of weight 0 is never chosen, unless all are; then it is the last.
    """
    until = jnp.cumsum(weights)
    found = jnp.sum(until <= uniform[..., None] * until[-1], axis=-1)
    return jnp.minimum(found, len(weights) - 1)


def _mix(x: at.Array) -> at.Array:
    x = (x ^ (x >> 16)) * _FIRST
    x = (x ^ (x >> 13)) * _SECOND
    return x ^ (x >> 16)
