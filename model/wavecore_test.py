"""Sequence and step forms agree; surfaces begin without effect."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from model import config, errors, recurrence, surfaces
from model.testing import small_models
from model.wavecore import Prediction, WaveCore

small_models.shorten_programs()

N, A, K = 6, 2, 3


# The model is an argument: models of one shape are the same program.
step = jax.jit(WaveCore.step)


def one_hot(index: int, *shape: int) -> jax.Array:
    return jnp.broadcast_to(jnp.eye(K)[index], (*shape, K))


@pytest.mark.parametrize("length", [1, 2, 17])
def test_sequence_equals_repeated_step(length: int) -> None:
    model = small_models.model()
    states = small_models.numbers(3, length, N)
    task = one_hot(1, 3, length)
    starts = jnp.zeros((3, length), bool)
    carry = jnp.asarray(small_models.numbers(3, model.config.carry_size, seed=2))
    whole = jax.jit(model.sequence)(states, task, starts, carry)
    for t in range(length):
        one = step(model, states[:, t], task[:, t], carry)
        carry = one.carry
        np.testing.assert_allclose(one.action, whole.action[:, t], atol=1e-5)
        np.testing.assert_allclose(
            one.next_observation, whole.next_observation[:, t], atol=1e-5
        )
    np.testing.assert_allclose(carry, whole.carry, atol=1e-5)


def test_episode_after_a_border_is_as_if_alone() -> None:
    model = small_models.model()
    states, task = small_models.numbers(1, 12, N), one_hot(0, 1, 12)
    starts = jnp.zeros((1, 12), bool).at[0, 5].set(True)
    carry = jnp.ones((1, model.config.carry_size))
    sequence = jax.jit(model.sequence)
    joined = sequence(states, task, starts, carry)
    # What follows the episode fills the window, so that both are one program.
    first = np.roll(states, -5, axis=1)
    alone = sequence(first, task, jnp.zeros((1, 12), bool), 0 * carry)
    np.testing.assert_allclose(joined.action[:, 5:], alone.action[:, :7], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "form"),
    [
        ({"oscillating": True}, "associative"),
        ({"channels_per_gate": 4}, "chunked"),
        *(
            pytest.param(change, form, marks=pytest.mark.long)
            for change, forms in (
                ({"oscillating": True}, ("sequential", "chunked")),
                ({"channels_per_gate": 4}, ("sequential", "associative")),
            )
            for form in forms
        ),
    ],
)
def test_every_kind_of_recurrence_is_the_same_in_steps_and_as_a_sequence(
    change: dict[str, Any], form: str
) -> None:
    model = small_models.model(dataclasses.replace(small_models.SIZES, **change))
    states, task = small_models.numbers(9, N), one_hot(1, 9)
    starts = jnp.zeros(9, bool).at[4].set(True)
    carry = jnp.asarray(small_models.numbers(model.config.carry_size, seed=2))
    sequence = jax.jit(model.sequence, static_argnums=4)
    whole = sequence(states, task, starts, carry, form)
    for t in range(9):
        one = step(model, states[t], task[t], carry * (1 - starts[t]))
        carry = one.carry
        np.testing.assert_allclose(one.action, whole.action[t], atol=1e-5)
    np.testing.assert_allclose(carry, whole.carry, atol=1e-5)


@pytest.mark.parametrize("oscillating", [False, True])
def test_state_stays_within_the_range_of_its_values_however_long(
    oscillating: bool,
) -> None:
    sizes = dataclasses.replace(small_models.SIZES, oscillating=oscillating)
    mixer = small_models.model(sizes).blocks[0].wave
    x = 5 * jnp.asarray(small_models.numbers(2000, sizes.width, seed=3))
    values = jnp.abs(x @ mixer.value[...]).max() * (2**0.5 if oscillating else 1)
    starts = jnp.zeros(2000, bool)
    sequence = jax.jit(mixer.sequence, static_argnums=3)
    _, last = sequence(x, starts, jnp.zeros(16), "sequential")
    assert float(jnp.abs(last).max()) <= float(values)


def test_every_variable_has_one_known_type_and_every_type_is_used() -> None:
    known = (surfaces.Backbone, *surfaces.SURFACES.values())
    states = nnx.split(small_models.model(), *known)[1:]
    assert all(jax.tree.leaves(state) for state in states)


@jax.jit
def act(model: WaveCore) -> jax.Array:
    """The action of one step, from the same inputs whatever the model."""
    carry = jnp.ones(model.config.carry_size)
    return model.step(small_models.numbers(N), one_hot(0), carry).action


@pytest.mark.parametrize("name", ["calibration", "adapters", "skill_memory"])
def test_surface_has_no_effect_until_it_is_changed(name: str) -> None:
    model = small_models.model()
    kind = surfaces.SURFACES[name]
    before = act(model)
    graph, mine, rest = nnx.split(model, kind, ...)
    vector = surfaces.flatten(mine)
    changed = surfaces.unflatten(vector + 0.1, mine)
    after = act(nnx.merge(graph, changed, rest))
    assert not np.allclose(before, after, atol=1e-4)
    without = {
        path: x if path.endswith(("keys", "adapter_in", "scale")) else 0 * x
        for path, x in surfaces.named_arrays(mine).items()
    }
    removed = nnx.merge(graph, surfaces.with_arrays(mine, without), rest)
    np.testing.assert_array_equal(before, act(removed))


def test_input_of_another_robot_is_refused_with_both_shapes() -> None:
    model = small_models.model()
    with pytest.raises(errors.ShapeMismatchError, match=r"\(6,\), got \(7,\)"):
        model.step(jnp.zeros(7), one_hot(0), jnp.zeros(model.config.carry_size))
    with pytest.raises(errors.ShapeMismatchError, match="carry"):
        model.step(jnp.zeros(N), one_hot(0), jnp.zeros(3))


def test_statistics_of_another_size_are_refused() -> None:
    with pytest.raises(errors.ShapeMismatchError, match="statistics"):
        WaveCore(
            small_models.SIZES, small_models.statistics(5), np.random.default_rng(0)
        )


def test_same_seed_gives_the_same_model_and_another_seed_another() -> None:
    first, same, other = (
        surfaces.named_arrays(nnx.split(small_models.model(seed=s))[1])
        for s in (0, 0, 1)
    )
    assert all(np.array_equal(first[p], same[p]) for p in first)
    assert not np.array_equal(first["encode_state"], other["encode_state"])


@pytest.mark.parametrize(
    ("preset", "least", "most"),
    [
        ("tiny", 0, 2e4),
        ("pi5", 1e5, 3e5),
        ("seed", 2.9e6, 3.1e6),
        ("rtx3050", 2.3e7, 2.5e7),
        pytest.param("vertex", 1e8, 1.2e8, marks=pytest.mark.long),
    ],
)
def test_preset_has_about_the_stated_number_of_parameters(
    preset: str, least: float, most: float
) -> None:
    sizes = config.PRESETS[preset](39, 4, 5)
    model = nnx.eval_shape(lambda: small_models.model(sizes))
    count = sum(x.size for x in jax.tree.leaves(nnx.state(model)))
    assert least < count < most


def window(
    model: WaveCore, length: int = 12, seed: int = 1
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Inputs of `sequence` for two windows, an episode border in one of them."""
    starts = jnp.zeros((2, length), bool).at[0, 5].set(True)
    carry = jnp.asarray(small_models.numbers(2, model.config.carry_size, seed=seed + 1))
    states = jnp.asarray(small_models.numbers(2, length, N, seed=seed))
    return states, one_hot(1, 2, length), starts, carry


