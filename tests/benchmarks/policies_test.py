import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from model import normalisation
from tests.benchmarks import policies

STATE, ACTION, TASKS = 5, 2, 3


def make(kind: str) -> policies.Policy:
    statistics = normalisation.Statistics(
        mean=np.full(STATE, 0.5, np.float32),
        deviation=np.full(STATE, 2.0, np.float32),
        change=np.full(STATE, 0.1, np.float32),
    )
    random = np.random.default_rng(0)
    return policies.maker(kind, 8, 2)(STATE, ACTION, TASKS, statistics, random)


def inputs(length: int) -> tuple[jax.Array, jax.Array]:
    random = np.random.default_rng(1)
    states = jnp.asarray(random.standard_normal((2, length, STATE), np.float32))
    task = jax.nn.one_hot(jnp.array([[0] * length, [2] * length]), TASKS)
    return states, task


@pytest.mark.parametrize("kind", ["lstm", "gru", "mlp"])
def test_sequence_equals_repeated_step(kind: str) -> None:
    model = make(kind)
    states, task = inputs(6)
    carry = jnp.zeros((2, model.config.carry_size))
    whole = model.sequence(states, task, jnp.zeros((2, 6), bool), carry)
    for t in range(6):
        said = model.step(states[:, t], task[:, t], carry)
        carry = said.carry
        np.testing.assert_allclose(said.action, whole.action[:, t], atol=1e-6)
        np.testing.assert_allclose(
            said.next_observation, whole.next_observation[:, t], atol=1e-6
        )
    np.testing.assert_allclose(carry, whole.carry, atol=1e-6)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_first_step_of_an_episode_resets_the_memory_and_others_keep_it(
    kind: str,
) -> None:
    model = make(kind)
    states, task = inputs(6)
    carry = jnp.zeros((2, model.config.carry_size))
    starts = jnp.zeros((2, 6), bool).at[:, 3].set(True)
    reset = model.sequence(states, task, starts, carry)
    alone = model.sequence(states[:, 3:], task[:, 3:], starts[:, 3:], carry)
    np.testing.assert_allclose(reset.action[:, 3:], alone.action, atol=1e-6)
    running = model.sequence(states, task, jnp.zeros((2, 6), bool), carry)
    assert jnp.abs(running.action[:, 3:] - alone.action).max() > 1e-3


def test_mlp_has_no_memory() -> None:
    model = make("mlp")
    states, task = inputs(6)
    carry = jnp.zeros((2, model.config.carry_size))
    whole = model.sequence(states, task, jnp.zeros((2, 6), bool), carry)
    last = model.step(states[:, 5], task[:, 5], carry)
    np.testing.assert_allclose(last.action, whole.action[:, 5], atol=1e-6)


def test_scales_are_not_trained() -> None:
    trained = nnx.state(make("lstm"), nnx.Param)
    names = {path[0] for path, _ in nnx.to_flat_state(trained)}
    assert not names & {"mean", "deviation", "change"}
    assert {"encode", "layers", "action_head", "next_head"} <= names
