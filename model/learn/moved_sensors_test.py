"""Moved sensors become a delta where rest tells two robots apart, and only there."""

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np
import pytest

from model import config, step_function, surfaces
from model.learn import body, moved_sensors
from model.learn.memories import KNOWN, SEEN, Memories
from model.testing import small_models
from model.testing.remembered import Remembered, fill
from model.wavecore import WaveCore

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
    model: WaveCore, weights: Mapping[str, jax.Array], memories: Memories
) -> jax.Array:
    """The delta, in one program for all tests: models and memories have one shape."""
    rest = body.compare_rest(memories)
    return moved_sensors.find_calibration(model, weights, memories, rest)


def find(model: WaveCore, memories: Memories) -> np.ndarray:
    weights = step_function.weights(model)
    return np.asarray(find_calibration(model, weights, memories))


step = jax.jit(WaveCore.step)


def read_moved(model: WaveCore, delta: np.ndarray) -> np.ndarray:
    template = step_function.split(model)[2]["calibration"]
    arrays = surfaces.named_arrays(surfaces.unflatten(delta, template))
    return np.asarray(arrays[moved_sensors.MOVED])


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
    carries = [np.asarray(weights["carry"])] * 3
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


def test_nothing_but_the_moved_sensors_is_kept(model: WaveCore) -> None:
    full = small_models.numbers(find(model, remember(0 * SHIFT)).size)
    kept = np.asarray(moved_sensors.keep_alone(model, full))
    np.testing.assert_array_equal(read_moved(model, kept), read_moved(model, full))
    assert np.count_nonzero(kept) == SIZES.state_size
