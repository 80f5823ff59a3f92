"""Where colours are in a frame: a fixed function, which nothing trains.

For each of some directions in the space of hue and brightness every pixel has a share,
the larger the further its colour lies in that direction, and all shares of a direction
make up one. Its place is the row and column that a pixel drawn by these shares is
expected to have. So a block is found by its colour, to a part of a pixel, and where it
is can be read off the places of all directions by a linear map.

Nothing in the loss of the actions teaches an encoder of frames where things are, from
as few demonstrations as a person shows (docs/decisions/0023 has what else was tried).

Sources: expected position of a feature, Levine et al. 2016, arXiv:1504.00702, section
5.1, where features are learned; even spread on a sphere, Gonzalez 2010, "Measurement of
areas on a sphere using Fibonacci and latitude-longitude lattices".
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from model import array_types as at

# Caches of training hold places: whoever changes these two, or `find`, raises `_FORMAT`
# of cloud/dataset/mapped_steps.py.
SHARPNESS = 16.0
"""Length of a direction: a pixel whose colour lies further in it by 0.25 has e^4 = 55
times the share. With half of it the floor outweighs a block (docs/decisions/0023)."""
GREY = 20.0
"""Of 255: what has less colour has little hue, since noise would decide it."""
_HUES = (np.array([[1, 1], [-1, 1], [0, -2]]) / np.sqrt([2, 6])).astype(np.float32)
SEEN_AT_ONCE = 32
"""Frames of one call of `find_recorded`."""


def count(colours: int, cameras: int) -> int:
    """How many numbers the places in a frame of all cameras are."""
    return 2 * colours * cameras


def find(frames: at.Frames, colours: int, cameras: int = 1) -> at.Places:
    """The places in frames; zeros for a camera whose part of a frame is all zero.

    Shapes: frames [... h q*w 3], from 0 to 255 in u8 or a float type, the q cameras
    beside each other, to f32 [... q*2*colours]: of each camera the rows of all
    directions and then their columns, from -1 to 1.
    """
    pixels = _part(frames, cameras).astype(jnp.float32)
    seen = jnp.max(pixels, axis=(1, 2, 3)) > 0
    # At most e^23 of a pixel: sums need no maximum taken off.
    share = jnp.exp(jnp.matmul(_describe(pixels), _directions(colours)))
    of_rows, of_columns = jnp.sum(share, axis=2), jnp.sum(share, axis=1)
    found = jnp.concatenate([_expect(of_rows), _expect(of_columns)], axis=-1)
    found = found * seen[:, None]
    return found.reshape(*frames.shape[:-3], count(colours, cameras))


_find = jax.jit(find, static_argnums=(1, 2))


def find_recorded(frames: np.ndarray, colours: int, cameras: int) -> np.ndarray:
    """The places in recorded frames, as `find`, a few frames at a time.

    Shapes: frames u8 [t h q*w 3] to f32 [t q*2*colours].
    """
    rows = -(-len(frames) // SEEN_AT_ONCE) * SEEN_AT_ONCE
    found = np.zeros((rows, count(colours, cameras)), np.float32)
    part = np.zeros((SEEN_AT_ONCE, *frames.shape[1:]), np.uint8)
    for begin in range(0, len(frames), SEEN_AT_ONCE):
        now = frames[begin : begin + SEEN_AT_ONCE]
        part[: len(now)] = now
        found[begin : begin + SEEN_AT_ONCE] = _find(part, colours, cameras)
    return found[: len(frames)]


def _describe(pixels: at.Array) -> at.Array:
    """Two numbers of the hue of each pixel and its brightness, [... 3] to [... 3].

    In a shadow a thing has the hue that it has in the light.
    """
    pixels = jnp.clip(pixels, 0.0, 255.0)
    bright = jnp.mean(pixels, axis=-1, keepdims=True)
    hue = jnp.matmul(pixels - bright, _HUES)
    length = jnp.sqrt(jnp.sum(hue * hue, axis=-1, keepdims=True) + GREY**2)
    return jnp.concatenate([hue / length, bright / 127.5 - 1.0], axis=-1)


def _part(frames: at.Frames, cameras: int) -> at.Array:
    """The frames of each camera by themselves, [r*q h w 3]."""
    h, wide, channels = frames.shape[-3:]
    w = wide // cameras
    if cameras == 1:
        return frames.reshape(-1, h, w, channels)
    apart = frames.reshape(-1, h, cameras, w, channels)
    return jnp.moveaxis(apart, 2, 1).reshape(-1, h, w, channels)


@functools.cache
def _directions(colours: int) -> np.ndarray:
    """Directions [3 c] of equal length, evenly spread."""
    number = np.arange(colours) + 0.5
    height = 1 - 2 * number / colours
    angle_rad = np.pi * (1 + 5**0.5) * number
    radius = np.sqrt(1 - height**2)
    spread = [radius * np.cos(angle_rad), radius * np.sin(angle_rad), height]
    return (SHARPNESS * np.stack(spread)).astype(np.float32)


def _expect(share: at.Array) -> at.Array:
    """Expected position from -1 to 1 along the middle axis, [r i c] to [r c]."""
    where = np.linspace(-1, 1, share.shape[1], dtype=np.float32)
    return jnp.sum(share * where[:, None], axis=1) / jnp.sum(share, axis=1)
