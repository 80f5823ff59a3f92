"""Init and evaluation mean what their docstrings say."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from model import step_function, surfaces
from model.export import agreement, functions
from model.testing import small_models
from model.testing.episodes import TASKS, episode
from model.wavecore import WaveCore

small_models.shorten_programs()

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


def without_arm(model: WaveCore, calibration: np.ndarray) -> np.ndarray:
    """A calibration [s] that says nothing of the arm."""
    template = step_function.split(model)[2]["calibration"]
    arrays = {
        path: np.where(path.startswith("drives/"), 0.0, x)
        for path, x in surfaces.named_arrays(
            surfaces.unflatten(calibration, template)
        ).items()
    }
    return np.asarray(surfaces.flatten(surfaces.with_arrays(template, arrays)))


def test_init_begins_without_memory_and_without_deltas(model: WaveCore) -> None:
    begun = functions.learning(model)["init"].run()
    assert begun["carry"].shape == (model.config.step_carry_size,)
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
    recorded, core = episode(length=9), jax.jit(step_function.make(model))
    fixed = step_function.initial_surfaces(model)
    # Only the step turns an arm back; the calibration begins without one.
    fixed["surface_calibration"] = without_arm(model, fixed["surface_calibration"])
    carry = np.zeros(model.config.step_carry_size, np.float32)
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
    # The last step has no next state, so an episode of nine steps gives eight.
    np.testing.assert_allclose(
        found["action_error"][0], np.mean(missed[:-1]), rtol=1e-5
    )
    np.testing.assert_allclose(
        found["next_observation_error"][0], np.mean(surprise), rtol=1e-5
    )


def test_step_and_evaluation_speak_in_the_units_of_the_robot(
    model: WaveCore, evaluate: Evaluation
) -> None:
    run, given = evaluate
    reach = np.asarray(model.action_reach[...])
    assert (reach > 1).all()
    plain = step_function.with_weights(
        model,
        {
            **step_function.weights(model),
            step_function.ACTION_REACH: np.ones_like(reach),
        },
    )
    states = episode(length=9).steps["observation/state"]
    task = np.eye(3, dtype=np.float32)[1]
    carry = np.zeros(model.config.step_carry_size, np.float32)
    for name in ("action", "action_scale"):
        mine, unit = (
            step_function.make(core)(
                observation_state=states[0],
                task=task,
                carry=carry,
                **step_function.initial_surfaces(core),
            )[name]
            for core in (model, plain)
        )
        np.testing.assert_array_equal(mine, unit * reach)
    # What is asked for in units of the robot is missed by as much in both.
    asked = {**given["episodes"], "actions": given["episodes"]["actions"] * 0}
    error = run(**{**given, "episodes": asked})["action_error"]
    weights = {**given["weights"], step_function.ACTION_REACH: 2 * reach}
    twice = run(**{**given, "weights": weights, "episodes": asked})["action_error"]
    np.testing.assert_allclose(twice, 2 * error, rtol=1e-6)


def test_evaluation_uses_the_given_deltas(evaluate: Evaluation) -> None:
    run, given = evaluate
    # So large that it shows in whatever small model the fixture has drawn.
    head = np.full_like(given["deltas"]["head"], 1.0)
    changed = run(**{**given, "deltas": {**given["deltas"], "head": head}})
    difference = changed["action_error"] - run(**given)["action_error"]
    assert np.abs(difference).min() > 1e-3


def test_evaluation_asks_only_for_the_actions_that_are_to_be_imitated(
    evaluate: Evaluation,
) -> None:
    run, given = evaluate
    whole, episodes = run(**given), dict(given["episodes"])
    row = np.zeros_like(episodes["imitate"])
    row[:, 2:5] = 1.0
    errors = []
    for weights in (row, episodes["imitate"] - row, np.zeros_like(row)):
        found = run(**{**given, "episodes": {**episodes, "imitate": weights}})
        errors.append(np.asarray(found["action_error"])[0])
        # What followed an action is true whoever acted.
        np.testing.assert_array_equal(
            found["next_observation_error"], whole["next_observation_error"]
        )
    taught, driven, nothing = errors
    np.testing.assert_allclose(
        (3 * taught + 5 * driven) / 8, whole["action_error"][0], rtol=1e-5
    )
    assert taught != driven
    assert nothing == 0


def test_delta_that_is_not_finite_shows_in_the_error(evaluate: Evaluation) -> None:
    run, given = evaluate
    head = np.full_like(given["deltas"]["head"], np.nan)
    changed = run(**{**given, "deltas": {**given["deltas"], "head": head}})
    assert np.isnan(changed["action_error"]).all()


def test_every_loop_calls_functions_whose_inputs_are_known_by_then(
    model: WaveCore,
) -> None:
    made = functions.learning(model)
    begun = {"weights", "deltas", "last_good", "memories", "window"}
    scalars = {"consolidations", "seed", "calls", "index"}
    for loop in functions.plan().values():
        known = begun | scalars
        for entry in loop:
            function = made[str(entry["function"])]
            assert set(function.inputs) <= known
            known |= jax.eval_shape(function.run, **function.inputs).keys()
        assert "deltas" in known


def test_state_keeps_its_shapes_from_call_to_call(model: WaveCore) -> None:
    made = functions.learning(model)
    shapes = {
        name: jax.eval_shape(f.run, **f.inputs).get("state") for name, f in made.items()
    }
    states = {
        n: jax.tree.map(lambda x: (x.shape, x.dtype), x) for n, x in shapes.items() if x
    }
    begun = states.pop("consolidate_begin")
    assert len(states) == 5
    for name, state in states.items():
        assert state == begun, name


def test_memories_of_frames_leave_room_for_fewer_episodes() -> None:
    blind = functions.memory_shapes(small_models.SIZES)
    assert len(blind["length"].shape) == 1
    assert blind["length"].shape[0] == functions.MOST_EPISODES
    seeing = dataclasses.replace(
        small_models.SIZES, image_height=48, image_width=64, image_colours=2
    )
    kept = functions.memory_shapes(seeing)
    size = sum(x.size * x.dtype.itemsize for x in kept.values())
    assert functions.MEMORY_BYTES / 2 < size <= functions.MEMORY_BYTES
