"""What a robot perceives besides its state: camera frames and sound, each optional.

The senses of a model and their names follow from the fields of its episodes in
`rlds.spec`: every `observation/` field except the state has an encoder that adds to the
residual stream. A configuration without a sense has neither its parameters nor its
input.

A sense may be silent at a step, because a frame came late or a microphone is
unplugged. All zeros mean that, and then the sense adds nothing: no frame that a camera
takes is zero in every pixel, and no log power is zero in every channel.

Sources: strided convolutions and the expected position of each feature, Levine et al.
2016, arXiv:1504.00702, section 5.1.
"""

from collections.abc import Mapping
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from model import array_types as at
from model import normalisation
from model.config import WaveCoreConfig
from model.precision import product, product_f32
from model.surfaces import Backbone, Normalisation
from rlds.spec import FIELDS, Field

COLOURS = 3
"""Red, green and blue of one pixel, each from 0 to 255."""
CONVOLUTIONS = 3
"""Each halves both sides of a frame."""
_KERNEL = 3
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
    of 256 steps, is 0.47 GB of frames of 48 x 64 pixels, and would be 1.9 GB as f32.

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


def make_encoders(
    config: WaveCoreConfig,
    statistics: normalisation.Statistics,
    random: np.random.Generator,
) -> nnx.Dict:
    """An encoder for each sense, by name; empty for a robot without senses."""
    return nnx.Dict(
        {
            name: Sight(config, random)
            if field.dtype == "jpeg"
            else Sound(config, statistics, random)
            for name, field in fields(config).items()
        }
    )


class Sight(nnx.Module):
    """Encodes a frame by where each learned feature is, and how strong it is."""

    def __init__(self, config: WaveCoreConfig, random: np.random.Generator) -> None:
        first = config.image_channels
        channels = [COLOURS, *(first * 2**i for i in range(CONVOLUTIONS))]
        self.kernels = nnx.List([_kernel(random, i, o) for i, o in pairwise(channels)])
        self.biases = nnx.List(
            [Backbone(jnp.zeros(o, jnp.float32)) for o in channels[1:]]
        )
        self.count = config.image_count
        rows = 3 * channels[-1] * self.count
        drawn = random.standard_normal((rows, config.width), np.float32)
        self.outward = Backbone(jnp.asarray(drawn / np.float32(rows**0.5)))

    def __call__(self, frames: at.Frames, dtype: jnp.dtype) -> at.Residual:
        """Shapes: frames [... h q*w 3], of u8 or of a float type, to [... d].

        Every camera has the same convolutions, and columns of its own where what was
        found goes into the residual stream.
        """
        pixels = self._part(frames).astype(jnp.float32)
        seen = jnp.max(pixels, axis=(1, 2, 3)) > 0
        x = (jnp.clip(pixels, 0.0, 255.0) / 127.5 - 1.0).astype(dtype)
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            x = jax.nn.relu(_convolve(x, kernel[...]) + bias[...].astype(dtype))
        found = _locate(x).astype(dtype) * seen[:, None].astype(dtype)
        found = found.reshape(-1, self.count * found.shape[-1])
        encoded = product(found, self.outward[...])
        return encoded.reshape(*frames.shape[:-3], encoded.shape[-1])

    def _part(self, frames: at.Frames) -> at.Array:
        """The frames of each camera by themselves, [r*q h w 3]."""
        h, wide, colours = frames.shape[-3:]
        w = wide // self.count
        if self.count == 1:
            return frames.reshape(-1, h, w, colours)
        apart = frames.reshape(-1, h, self.count, w, colours)
        return jnp.moveaxis(apart, 2, 1).reshape(-1, h, w, colours)


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
        x = (mel - self.mean[...]) / self.deviation[...]
        x = jnp.clip(x, -normalisation.LARGEST_INPUT, normalisation.LARGEST_INPUT)
        encoded = product_f32(x, self.inward[...])
        return (encoded * heard).astype(dtype)


def _kernel(random: np.random.Generator, inward: int, outward: int) -> Backbone:
    """Normal numbers of variance 2 / inputs; He et al. 2015, arXiv:1502.01852."""
    drawn = random.standard_normal((_KERNEL, _KERNEL, inward, outward), np.float32)
    gain = np.float32((2 / (_KERNEL * _KERNEL * inward)) ** 0.5)
    return Backbone(jnp.asarray(drawn * gain))


def _convolve(x: at.Array, kernel: at.Array) -> at.Array:
    """A convolution at every second pixel: [r h w i] to [r ceil(h/2) ceil(w/2) o]."""
    return jax.lax.conv_general_dilated(
        x,
        kernel.astype(x.dtype),
        window_strides=(2, 2),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _locate(x: at.Array) -> at.Array:
    """Expected row and column of each channel, from -1 to 1, and its mean.

    Shapes: x [r h w i] to f32 [r 3i].
    """
    rows, h, w, channels = x.shape
    grid = np.meshgrid(np.linspace(-1, 1, h), np.linspace(-1, 1, w), indexing="ij")
    where = jnp.asarray(np.stack(grid).reshape(2, -1), jnp.float32)
    strength = x.astype(jnp.float32).reshape(rows, h * w, channels)
    share = jax.nn.softmax(strength, axis=1)
    position = [jnp.sum(share * axis[:, None], axis=1) for axis in where]
    return jnp.concatenate([*position, jnp.mean(strength, axis=1)], axis=-1)