@jax.jit
def predict(model: WaveCore) -> Prediction:
    """What a model predicts for the inputs of `window`."""
    return model.sequence(*window(model))


def gradient(model: WaveCore, remat: bool = False) -> dict[str, jax.Array]:
    """Gradient of the sum of squares of every output but the carry, by path."""
    graph, trained, rest = nnx.split(
        model, nnx.Any(surfaces.Backbone, surfaces.Head), ...
    )

    def objective(arrays: Mapping[str, jax.Array]) -> jax.Array:
        state = surfaces.with_arrays(trained, arrays)
        core = nnx.merge(graph, state, rest)
        prediction = core.sequence(*window(core), remat=remat)._replace(carry=0.0)
        return sum(jnp.mean(jnp.square(x)) for x in jax.tree.leaves(prediction))

    return jax.jit(jax.grad(objective))(surfaces.named_arrays(trained))


def to_bfloat16(model: WaveCore) -> WaveCore:
    """The model with its matrices in bfloat16, as the trainer passes it."""
    graph, state = nnx.split(model)
    return nnx.merge(
        graph, jax.tree.map(lambda x: x.astype("bfloat16") if x.ndim > 1 else x, state)
    )


@pytest.fixture(scope="module")
def whole_gradient() -> dict[str, jax.Array]:
    return gradient(small_models.model())


@pytest.mark.parametrize(
    "oscillating", [False, pytest.param(True, marks=pytest.mark.long)]
)
def test_remat_gives_the_same_gradient(
    whole_gradient: dict[str, jax.Array], oscillating: bool
) -> None:
    model = small_models.model(
        dataclasses.replace(small_models.SIZES, oscillating=oscillating)
    )
    kept = gradient(model) if oscillating else whole_gradient
    again = gradient(model, remat=True)
    for path, wanted in kept.items():
        np.testing.assert_allclose(again[path], wanted, atol=1e-6, err_msg=path)


