"""A simulated robot that a small model learns in a few seconds, and that model."""

from typing import NamedTuple

import jax
import numpy as np
import optax
from flax import nnx

from model import losses, normalisation, surfaces
from model.losses import Losses
from model.testing import small_models
from model.wavecore import WaveCore

GOALS = np.array([[1, 0], [-1, 1], [0, -1]], np.float32)


class Episodes(NamedTuple):
    """Episodes of equal length: states [b t+1 n], actions [b t a], tasks [b t k]."""

    states: np.ndarray
    actions: np.ndarray
    tasks: np.ndarray


def drive(count: int, steps: int, seed: int) -> Episodes:
    """A damped point driven to the goal of its task."""
    random = np.random.default_rng(seed)
    task = random.integers(0, len(GOALS), count)
    goal, speed = GOALS[task], np.zeros((count, 2), np.float32)
    position = random.uniform(-1.5, 1.5, (count, 2)).astype(np.float32)
    states, actions = [], []
    for _ in range(steps + 1):
        states.append(np.concatenate([position, speed, goal - position], axis=1))
        actions.append(np.clip(1.5 * (goal - position) - speed, -1, 1))
        speed = 0.8 * speed + 0.3 * actions[-1]
        position = position + 0.2 * speed
    tasks = np.eye(len(GOALS), dtype=np.float32)[task]
    return Episodes(
        np.stack(states, 1),
        np.stack(actions, 1)[:, :-1],
        np.repeat(tasks[:, None], steps, axis=1),
    )


def measure(core: WaveCore, episodes: Episodes) -> Losses:
    """Losses over whole episodes."""
    states, actions, tasks = episodes
    starts = np.zeros(tasks.shape[:2], bool)
    weight = np.ones(tasks.shape[:2], np.float32)
    carry = np.zeros((len(states), core.config.carry_size), np.float32)
    prediction = core.sequence(states[:, :-1], tasks, starts, carry)
    return losses.imitation(
        prediction, actions, states[:, 1:], core.change[...], weight, weight, 1.0
    )


def train_model(updates: int = 300) -> WaveCore:
    """A model that predicts these episodes well; its reaches are 1."""
    data = drive(256, 24, seed=0)
    statistics = normalisation.measure(list(data.states))
    model = WaveCore(small_models.SIZES, statistics, np.random.default_rng(0))
    graph, constant, parameters, rest = nnx.split(
        model,
        surfaces.Normalisation,
        nnx.Any(surfaces.Backbone, surfaces.Head),
        ...,
    )
    optimizer = optax.adam(5e-3)

    @jax.jit
    def train(
        parameters: nnx.State, moments: optax.OptState, batch: Episodes
    ) -> tuple[nnx.State, optax.OptState]:
        gradient = jax.grad(
            lambda p: measure(nnx.merge(graph, constant, p, rest), batch).total
        )(parameters)
        change, moments = optimizer.update(gradient, moments)
        return optax.apply_updates(parameters, change), moments

    moments, random = jax.jit(optimizer.init)(parameters), np.random.default_rng(1)
    for _ in range(updates):
        index = random.integers(0, len(data.states), 32)
        batch = Episodes(*(x[index] for x in data))
        parameters, moments = train(parameters, moments, batch)
    return nnx.merge(graph, constant, parameters, rest)
