"""Init and evaluation mean what their docstrings say."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from model import step_function
from model.export import agreement, functions
from model.testing import small_models
from model.testing.episodes import TASKS, episode, shorten_replay
from model.wavecore import WaveCore

Evaluation = tuple[Callable[..., dict[str, jax.Array]], dict[str, Any]]


@pytest.fixture(scope="module")
def model() -> WaveCore:
    return small_models.random_model()


@pytest.fixture(scope="module")
def evaluate(model: WaveCore) -> Evaluation:
    """The evaluation, compiled once, and arguments from one short episode."""
    function = functions.learning(model)["evaluate"]
    given = agreement.arguments(model, function, TASKS, [episode(length=9)])
    given["deltas"] = {n: np.zeros_like(x) for n, x in given["deltas"].items()}
    return jax.jit(function.run), given


def test_init_begins_without_memory_and_without_deltas(model: WaveCore) -> None:
    begun = functions.learning(model)["init"].run()
    assert begun["carry"].shape == (model.config.carry_size,)
    names = {step_function.SURFACE_PREFIX + name for name in begun["deltas"]}
    assert names == step_function.initial_surfaces(model).keys()
    for name, delta in begun["deltas"].items():
        wanted = step_function.initial_surfaces(model)[f"surface_{name}"].shape
        assert delta.shape == wanted
        assert not np.any(delta)


def test_evaluation_is_the_error_of_the_steps_of_an_episode(
    model: WaveCore, evaluate: Evaluation
) -> None:
    run, given = evaluate
    recorded, core = episode(length=9), step_function.make(model)
    fixed, carry = step_function.initial_surfaces(model), np.zeros(32, np.float32)
    task = np.eye(3, dtype=np.float32)[1]
    states, missed, surprise = recorded.steps["observation/state"], [], []
    for t, state in enumerate(states):
        prediction = core(observation_state=state, task=task, carry=carry, **fixed)
        carry = prediction["next_carry"]
        missed.append(
            np.abs(prediction["action"] - recorded.steps["proposed_action"][t])
        )
        if t + 1 < len(states):
            change = (prediction["next_observation"] - states[t + 1]) / model.change[
                ...
            ]
            surprise.append(np.minimum(np.abs(change), 10.0))
    found = run(**given)
    np.testing.assert_allclose(found["action_error"], np.mean(missed), rtol=1e-5)
    np.testing.assert_allclose(
        found["next_observation_error"], np.mean(surprise), rtol=1e-5
    )


def test_evaluation_uses_the_given_deltas(evaluate: Evaluation) -> None:
    run, given = evaluate
    head = np.full_like(given["deltas"]["head"], 0.1)
    changed = run(**{**given, "deltas": {**given["deltas"], "head": head}})
    assert abs(changed["action_error"] - run(**given)["action_error"]) > 1e-3


def test_delta_that_is_not_finite_shows_in_the_error(evaluate: Evaluation) -> None:
    run, given = evaluate
    head = np.full_like(given["deltas"]["head"], np.nan)
    changed = run(**{**given, "deltas": {**given["deltas"], "head": head}})
    assert np.isnan(changed["action_error"])


def test_imagine_projects_memories_by_the_calibration_in_the_deltas(
    model: WaveCore,
) -> None:
    function = functions.learning(model)["imagine"]
    given = agreement.arguments(model, function, TASKS, [episode(length=9)])
    nothing = {n: np.zeros_like(x) for n, x in given["deltas"].items()}
    same = function.run(**{**given, "deltas": nothing})
    np.testing.assert_allclose(same["states"], given["memories"]["states"], atol=1e-5)
    np.testing.assert_array_equal(same["actions"], given["memories"]["actions"])
    # The action bias is the first of the arrays of the calibration.
    moved = {**nothing, "calibration": nothing["calibration"].copy()}
    moved["calibration"][0] = 0.25
    asked = function.run(**{**given, "deltas": moved})
    difference = asked["actions"] - given["memories"]["actions"]
    np.testing.assert_allclose(difference[..., 0], 0.25, atol=1e-6)
    np.testing.assert_array_equal(difference[..., 1:], 0)
    np.testing.assert_array_equal(asked["states"], same["states"])


def test_calibrate_update_changes_only_the_calibration(model: WaveCore) -> None:
    with shorten_replay():
        function = functions.learning(model)["calibrate_update"]
    given = agreement.arguments(model, function, TASKS, [episode(length=9)])
    given["deltas"] = {n: np.zeros_like(x) for n, x in given["deltas"].items()}
    found = jax.jit(function.run)(**given)
    assert set(found["deltas"]) == {"calibration"}
    assert np.any(found["deltas"]["calibration"])
    assert found["loss_after"] < found["loss_before"]