@pytest.mark.long  # memory_estimate_test finds an update that keeps more
def test_remat_keeps_less_for_the_backward_pass() -> None:
    sizes = dataclasses.replace(small_models.SIZES, block_count=4, hidden_size=64)
    model, temporary = small_models.model(sizes), []
    inputs = window(model, length=256)
    graph, trained, rest = nnx.split(model, surfaces.Backbone, ...)
    for remat in (False, True):

        def objective(trained: nnx.State, remat: bool = remat) -> jax.Array:
            core = nnx.merge(graph, trained, rest)
            return jnp.sum(core.sequence(*inputs, remat=remat).action)

        compiled = jax.jit(jax.grad(objective)).lower(trained).compile()
        temporary.append(compiled.memory_analysis().temp_size_in_bytes)
    assert temporary[1] < 0.5 * temporary[0]


def test_bfloat16_model_has_float32_outputs_near_those_of_float32() -> None:
    # Over two blocks, with four seeds, the largest difference of an output was 1 % of
    # its largest number, and between step and sequence 0.0013.
    model = small_models.model()
    model.scale_head[...] = 0.1 * jnp.asarray(small_models.numbers(16, 2))
    model.value_head[...] = 0.1 * jnp.asarray(small_models.numbers(16, 1, seed=2))
    small = to_bfloat16(model)
    whole, prediction = predict(model), predict(small)
    for name, x in prediction._asdict().items():
        assert x.dtype == jnp.float32, name
        wanted = getattr(whole, name)
        allowed = 0.02 * float(jnp.abs(wanted).max())
        np.testing.assert_allclose(x, wanted, atol=allowed, err_msg=name)
    states, task, _, carry = window(model)
    one = step(small, states[:, 0], task[:, 0], carry)
    np.testing.assert_allclose(one.action, prediction.action[:, 0], atol=0.005)


def test_bfloat16_gradients_point_the_same_way(
    whole_gradient: dict[str, jax.Array],
) -> None:
    small = gradient(to_bfloat16(small_models.model()))
    assert {str(x.dtype) for x in small.values()} == {"bfloat16", "float32"}
    a, b = (
        np.concatenate([np.ravel(x).astype(np.float64) for x in g.values()])
        for g in (whole_gradient, small)
    )
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.9999


def test_recurrence_of_a_bfloat16_model_is_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mixer = to_bfloat16(small_models.model()).blocks[0].wave
    seen: list[Any] = []
    run = recurrence.sequence

    def watched(
        decay: jax.Array, drive: jax.Array, carry: jax.Array, form: str | None
    ) -> jax.Array:
        states = run(decay, drive, carry, form)
        seen.extend(x.dtype for x in (decay, drive, carry, states))
        return states

    monkeypatch.setattr(recurrence, "sequence", watched)
    x = jnp.asarray(small_models.numbers(9, 16)).astype(jnp.bfloat16)
    sequence = jax.jit(mixer.sequence, static_argnums=3)
    out, last = sequence(x, jnp.zeros(9, bool), jnp.zeros(16), "sequential")
    assert out.dtype == jnp.bfloat16
    assert seen == [jnp.float32] * 4
    assert last.dtype == jnp.float32


def test_scale_and_value_do_not_shape_the_features() -> None:
    model = small_models.model()
    model.scale_head[...] = jnp.ones((16, 2))
    model.value_head[...] = jnp.ones((16, 1))
    graph, trained, rest = nnx.split(model, surfaces.Backbone, ...)

    def objective(trained: nnx.State) -> jax.Array:
        prediction = nnx.merge(graph, trained, rest).sequence(*window(model))
        return jnp.sum(prediction.action_scale) + jnp.sum(prediction.value)

    moved = surfaces.named_arrays(jax.jit(jax.grad(objective))(trained))
    assert {path for path, x in moved.items() if np.any(x != 0)} == {
        *("scale_head", "scale_bias", "value_head", "value_bias")
    }


def test_scale_is_positive_and_value_within_one_for_any_head_weights() -> None:
    model = small_models.model()
    for sign in (-1, 1):
        model.scale_head[...] = jnp.full((16, 2), sign * 1e6)
        model.value_head[...] = jnp.full((16, 1), sign * 1e6)
        prediction = predict(model)
        assert np.all(
            (prediction.action_scale > 0) & np.isfinite(prediction.action_scale)
        )
        assert np.all(np.abs(prediction.value) <= 1)
        assert prediction.value.shape == (2, 12)


def test_before_training_the_scale_is_one_and_the_value_is_zero() -> None:
    prediction = predict(small_models.model())
    np.testing.assert_array_equal(prediction.action_scale, 1)
    np.testing.assert_array_equal(prediction.value, 0)
