"""Senses are those of the episodes; silent ones change nothing."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from model import errors, normalisation, places, senses, step_function, surfaces
from model.testing import small_models
from model.wavecore import WaveCore
from rlds.spec import FIELDS

small_models.shorten_programs()

N, K, HEIGHT, WIDTH, MEL = 6, 3, 16, 24, 5
BLIND = dataclasses.replace(small_models.SIZES, block_count=1)
SIZES = dataclasses.replace(
    BLIND,
    image_height=HEIGHT,
    image_width=WIDTH,
    image_colours=4,
    audio_size=MEL,
)


def frames(*shape: int, seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (*shape, HEIGHT, WIDTH, 3), np.uint8)


@jax.jit
def run(model: WaveCore, *given: Any, sensed: Mapping[str, np.ndarray]) -> jax.Array:
    """Actions of the sequence; compiled once for each set of senses."""
    return model.sequence(*given, sensed=sensed).action


def predict_actions(
    model: WaveCore, sensed: Mapping[str, np.ndarray], length: int = 4
) -> jax.Array:
    states = small_models.numbers(2, length, N)
    task = np.broadcast_to(np.eye(K, dtype=np.float32)[0], (2, length, K))
    carry = np.zeros((2, model.config.carry_size), np.float32)
    starts = np.zeros((2, length), bool)
    return run(model, states, task, starts, carry, sensed=sensed)


def test_names_of_the_senses_are_those_of_the_episode_fields() -> None:
    known = {f.name.removeprefix("observation/") for f in FIELDS}
    assert senses.shapes(SIZES) == {"image": (HEIGHT, WIDTH, 3), "audio_mel": (MEL,)}
    assert senses.shapes(SIZES).keys() < known
    encoded = senses.encoded_shapes(SIZES)
    assert encoded == {"places": (2 * SIZES.image_colours,), "audio_mel": (MEL,)}
    assert set(encoded) == set(small_models.model(SIZES).senses)


def test_frame_and_the_places_in_it_are_the_same_to_a_model() -> None:
    model = small_models.model(SIZES)
    some = frames(2, 4)
    found = places.find_recorded(some.reshape(8, HEIGHT, WIDTH, 3), 4, 1)
    np.testing.assert_allclose(
        predict_actions(model, {"places": found.reshape(2, 4, -1)}),
        predict_actions(model, {"image": some}),
        atol=1e-5,
    )


def test_robot_without_senses_has_neither_parameters_nor_inputs() -> None:
    assert senses.shapes(BLIND) == {}
    plain, sensing = (
        step_function.weights(small_models.model(s)) for s in (BLIND, SIZES)
    )
    more = sensing.keys() - plain.keys()
    assert all(name.startswith("backbone/senses/") for name in more)
    assert not any("senses" in name for name in plain)
    for name, array in plain.items():
        np.testing.assert_array_equal(array, sensing[name], err_msg=name)
    assert "observation_image" not in step_function.input_shapes(BLIND)
    inputs = step_function.input_shapes(SIZES)
    assert inputs["observation_image"] == (HEIGHT * WIDTH * 3,)
    assert inputs["observation_audio_mel"] == (MEL,)


def test_sense_that_is_silent_or_left_out_changes_nothing() -> None:
    model = small_models.model(SIZES)
    silent: dict[str, np.ndarray] = {
        "image": np.zeros((2, 4, HEIGHT, WIDTH, 3), np.uint8),
        "audio_mel": np.zeros((2, 4, MEL), np.float32),
    }
    alone = predict_actions(model, {})
    np.testing.assert_array_equal(alone, predict_actions(model, silent))
    sounding: dict[str, np.ndarray] = {
        "image": frames(2, 4),
        "audio_mel": small_models.numbers(2, 4, MEL),
    }
    for name, x in sounding.items():
        heard = predict_actions(model, silent | {name: x})
        assert not np.allclose(heard, alone, atol=1e-3)
        np.testing.assert_array_equal(heard, predict_actions(model, {name: x}))


def test_step_with_a_missing_frame_is_as_without_a_camera() -> None:
    model = small_models.model(SIZES)
    some = frames(2, 4)
    some[:, 0] = 0
    np.testing.assert_allclose(
        predict_actions(model, {"image": some})[:, 0],
        predict_actions(model, {})[:, 0],
        atol=1e-6,
    )


def test_frame_of_bytes_and_frame_of_floats_give_the_same_action() -> None:
    model = small_models.model(SIZES)
    some = frames(2, 4)
    np.testing.assert_array_equal(
        predict_actions(model, {"image": some}),
        predict_actions(model, {"image": some.astype(np.float32)}),
    )


def test_sequence_with_senses_equals_repeated_step() -> None:
    model = small_models.model(SIZES)
    sensed = {"image": frames(2, 4), "audio_mel": small_models.numbers(2, 4, MEL)}
    whole, step = predict_actions(model, sensed), jax.jit(model.step)
    states, carry = (
        small_models.numbers(2, 4, N),
        jnp.zeros((2, model.config.carry_size)),
    )
    task = np.broadcast_to(np.eye(K, dtype=np.float32)[0], (2, K))
    for t in range(4):
        now = {name: x[:, t] for name, x in sensed.items()}
        one = step(states[:, t], task, carry, sensed=now)
        carry = one.carry
        np.testing.assert_allclose(one.action, whole[:, t], atol=1e-5)


def test_each_camera_is_seen_by_itself_and_may_be_silent_alone() -> None:
    both = dataclasses.replace(SIZES, image_count=2)
    assert senses.shapes(both)["image"] == (HEIGHT, 2 * WIDTH, 3)
    model = small_models.model(both)
    left, right = frames(2, 4), frames(2, 4, seed=2)
    dark = np.zeros_like(left)

    def look(*parts: np.ndarray) -> np.ndarray:
        beside = np.concatenate(parts, axis=-2)
        found = senses.perceive(both, {"image": beside})["places"]
        return np.asarray(model.senses["places"](found, np.dtype(np.float32)))

    assert not look(dark, dark).any()
    one, other = look(left, dark), look(dark, right)
    assert one.any() and other.any()
    np.testing.assert_allclose(look(left, right), one + other, atol=1e-5)
    # A camera has columns of its own: which one sees a thing makes a difference.
    assert np.abs(look(right, left) - look(left, right)).max() > 1e-3


def test_sequence_of_two_cameras_equals_repeated_step() -> None:
    both = dataclasses.replace(SIZES, image_count=2)
    model = small_models.model(both)
    sensed = {
        "image": np.concatenate([frames(2, 4), frames(2, 4, seed=5)], axis=-2),
        "audio_mel": small_models.numbers(2, 4, MEL),
    }
    actions = predict_actions(model, sensed)
    states, carry = small_models.numbers(2, 4, N), np.zeros(model.config.carry_size)
    task = np.eye(K, dtype=np.float32)[0]
    for t in range(4):
        now = {name: values[0, t] for name, values in sensed.items()}
        found = model.step(states[0, t], task, carry.astype(np.float32), sensed=now)
        np.testing.assert_allclose(found.action, actions[0, t], atol=2e-5)
        carry = np.asarray(found.carry)


@pytest.mark.parametrize(
    ("sensed", "message"),
    [
        ({"image": frames(2, 4)[..., :20, :]}, r"sense image.*\(16, 24, 3\), got"),
        ({"audio_mel": np.ones((2, 4, 7), np.float32)}, r"sense audio_mel.*\(5,\)"),
        ({"smell": np.ones((2, 4, 7), np.float32)}, "sense smell.*image, audio_mel"),
    ],
)
def test_sense_of_another_robot_is_refused_by_name(
    sensed: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(errors.ShapeMismatchError, match=message):
        predict_actions(small_models.model(SIZES), sensed)


def test_sound_statistics_of_another_size_are_refused() -> None:
    given = dataclasses.replace(
        small_models.statistics(),
        audio_mean=np.zeros(3, np.float32),
        audio_deviation=np.ones(3, np.float32),
    )
    with pytest.raises(errors.ShapeMismatchError, match="statistics of the sound"):
        WaveCore(SIZES, given, np.random.default_rng(0))


def test_measured_sound_reaches_the_model_at_unit_size() -> None:
    sound = 40 + 7 * small_models.numbers(200, MEL)
    sound[::3] = 0
    measured = normalisation.measure([small_models.numbers(200, N)], [sound])
    heard = sound[np.any(sound != 0, axis=1)]
    assert measured.audio_mean is not None
    assert measured.audio_deviation is not None
    np.testing.assert_allclose(measured.audio_mean, heard.mean(0), rtol=1e-5)
    np.testing.assert_allclose(measured.audio_deviation, heard.std(0), rtol=1e-5)


def test_camera_learns_where_a_spot_is() -> None:
    """The action is the spot's column, which only the frame shows."""
    random = np.random.default_rng(0)
    column = random.integers(1, WIDTH - 1, 256)
    images = random.integers(0, 40, (256, HEIGHT, WIDTH, 3)).astype(np.uint8)
    for image, c in zip(images, column, strict=True):
        image[6:9, c - 1 : c + 2] = 255
    wanted = (column / WIDTH * 2 - 1).astype(np.float32)
    model = small_models.model(SIZES)
    graph, constant, trained, rest = nnx.split(
        model,
        surfaces.Normalisation,
        nnx.Any(surfaces.Backbone, surfaces.Head),
        ...,
    )

    def missed(trained: nnx.State, index: np.ndarray | jax.Array) -> jax.Array:
        core, count = nnx.merge(graph, constant, trained, rest), len(index)
        blind = [jnp.zeros((count, i)) for i in (N, K, model.config.carry_size)]
        action = core.step(*blind, sensed={"image": jnp.asarray(images)[index]}).action
        return jnp.mean(jnp.abs(action[:, 0] - jnp.asarray(wanted)[index]))

    optimizer = optax.adam(3e-3)

    @jax.jit
    def update(
        trained: nnx.State, moments: optax.OptState, index: jax.Array
    ) -> tuple[nnx.State, optax.OptState]:
        change, moments = optimizer.update(jax.grad(missed)(trained, index), moments)
        return optax.apply_updates(trained, change), moments

    moments, held_out = optimizer.init(trained), np.arange(192, 256)
    before = missed(trained, held_out)
    for _ in range(150):
        trained, moments = update(trained, moments, random.integers(0, 192, 32))
    assert missed(trained, held_out) < 0.3 * before
