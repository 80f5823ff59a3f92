"""Rewrites recorded episodes of the known robot as the changed robot would record them.

A few episodes on a changed robot are enough to find its calibration, which has two
numbers per sensor, but not to train adapters, which would memorise them. The inverse of
the calibration turns every memory of the known robot into one of the changed robot, and
adapters can learn from those as well as from the episodes recorded on it.

Source: training on imagined variants of a robot, Tobin et al. 2017, arXiv:1703.06907
(there drawn at random; here the one variant that was found).
"""

import jax.numpy as jnp

from model import array_types as at
from model import errors
from model.wavecore import WaveCore

SMALLEST_SCALE = 0.1
"""Smallest scale that is inverted; below it the sensor carries no usable signal."""


def project(
    known: WaveCore, changed: WaveCore, states: at.States, actions: at.Actions
) -> tuple[at.States, at.Actions]:
    """Memories of the known robot as the changed one would have recorded them.

    The changed model encodes the result as the known model encodes the given states,
    and the actions include its action bias.

    Shapes: states [... n] and actions [... a], raw, to the same.

    Args:
        known: the model with the calibration of the known robot.
        changed: the same model with the calibration of the changed robot.
        states: observed on the known robot.
        actions: the right ones there, in the robot's units.

    Raises:
        ShapeMismatchError: states or actions have other channels than the models.
    """
    for name, x, size in (
        ("states", states, known.config.state_size),
        ("actions", actions, known.config.action_size),
    ):
        if x.shape[-1:] != (size,):
            raise errors.ShapeMismatchError(
                name, f"{size} channels", x.shape, "use memories of this model's robot"
            )
    mean, deviation = known.mean[...], known.deviation[...]
    encoded = (states - mean) / deviation * known.input_scale[...]
    encoded = encoded + known.input_bias[...]
    scale = jnp.maximum(changed.input_scale[...], SMALLEST_SCALE)
    projected = (encoded - changed.input_bias[...]) / scale * deviation + mean
    return projected, actions + (changed.action_bias[...] - known.action_bias[...])
