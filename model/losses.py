"""The training losses, and the targets of the value head.

imitation    error of action and next observation, plus small shares of the losses of
             the heads for action scale and value
action_error error of the action alone, which needs no next state
heads        losses of action scale and value alone, for reporting
world_model  error of the next observation alone, which needs no labels
returns      the targets of the value head, from reward and discount of episodes
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from model import array_types as at
from model import errors
from model.wavecore import Prediction

LARGEST_MISS = 10.0
"""An error of the next observation counts as at most this, in typical changes of one
step: an object that is knocked over must not outweigh everything else."""


SMALLEST_MISS = 1e-4
"""Added to an action's error when its scale is learned, in reaches: for a
channel that is always exact, the likelihood would grow without limit."""

LARGEST_RATIO = 10.0
"""An error of more than this many scales has the gradient of one of this many: early in
training a scale can be far too small, and would take up all of a clipped gradient."""

RETURN_DISCOUNT = 0.98
"""Weight of a reward one step later; it falls to half in 34 steps, which is shorter
than an episode of Meta-World."""


@dataclasses.dataclass(frozen=True)
class Shares:
    """Weight of each loss relative to that of the action, which is one.

    Attributes:
        next_observation: the same as the action. Features that tell where the arm is
            going help the action too, and precision over the last centimetres
            improves.
        action_scale: small. The scale reads the features and does not shape them,
            and Adam divides each gradient by its own size, so this only decides how
            much of the clipped gradient it takes from the others: about a hundredth.
        value: small, for the same reason.
    """

    next_observation: float = 1.0
    action_scale: float = 0.01
    value: float = 0.01


SHARES = Shares()
"""The shares that training uses."""


class HeadLosses(NamedTuple):
    """Losses of the heads that read the features without shaping them; weighted means.

    Attributes:
        action_scale: negative logarithm of the action's likelihood, up to a constant,
            with its tail cut at `LARGEST_RATIO`.
        value: squared error of the value; zero without targets.
    """

    action_scale: at.Array
    value: at.Array


class Losses(NamedTuple):
    """Scalars, each a weighted mean over steps.

    Attributes:
        total: what the optimiser minimises: action, next observation and, where the
            model has them, the other heads, each times its share.
        action: mean absolute action error, in the unit of the actions that are given.
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
    next_share: float = SHARES.next_observation,
    *,
    values: at.Values | None = None,
    value_weight: at.Array | None = None,
    shares: Shares = SHARES,
) -> Losses:
    """Absolute error of action and next observation, plus shares of the other heads.

    The absolute error follows the median: an expert that saturates and switches
    leaves outliers, which a squared error would average into a slow action.

    Shapes: actions [... t a], next_states [... t n], change [n],
    action_weight [... t] (0 leaves a step out), next_weight [... t] (0 where no next
    state is known), values [... t] (by `returns`), value_weight [... t] (0 where no
    return is known; default: as `action_weight`). `next_share` is used instead of
    `shares.next_observation`. Without `values` the value head is not trained.
    """
    action_loss = action_error(prediction, actions, action_weight)
    next_loss = world_model(prediction, next_states, change, next_weight)
    total = action_loss + next_share * next_loss
    head = heads(prediction, actions, action_weight, values, value_weight)
    total = total + shares.action_scale * head.action_scale
    return Losses(total + shares.value * head.value, action_loss, next_loss)


def action_error(
    prediction: Prediction, actions: at.Actions, weight: at.Array
) -> at.Array:
    """Mean absolute error of the action, in the unit of the actions that are given.

    Shapes: actions [... t a], weight [... t] (0 leaves a step out) to a scalar.
    """
    missed = jnp.mean(jnp.abs(prediction.action - actions), axis=-1)
    return _weighted_mean(missed, weight)


