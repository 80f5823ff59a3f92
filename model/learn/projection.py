"""Turns what one robot's sensors show into what another's would show.

A few episodes on a changed robot are enough to find its calibration, which has two
numbers per sensor, but not to train adapters, which would memorise them. The inverse of
the calibration turns every memory of the known robot into one of the changed robot, and
adapters can learn from those as well as from the episodes recorded on it.

Source: training on imagined variants of a robot, Tobin et al. 2017, arXiv:1703.06907
(there drawn at random; here the one variant that was found).
"""

import jax.numpy as jnp

from model.learn.memories import View
from model.wavecore import WaveCore

SMALLEST_SCALE = 0.1
"""Smallest scale that is inverted; below it the sensor carries no usable signal."""


def project(view: View, recorded: WaveCore, viewed: WaveCore) -> View:
    """The view in which memories of one robot look as another would record them.

    The viewed model encodes what this view shows as the recorded one encodes what it
    recorded, and the commands include its action bias. A view that already changes the
    sensors is replaced.

    Args:
        view: everything else about the view.
        recorded: the model with the calibration of the robot that recorded.
        viewed: the same model with the calibration of the other robot.
    """
    mean, deviation = recorded.mean[...], recorded.deviation[...]
    smallest = jnp.maximum(viewed.input_scale[...], SMALLEST_SCALE)
    scale = recorded.input_scale[...] / smallest
    bias = (recorded.input_bias[...] - viewed.input_bias[...]) / smallest
    # Each robot's own recordings begin where it rests.
    moved = viewed.rest.moved[...] - recorded.rest.moved[...] * scale
    return view._replace(
        scale=scale,
        shift=mean - mean * scale + (bias + moved) * deviation,
        action_shift=viewed.action_bias[...] - recorded.action_bias[...],
    )
