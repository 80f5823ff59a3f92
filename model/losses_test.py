"""What counts in the loss and what does not."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import ArrayLike

from model import errors, losses
from model.losses import HeadLosses, Losses
from model.wavecore import Prediction


def loss(action_weight: list[float], next_weight: list[float]) -> Losses:
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


def test_steps_of_weight_zero_do_not_count() -> None:
    measured = loss([1.0, 0.0], [1.0, 0.0])
    assert measured.action == 1.0
    assert measured.next_observation == 2.0
    assert measured.total == 2.0


def test_large_error_of_the_next_observation_is_clipped() -> None:
    assert loss([1.0, 1.0], [0.0, 1.0]).next_observation == losses.LARGEST_MISS


def test_window_without_any_weight_is_zero_and_not_nan() -> None:
    assert np.isfinite(loss([0.0, 0.0], [0.0, 0.0]).total)


def predict(
    actions: ArrayLike, scale: ArrayLike, values: ArrayLike | None = None
) -> Prediction:
    return Prediction(
        action=jnp.asarray(actions),
        next_observation=jnp.zeros((np.shape(actions)[0], 1)),
        carry=jnp.zeros(1),
        action_scale=jnp.asarray(scale),
        value=None if values is None else jnp.asarray(values),
    )


def heads(
    prediction: Prediction,
    values: np.ndarray | None = None,
    value_weight: np.ndarray | None = None,
) -> HeadLosses:
    actions = np.zeros(prediction.action.shape, np.float32)
    weight = np.ones(len(actions), np.float32)
    return losses.heads(prediction, actions, weight, values, value_weight)


def test_loss_of_a_scale_is_lowest_at_the_mean_error() -> None:
    errors_ = np.abs(np.random.default_rng(0).laplace(0, 0.3, (500, 1)))

    def unlikely(scale: float) -> jax.Array:
        return heads(predict(errors_, np.full((500, 1), scale))).action_scale

    best = errors_.mean()
    assert unlikely(best) < min(unlikely(0.8 * best), unlikely(1.25 * best))


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1.0, 100.0])
@pytest.mark.parametrize("missed", [0.0, 1e-3, 1.0, 1e4])
def test_gradient_of_a_scale_is_bounded_and_points_to_the_error(
    scale: float, missed: float
) -> None:
    def unlikely(log_scale: jax.Array) -> jax.Array:
        return heads(predict([[missed]], jnp.exp(log_scale)[None, None])).action_scale

    pull = jax.grad(unlikely)(jnp.log(scale))
    assert np.abs(pull) <= losses.LARGEST_RATIO
    too_large = np.log(scale / (missed + losses.SMALLEST_MISS))
    assert pull * too_large >= 0


def test_loss_of_the_scale_has_no_gradient_for_the_action() -> None:
    def unlikely(action: jax.Array) -> jax.Array:
        return heads(predict(action, np.full((1, 1), 0.1))).action_scale

    np.testing.assert_array_equal(jax.grad(unlikely)(jnp.ones((1, 1))), 0)


def test_total_is_the_sum_of_all_losses_times_their_shares() -> None:
    prediction = predict([[1.0], [3.0]], [[0.5], [2.0]], [0.5, -0.5])
    zeros, ones = np.zeros(2, np.float32), np.ones(2, np.float32)
    shares = losses.Shares(action_scale=0.1, value=0.2)
    values = np.array([1.0, 0.5], np.float32)
    given = (prediction, zeros[:, None], zeros[:, None], ones[:1], ones, ones, 0.5)
    loss = losses.imitation(*given, values=values, shares=shares)
    head = heads(prediction, values)
    np.testing.assert_allclose(head.value, (0.25 + 1.0) / 2)
    np.testing.assert_allclose(
        loss.total,
        loss.action
        + 0.5 * loss.next_observation
        + 0.1 * head.action_scale
        + 0.2 * head.value,
        rtol=1e-6,
    )
    without = losses.imitation(*given, shares=shares)
    np.testing.assert_allclose(without.total, loss.total - 0.2 * head.value, rtol=1e-6)


def test_value_uses_its_own_weight_if_one_is_given() -> None:
    prediction = predict([[0.0], [0.0]], [[1.0], [1.0]], [1.0, 0.0])
    zeros = np.zeros(2, np.float32)
    weight = np.array([1.0, 0.0], np.float32)
    assert heads(prediction, zeros).value == 0.5
    assert heads(prediction, zeros, value_weight=weight).value == 1.0


def starts(*lengths: int) -> np.ndarray:
    return np.concatenate([np.arange(n) == 0 for n in lengths])


def test_return_without_rewards_is_the_discounted_steps_to_success() -> None:
    discount = np.array([1, 1, 0, 1, 1], np.float32)
    got = losses.returns(np.zeros(5), discount, starts(3, 2))
    c = losses.RETURN_DISCOUNT
    np.testing.assert_allclose(got, [c**2, c, 1, 0, 0], rtol=1e-6)


def test_return_follows_its_definition_step_by_step() -> None:
    random = np.random.default_rng(0)
    reward, discount = random.normal(size=40), random.uniform(0.8, 1, 40)
    first, c = starts(7, 1, 32), losses.RETURN_DISCOUNT
    got = losses.returns(reward, discount, first)
    r = reward / np.abs(reward).max()
    for t in range(40):
        ends = t == 39 or first[t + 1]
        following = r[t] if ends else got[t + 1]
        mean = (1 - c) * r[t] + c * following
        np.testing.assert_allclose(
            got[t], 1 - discount[t] + discount[t] * mean, atol=1e-6
        )


def test_return_of_a_constant_reward_is_that_reward_however_long_the_episode() -> None:
    got = losses.returns(np.full(9, -4.0), np.ones(9), starts(2, 7), largest_reward=8)
    np.testing.assert_allclose(got, -0.5, rtol=1e-6)


@pytest.mark.parametrize("largest", [None, 0.01])
def test_return_is_within_one_whatever_the_rewards(largest: float | None) -> None:
    reward = np.random.default_rng(0).normal(size=300) * 1e6
    got = losses.returns(reward, np.ones(300), starts(300), largest)
    assert np.abs(got).max() <= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reward": np.array([0, np.nan])}, "reward: expected finite"),
        ({"discount": np.array([0, 1.5])}, "discount: expected numbers from 0 to 1"),
        ({"discount": np.array([0, np.nan])}, "discount: expected numbers from 0 to 1"),
        ({"largest_reward": 0.0}, "largest_reward: expected a positive number"),
        ({"starts": starts(3)}, r"starts: expected shape \(2,\), got \(3,\)"),
    ],
)
def test_impossible_rewards_are_refused_by_name(
    change: dict[str, Any], message: str
) -> None:
    given = {"reward": np.zeros(2), "discount": np.ones(2), "starts": starts(2)}
    with pytest.raises(errors.ModelError, match=message):
        losses.returns(**(given | change))
