"""What training makes small: action error and next-observation error."""

from typing import NamedTuple

import jax.numpy as jnp

from model import array_types as at
from model.wavecore import Prediction

LARGEST_MISS = 10.0
"""A miss of the next observation counts at most this, in typical changes: an object
that is knocked over must not outweigh everything else."""


class Losses(NamedTuple):
    """Scalars, each a weighted mean over steps.

    Attributes:
        total: what the optimiser sees.
        action: mean absolute action error, in the robot's units.
        next_observation: mean absolute error of the predicted change, in typical
            changes of one step.
    """

    total: at.Array
    action: at.Array
    next_observation: at.Array


def imitation(
    prediction: Prediction,
    actions: at.Actions,
    next_states: at.States,
    change: at.Array,
    action_weight: at.Array,
    next_weight: at.Array,
    next_share: float,
) -> Losses:
    """Absolute error of action and next observation.

    The absolute error follows the median: an expert that saturates and switches
    leaves outliers, which a squared error would average into a slow action.

    Shapes: actions [... t a], next_states [... t n], change [n],
    action_weight [... t] (0 leaves a step out), next_weight [... t] (0 where no next
    state is known).
    """
    action = jnp.mean(jnp.abs(prediction.action - actions), axis=-1)
    action_loss = _weighted_mean(action, action_weight)
    next_loss = world_model(prediction, next_states, change, next_weight)
    return Losses(action_loss + next_share * next_loss, action_loss, next_loss)


def world_model(
    prediction: Prediction, next_states: at.States, change: at.Array, weight: at.Array
) -> at.Array:
    """Mean absolute error of the predicted change, in typical changes of one step.

    Shapes: next_states [... t n], change [n], weight [... t] to a scalar.
    """
    missed = (prediction.next_observation - next_states) / change
    following = jnp.mean(jnp.minimum(jnp.abs(missed), LARGEST_MISS), axis=-1)
    return _weighted_mean(following, weight)


def _weighted_mean(x: at.Array, weight: at.Array) -> at.Array:
    return jnp.sum(x * weight) / jnp.maximum(jnp.sum(weight), 1e-6)
