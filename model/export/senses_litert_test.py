"""A step with a camera and sound converts to LiteRT's own operators and agrees."""

import dataclasses

import jax
import numpy as np
import pytest

from model import senses, step_function
from model.export import litert_step
from model.testing import small_models

SIZES = dataclasses.replace(
    small_models.SIZES, image_height=16, image_width=24, image_channels=4, audio_size=5
)


@pytest.fixture(scope="module")
def steps():
    """The model's step and the converted one, as functions of the same inputs."""
    model = small_models.model(SIZES)
    converted = litert_step.load(litert_step.convert(model)["f32"])
    return model, jax.jit(step_function.make(model)), converted


def inputs(model, *, silent=()):
    random = np.random.default_rng(3)
    given = {
        "observation_state": small_models.numbers(SIZES.state_size),
        "task": np.eye(SIZES.task_count, dtype=np.float32)[1],
        "carry": small_models.numbers(SIZES.carry_size),
        "observation_image": random.integers(0, 256, 16 * 24 * 3).astype(np.float32),
        "observation_audio_mel": small_models.numbers(SIZES.audio_size),
        **step_function.initial_surfaces(model),
    }
    return {
        name: np.zeros_like(x) if name.removeprefix("observation_") in silent else x
        for name, x in given.items()
    }


@pytest.mark.parametrize("silent", [(), ("image",), ("image", "audio_mel")])
def test_converted_step_agrees_with_the_model(
    steps, silent: tuple[object, ...] | tuple[str, ...]
) -> None:
    model, ours, theirs = steps
    given = inputs(model, silent=silent)
    wanted, got = ours(**given), theirs(given)
    assert wanted.keys() == got.keys()
    for name, x in got.items():
        np.testing.assert_allclose(x, wanted[name], atol=1e-5, rtol=1e-5, err_msg=name)


def test_every_sense_is_an_input_that_matters(steps) -> None:
    model, _, theirs = steps
    whole = theirs(inputs(model))["action"].copy()
    for name in senses.shapes(SIZES):
        without = theirs(inputs(model, silent=(name,)))["action"]
        assert not np.allclose(whole, without, atol=1e-3), name
