"""What counts in the loss and what does not."""

import jax.numpy as jnp
import numpy as np

from model import losses
from model.wavecore import Prediction


def loss(action_weight, next_weight):
    prediction = Prediction(
        action=jnp.asarray([[1.0, 1.0], [5.0, 5.0]]),
        next_observation=jnp.asarray([[2.0], [9.0]]),
        carry=jnp.zeros(1),
    )
    return losses.imitation(
        prediction,
        actions=jnp.zeros((2, 2)),
        next_states=jnp.asarray([[1.0], [0.0]]),
        change=jnp.asarray([0.5]),
        action_weight=jnp.asarray(action_weight),
        next_weight=jnp.asarray(next_weight),
        next_share=0.5,
    )


def test_steps_of_weight_zero_do_not_count():
    measured = loss([1.0, 0.0], [1.0, 0.0])
    assert measured.action == 1.0
    assert measured.next_observation == 2.0
    assert measured.total == 2.0


def test_large_miss_of_the_next_observation_is_cut():
    assert loss([1.0, 1.0], [0.0, 1.0]).next_observation == losses.LARGEST_MISS


def test_window_without_any_weight_is_zero_and_not_nan():
    assert np.isfinite(loss([0.0, 0.0], [0.0, 0.0]).total)
