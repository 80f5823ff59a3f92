"""AdamW with clipped gradients, linear warm-up and a cosine to zero.

The optimiser's moments are kept as a flat mapping of numbered arrays, so that a
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
    """Learning rate by step, the first step being 0."""
    warmup_steps = min(config.warmup_steps, config.steps // 2)
    return optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, warmup_steps, config.steps
    )


class Optimizer:
    """The update of one configuration; pure, and used inside compiled functions."""

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
        """Moments before the first step."""
        return _numbered(self._transform.init(parameters))

    def update(
        self, gradients: Parameters, moments: Moments, parameters: Parameters
    ) -> tuple[Parameters, Moments]:
        """Parameters and moments after one step."""
        shapes = jax.eval_shape(self._transform.init, parameters)
        in_order = [moments[name] for name in sorted(moments)]
        state = jax.tree.unflatten(jax.tree.structure(shapes), in_order)
        change, state = self._transform.update(gradients, state, parameters)
        return optax.apply_updates(parameters, change), _numbered(state)


def _numbered(state: optax.OptState) -> Moments:
    return {f"{i:04d}": leaf for i, leaf in enumerate(jax.tree.leaves(state))}
