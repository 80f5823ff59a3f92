"""Sensors are turned back as a delta, where rest tells two robots apart, or as a view.

The delta is tested with a model that knows where it rests, the view with one that was
calibrated for other sensors.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from model import config, step_function, surfaces
from model.learn import body, memories, turned_sensors
from model.learn.memories import KNOWN, SEEN, Memories
from model.testing import small_models
from model.testing.remembered import Remembered, fill
from model.wavecore import WaveCore

small_models.shorten_programs()
SIZES = config.tiny(state_size=4, action_size=2, task_count=2)
HOME = np.array([[0.2, -0.1, 0, 1], [-0.4, -0.1, 0, 1]], np.float32)
"""Where the arm begins each of two tasks."""
SHIFT = np.array([0.3, 0, 0, -0.2], np.float32)


def make_model(stands: np.ndarray) -> WaveCore:
    statistics = dataclasses.replace(small_models.statistics(4), rest=stands)
    return WaveCore(SIZES, statistics, np.random.default_rng(0))


@pytest.fixture(scope="module")
def model() -> WaveCore:
    return make_model(HOME)


def record(number: int, kind: int, shift: np.ndarray) -> Remembered:
    random = np.random.default_rng(number)
    home = HOME[number % 2] + shift
    states = np.cumsum(random.normal(0, 0.3, (12, 4)), axis=0) + home
    states[0] = home
    commands = random.uniform(-1, 1, (11, 2))
    states, commands = states.astype(np.float32), commands.astype(np.float32)
    return Remembered(states, commands, None, number % 2, kind)


def remember(shift: np.ndarray, now: int = 4) -> Memories:
    known = [record(i, KNOWN, 0 * shift) for i in range(6)]
    seen = [record(50 + i, SEEN, shift) for i in range(now)]
    return fill(SIZES, known + seen, 12, 12)


@jax.jit
def find_calibration(
    model: WaveCore, weights: Mapping[str, jax.Array], remembered: Memories
) -> jax.Array:
    """The delta, in one program for all tests: models and memories have one shape."""
    rest = body.compare_rest(remembered)
    return turned_sensors.find_calibration(model, weights, remembered, rest)


def find(model: WaveCore, remembered: Memories) -> np.ndarray:
    weights = step_function.weights(model)
    return np.asarray(find_calibration(model, weights, remembered))


step = jax.jit(WaveCore.step)


def read_moved(model: WaveCore, delta: np.ndarray) -> np.ndarray:
    template = step_function.split(model)[2]["calibration"]
    arrays = surfaces.named_arrays(surfaces.unflatten(delta, template))
    return np.asarray(arrays[turned_sensors.MOVED])


def test_delta_lets_the_changed_robot_see_what_the_known_one_sees(
    model: WaveCore,
) -> None:
    found = find(model, remember(SHIFT))
    np.testing.assert_allclose(
        read_moved(model, found) * np.asarray(model.deviation[...]), SHIFT, atol=1e-5
    )
    weights = step_function.weights(model)
    adapted = step_function.with_deltas(model, weights, {"calibration": found})
    task = np.eye(2, dtype=np.float32)[1]
    carries = [np.zeros(SIZES.carry_size, np.float32)] * 3
    for state in record(9, KNOWN, 0 * SHIFT).states:
        expected, on_known, on_changed = (
            step(core, state + shift, task, carry)
            for core, shift, carry in zip(
                (model, adapted, adapted),
                (0 * SHIFT, 0 * SHIFT, SHIFT),
                carries,
                strict=True,
            )
        )
        np.testing.assert_array_equal(on_known.action, expected.action)
        np.testing.assert_allclose(on_changed.action, expected.action, atol=1e-5)
        carries = [x.carry for x in (expected, on_known, on_changed)]


def test_robot_that_never_rested_as_in_training_is_not_turned_back() -> None:
    """Half of the way, or more, to where its sensors stand now."""
    for share in (0.5, 1.0):
        other = make_model((HOME - share * SHIFT).astype(np.float32))
        assert not np.any(find(other, remember(SHIFT)))


def test_no_shift_and_too_few_episodes_give_no_delta(model: WaveCore) -> None:
    assert not np.any(find(model, remember(0 * SHIFT)))
    assert not np.any(find(model, remember(SHIFT, now=1)))


def test_of_a_calibration_the_array_that_is_asked_for_is_kept(model: WaveCore) -> None:
    full = small_models.numbers(find(model, remember(0 * SHIFT)).size)
    kept = np.asarray(turned_sensors.keep(model, full, turned_sensors.MOVED))
    np.testing.assert_array_equal(read_moved(model, kept), read_moved(model, full))
    assert np.count_nonzero(kept) == SIZES.state_size
    other = np.asarray(turned_sensors.keep(model, full, turned_sensors.SILENT))
    assert np.count_nonzero(other) == SIZES.state_size
    assert not np.any(read_moved(model, other))


STATES = small_models.SIZES.state_size


def calibrated(
    scale: np.ndarray, bias: np.ndarray | np.float32, action_bias: np.float32
) -> WaveCore:
    """The test model with the given calibration."""
    model = small_models.model()
    model.input_scale[...] = scale
    model.input_bias[...] = bias
    model.action_bias[...] = action_bias
    return model


def project(recorded: WaveCore, viewed: WaveCore) -> memories.View:
    plain = memories.as_recorded(small_models.SIZES, KNOWN)
    return turned_sensors.project(plain, recorded, viewed)


@pytest.fixture(scope="module")
def models() -> tuple[WaveCore, WaveCore]:
    scale = 1 + 0.2 * small_models.numbers(STATES, seed=1)
    bias = 0.3 * small_models.numbers(STATES, seed=2)
    return small_models.model(), calibrated(scale, bias, np.float32(0.25))


def test_changed_model_gives_the_projected_action_for_the_projected_state(
    models: tuple[WaveCore, WaveCore],
) -> None:
    known, changed = models
    # In the middle of the range, because the encoder clips values far out.
    states = known.mean[...] + 0.3 * small_models.numbers(7, STATES, seed=3)
    task = np.eye(small_models.SIZES.task_count, dtype=np.float32)[np.zeros(7, int)]
    carry = np.zeros((7, small_models.SIZES.carry_size), np.float32)
    right = known.step(states, task, carry).action
    view = project(known, changed)
    seen, asked = states * view.scale + view.shift, right + view.action_shift
    assert np.abs(seen - states).max() > 0.1
    np.testing.assert_allclose(changed.step(seen, task, carry).action, asked, atol=1e-5)


def test_view_of_an_unchanged_robot_changes_nothing(
    models: tuple[WaveCore, WaveCore],
) -> None:
    known, _ = models
    view = project(known, known)
    np.testing.assert_allclose(view.scale, 1, rtol=1e-6)
    np.testing.assert_allclose(view.shift, 0, atol=1e-6)
    np.testing.assert_array_equal(view.action_shift, 0)


def test_there_and_back_is_where_it_began(models: tuple[WaveCore, WaveCore]) -> None:
    known, changed = models
    states = small_models.numbers(5, STATES, seed=3)
    there, back = project(known, changed), project(changed, known)
    seen = (states * there.scale + there.shift) * back.scale + back.shift
    np.testing.assert_allclose(seen, states, atol=1e-5)


def test_scale_of_a_sensor_without_signal_is_not_divided_by(
    models: tuple[WaveCore, WaveCore],
) -> None:
    known, _ = models
    silent = calibrated(np.zeros(STATES, np.float32), np.float32(0), np.float32(0))
    view = project(known, silent)
    assert jnp.isfinite(view.scale).all() and jnp.isfinite(view.shift).all()
    assert np.abs(view.scale).max() <= 1 / turned_sensors.SMALLEST_SCALE + 1e-3
