"""Sequence and step forms agree; surfaces begin without effect."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from model import config, errors, recurrence, surfaces, testing
from model.wavecore import WaveCore

N, A, K = 6, 2, 3


def one_hot(index, *shape):
    return jnp.broadcast_to(jnp.eye(K)[index], (*shape, K))


@pytest.mark.parametrize("length", [1, 2, 17])
def test_sequence_equals_repeated_step(length):
    model = testing.model()
    states = testing.numbers(3, length, N)
    task = one_hot(1, 3, length)
    starts = jnp.zeros((3, length), bool)
    carry = jnp.asarray(testing.numbers(3, model.config.carry_size, seed=2))
    whole = jax.jit(model.sequence)(states, task, starts, carry)
    step = jax.jit(model.step)
    for t in range(length):
        one = step(states[:, t], task[:, t], carry)
        carry = one.carry
        np.testing.assert_allclose(one.action, whole.action[:, t], atol=1e-5)
        np.testing.assert_allclose(
            one.next_observation, whole.next_observation[:, t], atol=1e-5
        )
    np.testing.assert_allclose(carry, whole.carry, atol=1e-5)


def test_episode_after_a_border_is_as_if_alone():
    model = testing.model()
    states, task = testing.numbers(1, 12, N), one_hot(0, 1, 12)
    starts = jnp.zeros((1, 12), bool).at[0, 5].set(True)
    carry = jnp.ones((1, model.config.carry_size))
    sequence = jax.jit(model.sequence)
    joined = sequence(states, task, starts, carry)
    alone = sequence(states[:, 5:], task[:, 5:], starts[:, 5:], 0 * carry)
    np.testing.assert_allclose(joined.action[:, 5:], alone.action, atol=1e-6)


@pytest.mark.parametrize("change", [{"oscillating": True}, {"channels_per_gate": 4}])
@pytest.mark.parametrize("form", recurrence.FORMS)
def test_every_kind_of_recurrence_is_the_same_in_steps_and_as_a_sequence(change, form):
    model = testing.model(dataclasses.replace(testing.SIZES, **change))
    states, task = testing.numbers(9, N), one_hot(1, 9)
    starts = jnp.zeros(9, bool).at[4].set(True)
    carry = jnp.asarray(testing.numbers(model.config.carry_size, seed=2))
    whole = model.sequence(states, task, starts, carry, form)
    step = jax.jit(model.step)
    for t in range(9):
        one = step(states[t], task[t], carry * (1 - starts[t]))
        carry = one.carry
        np.testing.assert_allclose(one.action, whole.action[t], atol=1e-5)
    np.testing.assert_allclose(carry, whole.carry, atol=1e-5)


@pytest.mark.parametrize("oscillating", [False, True])
def test_state_stays_within_the_range_of_its_values_however_long(oscillating):
    sizes = dataclasses.replace(testing.SIZES, oscillating=oscillating)
    mixer = testing.model(sizes).blocks[0].wave
    x = 5 * jnp.asarray(testing.numbers(2000, sizes.width, seed=3))
    values = jnp.abs(x @ mixer.value[...]).max() * (2**0.5 if oscillating else 1)
    starts = jnp.zeros(2000, bool)
    _, last = mixer.sequence(x, starts, jnp.zeros(16), "sequential")
    assert float(jnp.abs(last).max()) <= float(values)


def test_every_variable_has_one_known_type_and_every_type_is_used():
    known = (surfaces.Backbone, *surfaces.SURFACES.values())
    states = nnx.split(testing.model(), *known)[1:]
    assert all(jax.tree.leaves(state) for state in states)


@pytest.mark.parametrize("name", ["calibration", "adapters", "skill_memory"])
def test_surface_has_no_effect_at_first_and_some_once_changed(name):
    model = testing.model()
    kind = surfaces.SURFACES[name]
    inputs = (testing.numbers(N), one_hot(0), jnp.ones(model.config.carry_size))
    before = model.step(*inputs)
    graph, mine, rest = nnx.split(model, kind, ...)
    vector = surfaces.flatten(mine)
    changed = surfaces.unflatten(vector + 0.1, mine)
    after = nnx.merge(graph, changed, rest).step(*inputs)
    assert not np.allclose(before.action, after.action, atol=1e-4)
    without = {
        path: x if path.endswith(("keys", "adapter_in", "scale")) else 0 * x
        for path, x in surfaces.named_arrays(mine).items()
    }
    removed = nnx.merge(graph, surfaces.with_arrays(mine, without), rest)
    np.testing.assert_array_equal(before.action, removed.step(*inputs).action)


def test_input_of_another_robot_is_refused_with_both_shapes():
    model = testing.model()
    with pytest.raises(errors.ShapeMismatchError, match=r"\(6,\), got \(7,\)"):
        model.step(jnp.zeros(7), one_hot(0), jnp.zeros(model.config.carry_size))
    with pytest.raises(errors.ShapeMismatchError, match="carry"):
        model.step(jnp.zeros(N), one_hot(0), jnp.zeros(3))


def test_statistics_of_another_size_are_refused():
    with pytest.raises(errors.ShapeMismatchError, match="statistics"):
        WaveCore(testing.SIZES, testing.statistics(5), np.random.default_rng(0))


def test_same_seed_gives_the_same_model_and_another_seed_another():
    first, same, other = (
        surfaces.named_arrays(nnx.split(testing.model(seed=s))[1]) for s in (0, 0, 1)
    )
    assert all(np.array_equal(first[p], same[p]) for p in first)
    assert not np.array_equal(first["encode_state"], other["encode_state"])


@pytest.mark.parametrize(
    ("preset", "least", "most"),
    [("tiny", 0, 2e4), ("pi5", 1e5, 3e5), ("seed", 2.9e6, 3.1e6)],
)
def test_preset_has_about_its_size(preset, least, most):
    model = testing.model(config.PRESETS[preset](39, 4, 5))
    count = sum(x.size for x in jax.tree.leaves(nnx.state(model)))
    assert least < count < most
