"""What a robot perceives besides its state: camera frames and sound, each optional.

The senses of a model and their names follow from the fields of its episodes in
`rlds.spec`: every `observation/` field except the state has an encoder that adds to the
residual stream. A configuration without a sense has neither its parameters nor its
input.

A sense may be silent at a step, because a frame came late or a microphone is
unplugged. All zeros mean that, and then the sense adds nothing: no frame that a camera
takes is zero in every pixel, and no log power is zero in every channel.

Frames are read through the places of colours in them (`model.places`). Nothing trains
those, so that training reads recorded places instead of frames.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from model import array_types as at
from model import normalisation, places
from model.config import WaveCoreConfig
from model.precision import product_f32
from model.surfaces import Backbone, Normalisation
from rlds.spec import FIELDS, Field

COLOURS = 3
"""Red, green and blue of one pixel, each from 0 to 255."""
IMAGE, PLACES = "image", "places"
"""Name of frames among the senses, and of what is found in them."""
_SCOPE = "observation/"
_STATE = [f.name.removeprefix(_SCOPE) for f in FIELDS if f.shape == ("N",)]


def fields(config: WaveCoreConfig) -> dict[str, Field]:
    """The observation fields that a model reads besides its state, by name."""
    observed = {
        field.name.removeprefix(_SCOPE): field
        for field in config.episode_spec.step_fields()
        if field.name.startswith(_SCOPE)
    }
    return {name: field for name, field in observed.items() if name not in _STATE}


def shapes(config: WaveCoreConfig) -> dict[str, tuple[int, ...]]:
    """Shape of one step of each sense by name: frames [h q*w 3], sound [u].

    The frames of several cameras stand beside each other.
    """
    frame = (config.image_height, config.image_count * config.image_width, COLOURS)
    return {
        name: frame if field.dtype == "jpeg" else tuple(map(int, field.shape))
        for name, field in fields(config).items()
    }


def recorded_specs(
    config: WaveCoreConfig, *axes: int
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of the senses of many recorded steps, by name.

    Frames are u8, as cameras give them: the replay of one consolidation, 200 windows
    of 256 steps, is 0.63 GB of frames of 64 x 64 pixels, and would be 2.5 GB as f32.

    Args:
        config: sizes of the model.
        *axes: lengths of the axes in front, such as windows and steps.
    """
    types = {
        n: np.uint8 if f.dtype == "jpeg" else np.float32
        for n, f in fields(config).items()
    }
    return {
        name: jax.ShapeDtypeStruct((*axes, *shape), types[name])
        for name, shape in shapes(config).items()
    }


def select(
    config: WaveCoreConfig, arrays: Mapping[str, at.Array]
) -> dict[str, at.Array]:
    """The entries of `arrays` that are senses of the model, by name."""
    return {name: arrays[name] for name in shapes(config)}


def encoded_shapes(config: WaveCoreConfig) -> dict[str, tuple[int, ...]]:
    """Shape of one step of what is encoded, by name: places [q*2c], sound [u]."""
    found = shapes(config)
    if IMAGE in found:
        found.pop(IMAGE)
        found[PLACES] = (places.count(config.image_colours, config.image_count),)
    return found


def perceive(
    config: WaveCoreConfig, sensed: Mapping[str, at.Array]
) -> dict[str, at.Array]:
    """What is encoded of what was sensed: the places in frames, and all else as it is.

    Shapes: one of `shapes` or `encoded_shapes` with the same axes in front.
    """
    found = dict(sensed)
    if IMAGE in found:
        frames = found.pop(IMAGE)
        found[PLACES] = places.find(frames, config.image_colours, config.image_count)
    return found


def make_encoders(
    config: WaveCoreConfig,
    statistics: normalisation.Statistics,
    random: np.random.Generator,
) -> nnx.Dict:
    """An encoder for each of `encoded_shapes`, by name; empty without senses."""
    return nnx.Dict(
        {
            name: Sight(config, statistics, random)
            if name == PLACES
            else Sound(config, statistics, random)
            for name in encoded_shapes(config)
        }
    )


class Sight(nnx.Module):
    """Encodes the places in a frame, normalised as the state is.

    Every camera has columns of its own where what was found goes into the residual
    stream.
    """

    def __init__(
        self,
        config: WaveCoreConfig,
        statistics: normalisation.Statistics,
        random: np.random.Generator,
    ) -> None:
        (count,), self.count = encoded_shapes(config)[PLACES], config.image_count
        mean, deviation = statistics.places_mean, statistics.places_deviation
        blank = np.full(count, normalisation.PLACES_DEVIATION, np.float32)
        self.mean = Normalisation(
            jnp.zeros(count) if mean is None else jnp.asarray(mean)
        )
        self.deviation = Normalisation(
            jnp.asarray(blank if deviation is None else deviation)
        )
        drawn = random.standard_normal((count, config.width), np.float32)
        self.outward = Backbone(jnp.asarray(drawn / np.float32(count**0.5)))

    def __call__(self, found: at.Places, dtype: jnp.dtype) -> at.Residual:
        """Shapes: found [... q*2c] to [... d]."""
        of_each = found.reshape(*found.shape[:-1], self.count, -1)
        seen = jnp.max(jnp.abs(of_each), axis=-1, keepdims=True) > 0
        x = _normalise(found, self.mean[...], self.deviation[...])
        x = (x.reshape(of_each.shape) * seen).reshape(found.shape)
        return product_f32(x, self.outward[...]).astype(dtype)


class Sound(nnx.Module):
    """Encodes log-mel channels, normalised as the state is."""

    def __init__(
        self,
        config: WaveCoreConfig,
        statistics: normalisation.Statistics,
        random: np.random.Generator,
    ) -> None:
        u, d = config.audio_size, config.width
        mean, deviation = statistics.audio_mean, statistics.audio_deviation
        self.mean = Normalisation(jnp.zeros(u) if mean is None else jnp.asarray(mean))
        self.deviation = Normalisation(
            jnp.ones(u) if deviation is None else jnp.asarray(deviation)
        )
        drawn = random.standard_normal((u, d), np.float32)
        self.inward = Backbone(jnp.asarray(drawn / np.float32(u**0.5)))

    def __call__(self, mel: at.LogMel, dtype: jnp.dtype) -> at.Residual:
        """Shapes: mel [... u] to [... d]."""
        heard = jnp.max(jnp.abs(mel), axis=-1, keepdims=True) > 0
        x = _normalise(mel, self.mean[...], self.deviation[...])
        encoded = product_f32(x, self.inward[...])
        return (encoded * heard).astype(dtype)


def _normalise(x: at.Array, mean: at.Array, deviation: at.Array) -> at.Array:
    """Without units, as the state is."""
    largest = normalisation.LARGEST_INPUT
    return jnp.clip((x - mean) / deviation, -largest, largest)
