"""Every error of an exported step is found, in whichever output it is."""

import dataclasses

import jax
import numpy as np
import pytest

from model import senses, step_function
from model.export import agreement
from model.export.agreement import Engine, Vectors
from model.testing import small_models
from model.testing.episodes import TASKS, episode
from model.wavecore import WaveCore

small_models.shorten_programs()


@pytest.fixture(scope="module")
def model() -> WaveCore:
    return small_models.random_model()


@pytest.fixture(scope="module")
def engine(model: WaveCore) -> Engine:
    step = jax.jit(step_function.make(model))
    return lambda inputs: {n: np.asarray(x) for n, x in step(**inputs).items()}


def test_the_model_itself_has_no_error_and_the_canary_error_of_its_actions(
    model: WaveCore, engine: Engine
) -> None:
    found = agreement.measure_step(model, TASKS, engine, [episode()])
    assert (found.step_error, found.free_action_error) == (0.0, 0.0)
    recorded = episode().steps["proposed_action"]
    assert 0.1 < found.canary_action_error < np.abs(recorded).max() + 3


@pytest.mark.parametrize("name", ["action", "value", "next_carry"])
def test_error_of_one_number_of_one_output_is_found(
    model: WaveCore, engine: Engine, name: str
) -> None:
    def wrong(inputs: Vectors) -> Vectors:
        outputs = dict(engine(inputs))
        outputs[name] = outputs[name] + np.eye(1, outputs[name].size)[0] * 0.01
        return outputs

    found = agreement.measure_step(model, TASKS, wrong, [episode()])
    np.testing.assert_allclose(found.step_error, 0.01, rtol=1e-3)
    if name == "next_carry":
        assert found.step_action_error == 0.0
        assert found.free_action_error > 0.0


def test_step_that_returns_nan_has_an_error_that_no_bound_accepts(
    model: WaveCore, engine: Engine
) -> None:
    def broken(inputs: Vectors) -> Vectors:
        outputs = engine(inputs)
        return {**outputs, "action": outputs["action"] * np.nan}

    found = agreement.measure_step(model, TASKS, broken, [episode()])
    assert not found.step_action_error <= 1e9
    assert not found.free_action_error <= 1e9


def test_recorded_sound_reaches_the_step_and_a_missing_sense_is_silent() -> None:
    sizes = dataclasses.replace(
        small_models.SIZES, image_height=16, image_width=16, audio_size=5
    )
    recorded = episode(audio_size=5)
    first = next(agreement.step_inputs(sizes, TASKS, recorded))
    sound = recorded.steps["observation/audio_mel"][0]
    np.testing.assert_array_equal(first["observation_audio_mel"], sound)
    assert not first["observation_image"].any()
    assert first["observation_image"].size == np.prod(senses.shapes(sizes)["image"])
