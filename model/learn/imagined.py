"""What a robot would have seen in its memories if it had been changed before.

A few episodes on a changed robot are enough to find its calibration, which has two
numbers per sensor, and too few to teach adapters without learning them by heart. The
calibration's inverse turns every memory of the known robot into one of the changed
robot, and adapters can learn from those as well as from what was lived.

Source: training on imagined variants of a robot, Tobin et al. 2017, arXiv:1703.06907
(there drawn at random; here the one variant that was found).
"""

import jax.numpy as jnp

from model import array_types as at
from model import errors
from model.wavecore import WaveCore

SMALLEST_SCALE = 0.1
"""A sensor whose calibration says less has told nothing that could be inverted."""


def imagined(
    known: WaveCore, changed: WaveCore, states: at.States, actions: at.Actions
) -> tuple[at.States, at.Actions]:
    """Memories of the known robot as the changed one would have made them.

    With them the changed model encodes what the known model encodes of the given
    ones, and its action bias is in the actions.

    Shapes: states [... n] and actions [... a], raw, to the same.

    Args:
        known: the model with the calibration of the robot as it was.
        changed: the same model with that of the robot as it is.
        states: what the robot saw as it was.
        actions: what was right to do.

    Raises:
        ShapeMismatchError: channels of states or actions are not those of the models.
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
    told = (states - mean) / deviation * known.input_scale[...] + known.input_bias[...]
    scale = jnp.maximum(changed.input_scale[...], SMALLEST_SCALE)
    seen = (told - changed.input_bias[...]) / scale * deviation + mean
    return seen, actions + (changed.action_bias[...] - known.action_bias[...])