def heads(
    prediction: Prediction,
    actions: at.Actions,
    action_weight: at.Array,
    values: at.Values | None = None,
    value_weight: at.Array | None = None,
) -> HeadLosses:
    """Losses of action scale and value; zero where a model has no such head.

    The scale is that of a Laplace distribution around the action, whose likelihood
    depends on the absolute error relative to the scale. No gradient reaches the action.

    Shapes: as for `imitation`.
    """
    scale, value = jnp.zeros(()), jnp.zeros(())
    if prediction.action_scale is not None:
        missed = jax.lax.stop_gradient(jnp.abs(prediction.action - actions))
        unlikely = _laplace(missed + SMALLEST_MISS, prediction.action_scale)
        scale = _weighted_mean(jnp.mean(unlikely, axis=-1), action_weight)
    if values is not None and prediction.value is not None:
        weight = action_weight if value_weight is None else value_weight
        value = _weighted_mean(jnp.square(prediction.value - values), weight)
    return HeadLosses(scale, value)


def _laplace(missed: at.Array, scale: at.Array) -> at.Array:
    """`log(scale) + missed / scale`; beyond `LARGEST_RATIO` linear in log(scale)."""
    log_scale = jnp.log(scale)
    log_ratio = jnp.log(missed) - log_scale
    cut = float(np.log(LARGEST_RATIO))
    near = jnp.exp(jnp.minimum(log_ratio, cut))
    return log_scale + near + LARGEST_RATIO * jnp.maximum(log_ratio - cut, 0.0)


def returns(
    reward: np.ndarray,
    discount: np.ndarray,
    starts: np.ndarray,
    largest_reward: float | None = None,
) -> np.ndarray:
    """Targets of the value head: the discounted mean of the rewards to come.

        v_t = (1 - d_t) + d_t ((1 - c) r_t + c v_{t+1}),    c = RETURN_DISCOUNT,

    with d_t the `discount` of `rlds.spec`, zero where the episode ended in success,
    and r_t the `reward` divided by `largest_reward`. So success counts as the largest
    reward from then on; if an episode ends in another way, its last reward is assumed
    to continue: v_{t+1} = r_t. A return is a weighted mean of numbers from -1 to 1, so
    it stays in that range; for a robot without rewards it is `c ** steps_to_success`,
    or zero if there is no success.

    Shapes: reward, discount, starts [s], whole episodes one after the other, to f32
    [s].

    Args:
        reward: of each step, in the robot's own units.
        discount: of each step, 0 to 1.
        starts: True at the first step of each episode.
        largest_reward: largest absolute reward of the training data, to be given when
            `reward` is only part of them; default: that of `reward`, or 1 if all are 0.

    Raises:
        ShapeMismatchError: the three are not vectors of one length.
        NonFiniteError: a reward is not finite, a discount is not from 0 to 1, or the
            largest reward is not a positive number.
    """
    reward, discount = np.asarray(reward, np.float64), np.asarray(discount, np.float64)
    _check_rewards(reward, discount, starts)
    if largest_reward is None:
        largest_reward = float(np.abs(reward).max(initial=0.0)) or 1.0
    if not 0 < largest_reward < np.inf:
        raise errors.NonFiniteError(
            "largest_reward",
            "a positive number",
            largest_reward,
            "leave it out to use the largest of the data",
        )
    unit = np.clip(reward / largest_reward, -1.0, 1.0)
    last = np.append(starts[1:], True)
    values, following = np.empty(len(unit)), 0.0
    steps = zip(unit.tolist(), discount.tolist(), last.tolist(), strict=True)
    for t, (r, d, is_last) in reversed(list(enumerate(steps))):
        following = r if is_last else following
        mean = (1 - RETURN_DISCOUNT) * r + RETURN_DISCOUNT * following
        following = values[t] = (1 - d) + d * mean
    return values.astype(np.float32)


def _check_rewards(
    reward: np.ndarray, discount: np.ndarray, starts: np.ndarray
) -> None:
    for name, x in (("discount", discount), ("starts", starts)):
        if x.shape != (reward.size,):
            raise errors.ShapeMismatchError(
                name, (reward.size,), x.shape, "give one number for each step"
            )
    if not np.isfinite(reward).all():
        raise errors.NonFiniteError(
            "reward", "finite numbers", "NaN or infinity", "look for it in the episodes"
        )
    if not ((discount >= 0) & (discount <= 1)).all():
        raise errors.NonFiniteError(
            "discount",
            "numbers from 0 to 1",
            f"{discount.min()} to {discount.max()}",
            "look for them in the episodes",
        )


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
