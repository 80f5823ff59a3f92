"""AdamW with clipped gradients, linear warm-up and a cosine to zero.

The optimiser's moments are stored as a flat mapping of numbered arrays, so that a
checkpoint does not depend on the classes of a library.

Source: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2.
"""

from collections.abc import Mapping

import jax
import optax

from cloud.train.config import TrainConfig

Parameters = Mapping[str, jax.Array]
Moments = dict[str, jax.Array]


def schedule(config: TrainConfig) -> optax.Schedule:
    """Returns the learning rate as a function of the update, the first being 0."""
    warmup_updates = min(config.warmup_updates, config.updates // 2)
    return optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, warmup_updates, config.updates
    )


class Optimizer:
    """The optimiser of one configuration; pure, for use inside compiled functions."""

    def __init__(self, config: TrainConfig) -> None:
        self._transform = optax.chain(
            optax.clip_by_global_norm(config.gradient_norm),
            optax.adamw(
                schedule(config),
                weight_decay=config.weight_decay,
                mask=lambda p: jax.tree.map(lambda x: x.ndim > 1, p),
            ),
        )

    def init(self, parameters: Parameters) -> Moments:
        """Returns the moments before the first update."""
        return _number(self._transform.init(parameters))

    def update(
        self, gradients: Parameters, moments: Moments, parameters: Parameters
    ) -> tuple[Parameters, Moments]:
        """Returns parameters and moments after one update."""
        shapes = jax.eval_shape(self._transform.init, parameters)
        in_order = [moments[name] for name in sorted(moments)]
        state = jax.tree.unflatten(jax.tree.structure(shapes), in_order)
        change, state = self._transform.update(gradients, state, parameters)
        return optax.apply_updates(parameters, change), _number(state)


def _number(state: optax.OptState) -> Moments:
    return {f"{i:04d}": leaf for i, leaf in enumerate(jax.tree.leaves(state))}
