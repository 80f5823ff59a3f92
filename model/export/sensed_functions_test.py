"""Functions of a model with camera and sound take both, and read them."""

import dataclasses
from collections.abc import Callable, Container

import jax
import numpy as np
import pytest

from model import senses, step_function
from model.export import agreement, functions, stablehlo, targets
from model.export.agreement import Engine
from model.testing import small_models
from model.testing.episodes import TASKS, episode, shorten_replay
from model.wavecore import WaveCore

small_models.shorten_programs()

SIZES = dataclasses.replace(
    small_models.SIZES, image_height=16, image_width=16, image_colours=2, audio_size=5
)
RECORDED = episode(audio_size=5, image=True)
DATA = {
    "fast_update": "window",
    "consolidate_begin": "memories",
    "consolidate_step": "memories",
    "evaluate": "episodes",
}


@pytest.fixture(scope="module")
def model() -> WaveCore:
    return small_models.random_model(SIZES)


def test_functions_take_frames_as_bytes(model: WaveCore) -> None:
    learning = functions.learning(model)
    for name, data in DATA.items():
        taken = learning[name].inputs[data]
        assert taken["image"].dtype == np.uint8
        *axes, _ = taken["states"].shape
        steps = (*axes[:-1], axes[-1] - 1)
        assert taken["image"].shape == (*steps, 16, 16, 3)
        assert taken["audio_mel"].shape == (*steps, 5)


def test_file_of_a_sensing_model_agrees_on_episodes_with_frames(
    model: WaveCore,
) -> None:
    function = functions.learning(model)["evaluate"]
    given = agreement.arguments(model, function, TASKS, [RECORDED])
    content = stablehlo.encode(function, ("cpu",))
    assert agreement.compare_function(function, content, given).error <= 1e-5


def test_functions_of_a_model_without_senses_have_no_sense_inputs() -> None:
    learning = functions.learning(small_models.model())
    for name, data in DATA.items():
        assert not learning[name].inputs[data].keys() & {"image", "audio_mel"}


@pytest.mark.parametrize(
    "name", ["evaluate", pytest.param("fast_update", marks=pytest.mark.long)]
)
def test_frames_and_sound_change_the_result(model: WaveCore, name: str) -> None:
    function, data = functions.learning(model)[name], DATA[name]
    given = agreement.arguments(model, function, TASKS, [RECORDED])
    assert all(given[data][sense].any() for sense in senses.shapes(SIZES))
    run = jax.jit(function.run)
    output = {"fast_update": "loss_before", "evaluate": "action_error"}[name]
    whole = np.max(run(**given)[output])
    for sense in senses.shapes(SIZES):
        silent = {**given[data], sense: np.zeros_like(given[data][sense])}
        without = np.max(run(**{**given, data: silent})[output])
        assert abs(whole - without) > 1e-4, sense


def test_replayed_frames_decide_what_is_learned(model: WaveCore) -> None:
    with shorten_replay():
        learning = functions.learning(model)
    begun = learning["consolidate_begin"]
    given = agreement.arguments(model, begun, TASKS, [RECORDED])
    given["deltas"] = {n: np.zeros_like(x) for n, x in given["deltas"].items()}
    given["last_good"] = given["deltas"]
    state = jax.jit(begun.run)(**given)["state"]
    weights, seen = step_function.weights(model), given["memories"]
    dark = {**seen, "image": 255 - seen["image"]}
    gradients = []
    for memories in (seen, dark):
        step = jax.jit(learning["consolidate_step"].run)
        taken = {"memories": memories, "state": state, "calls": np.int32(2)}
        moved = step(weights=weights, **taken)["state"]
        assert np.any(moved["deltas"]["calibration"])
        gradients.append(moved["mean"])
    # The length of a step does not depend on its gradient, so the first ones are alike.
    difference = np.linalg.norm(gradients[0] - gradients[1])
    assert difference > 1e-2 * np.linalg.norm(gradients[0])


LITERT_SIZES = dataclasses.replace(
    small_models.SIZES,
    block_count=1,
    image_height=16,
    image_width=24,
    image_colours=4,
    audio_size=5,
)

Steps = tuple[WaveCore, Callable[..., dict[str, jax.Array]], Engine]


@pytest.fixture(scope="module")
def steps() -> Steps:
    """The model's step and the converted one, as functions of the same inputs."""
    model = small_models.model(LITERT_SIZES)
    control = targets.TARGETS["pi5-cpu"].control(model, True)
    assert control.fast_update is None  # no control process reads frames or sound
    converted = control.steps["f32"]
    engine = converted.load(converted.content)
    return model, jax.jit(step_function.make(model)), engine


def litert_inputs(
    model: WaveCore, *, silent: Container[str] = ()
) -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    given = {
        "observation_state": small_models.numbers(LITERT_SIZES.state_size),
        "task": np.eye(LITERT_SIZES.task_count, dtype=np.float32)[1],
        "carry": small_models.numbers(LITERT_SIZES.step_carry_size),
        "observation_image": random.integers(0, 256, 16 * 24 * 3).astype(np.float32),
        "observation_audio_mel": small_models.numbers(LITERT_SIZES.audio_size),
        **step_function.initial_surfaces(model),
    }
    return {
        name: np.zeros_like(x) if name.removeprefix("observation_") in silent else x
        for name, x in given.items()
    }


@pytest.mark.parametrize("silent", [(), ("image",), ("image", "audio_mel")])
def test_converted_step_agrees_with_the_model(
    steps: Steps, silent: tuple[str, ...]
) -> None:
    model, ours, theirs = steps
    given = litert_inputs(model, silent=silent)
    wanted, got = ours(**given), theirs(given)
    assert wanted.keys() == got.keys()
    for name, x in got.items():
        np.testing.assert_allclose(x, wanted[name], atol=1e-5, rtol=1e-5, err_msg=name)


def test_every_sense_is_an_input_that_matters(steps: Steps) -> None:
    model, _, theirs = steps
    whole = theirs(litert_inputs(model))["action"].copy()
    for name in senses.shapes(LITERT_SIZES):
        without = theirs(litert_inputs(model, silent=(name,)))["action"]
        assert not np.allclose(whole, without, atol=1e-3), name
