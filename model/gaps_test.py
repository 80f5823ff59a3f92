"""While a sensor is not heard, the step sees what it expected; else nothing changes."""

from collections.abc import Callable, Mapping

import jax
import numpy as np
import pytest

from model import errors, gaps, step_function, surfaces
from model.testing import damped_point, small_models
from model.wavecore import WaveCore

Step = Callable[..., Mapping[str, np.ndarray]]
Episode = tuple[np.ndarray, np.ndarray]
small_models.shorten_programs()
SIZES = small_models.SIZES
N = SIZES.state_size
SILENT = np.arange(N) < 2
COUNTED = slice(SIZES.carry_size + 2 * N, SIZES.carry_size + 3 * N)
"""Where the carry counts the steps for which a sensor was silent."""
LATE = 6
"""Step from which on the sensors of `SILENT` are not heard."""


@pytest.fixture(scope="module")
def model() -> WaveCore:
    return damped_point.train_model()


@pytest.fixture(scope="module")
def step(model: WaveCore) -> Step:
    return jax.jit(step_function.make(model))


def silenced(model: WaveCore) -> Mapping[str, np.ndarray]:
    """The surfaces of a model whose calibration says which sensors fall silent."""
    template = step_function.split(model)[2]["calibration"]
    arrays = dict(surfaces.named_arrays(template))
    arrays["gaps/silent"] = gaps.SAID_SILENT * SILENT.astype(np.float32)
    changed = surfaces.flatten(surfaces.with_arrays(template, arrays))
    return {
        **step_function.initial_surfaces(model),
        "surface_calibration": np.asarray(changed),
    }


def run(
    step: Step, fixed: Mapping[str, np.ndarray], states: np.ndarray, task: np.ndarray
) -> Mapping[str, np.ndarray]:
    """Outputs of every step of an episode."""
    carry, found = np.zeros(SIZES.step_carry_size, np.float32), []
    for state in states:
        outputs = step(observation_state=state, task=task, carry=carry, **fixed)
        carry = outputs["next_carry"]
        found.append(outputs)
    return {name: np.stack([one[name] for one in found]) for name in found[0]}


@pytest.fixture(scope="module")
def episode() -> Episode:
    states, _, tasks = damped_point.drive(1, 24, seed=5)
    return states[0, :-1], tasks[0, 0]


def unheard(states: np.ndarray) -> np.ndarray:
    kept = states.copy()
    kept[LATE:, SILENT] = states[LATE - 1, SILENT]
    return kept


def test_robot_that_is_heard_is_driven_to_the_bit_as_without_a_delta(
    model: WaveCore, step: Step, episode: Episode
) -> None:
    states, task = episode
    plain = run(step, step_function.initial_surfaces(model), states, task)
    told = run(step, silenced(model), states, task)
    for name in plain:
        np.testing.assert_array_equal(told[name], plain[name])


def test_gap_changes_nothing_where_no_delta_says_that_the_sensor_falls_silent(
    model: WaveCore, step: Step, episode: Episode
) -> None:
    states, task = episode
    kept = unheard(states)
    carry = np.zeros((1, SIZES.carry_size), np.float32)
    tasks = np.repeat(task[None, None], len(kept), axis=1)
    starts = np.zeros((1, len(kept)), bool)
    expected = model.sequence(kept[None], tasks, starts, carry)
    found = run(step, step_function.initial_surfaces(model), kept, task)
    np.testing.assert_allclose(found["action"], expected.action[0], atol=1e-5)


def test_expectation_stands_in_for_what_is_not_heard(
    model: WaveCore, step: Step, episode: Episode
) -> None:
    states, task = episode
    right = run(step, silenced(model), states, task)["action"]
    held = run(step, step_function.initial_surfaces(model), unheard(states), task)
    filled = run(step, silenced(model), unheard(states), task)
    np.testing.assert_array_equal(filled["action"][:LATE], right[:LATE])
    away = np.abs(held["action"] - right)[LATE:].mean()
    near = np.abs(filled["action"] - right)[LATE:].mean()
    assert near < 0.3 * away
    # The other sensors are heard, and what is expected of a gap follows the arm.
    missed = np.abs(filled["next_observation"][:-1] - states[1:])[LATE:, :2].mean()
    stale = np.abs(unheard(states)[:-1] - states[1:])[LATE:, :2].mean()
    assert missed < 0.3 * stale


def test_sensor_that_is_heard_again_counts_at_once(
    model: WaveCore, step: Step, episode: Episode
) -> None:
    states, task = episode
    kept = unheard(states)
    kept[LATE + 4 :] = states[LATE + 4 :]
    carry = run(step, silenced(model), kept[: LATE + 5], task)["next_carry"][-1]
    last, expected, steps = np.split(carry[SIZES.carry_size :][: 3 * N], 3)
    np.testing.assert_array_equal(last, states[LATE + 4])
    assert not np.any(steps)
    assert np.abs(expected[SILENT] - states[LATE + 5, SILENT]).max() < 0.1


def test_sensors_that_fall_silent_in_turns_are_each_assumed_for_as_long(
    step: Step, model: WaveCore, episode: Episode
) -> None:
    _, task = episode
    states = np.full((gaps.LONGEST_STEPS + 20, N), 0.5, np.float32)
    states[::2, 0], states[1::2, 1] = 0.4, 0.6
    states[:, 0] += np.arange(len(states)) // 2 % 2 * np.float32(0.01)
    states[:, 1] += (np.arange(len(states)) + 1) // 2 % 2 * np.float32(0.01)
    found = run(step, silenced(model), states, task)
    counted = found["next_carry"][:, COUNTED][:, SILENT]
    assert counted.max() <= 1, "neither is ever silent for two steps"


def test_guess_ends_where_a_sensor_stays_silent(
    model: WaveCore, step: Step, episode: Episode
) -> None:
    _, task = episode
    still = np.full((gaps.LONGEST_STEPS + 3, N), 0.5, np.float32)
    found = run(step, silenced(model), still, task)
    counted = found["next_carry"][:, COUNTED]
    np.testing.assert_array_equal(counted, np.arange(len(still))[:, None] * SILENT)
    before = found["next_carry"][-2][: SIZES.carry_size]
    raw = model.step(still[-1], task, before)
    np.testing.assert_allclose(found["action"][-1], raw.action, atol=1e-6)
    guessed = model.step(still[-3], task, found["next_carry"][-4][: SIZES.carry_size])
    assert np.abs(found["action"][-3] - guessed.action).max() > 1e-3


def test_infinite_reading_is_not_remembered(
    model: WaveCore, step: Step, episode: Episode
) -> None:
    states, task = episode
    broken = states.copy()
    broken[3, 1], broken[5, 2] = np.inf, -np.inf
    found = run(step, silenced(model), broken, task)
    assert np.isfinite(found["action"]).all()
    assert np.isfinite(found["next_carry"]).all()


def test_carry_of_another_size_is_refused(
    step: Step, model: WaveCore, episode: Episode
) -> None:
    states, task = episode
    carry = np.zeros(SIZES.carry_size, np.float32)
    with pytest.raises(errors.ShapeMismatchError, match="carry"):
        step(
            observation_state=states[0],
            task=task,
            carry=carry,
            **step_function.initial_surfaces(model),
        )
