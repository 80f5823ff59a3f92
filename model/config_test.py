"""Impossible models and settings are refused by name; presets are whole."""

import dataclasses
from typing import Any, cast

import pytest

from model import config, errors, senses
from model.config import PRESETS
from model.testing import small_models
from rlds.spec import EpisodeSpec


@pytest.mark.parametrize("size", [0, -1, 1.5, True])
def test_config_with_an_impossible_size_is_refused(size: float) -> None:
    with pytest.raises(errors.ConfigError, match="width"):
        config.WaveCoreConfig(6, 2, 3, width=cast(int, size))


@pytest.mark.parametrize(
    "change",
    [
        {"channels_per_gate": 3},
        {"recurrence_size": 15, "oscillating": True},
        {"channels_per_gate": 16, "oscillating": True},
    ],
)
def test_gates_that_do_not_divide_the_channels_are_refused(
    change: dict[str, Any],
) -> None:
    with pytest.raises(
        errors.ConfigError, match="recurrence_size: expected a multiple"
    ):
        dataclasses.replace(small_models.SIZES, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"image_height": 64},
        {"image_width": 64},
        {"image_height": 64, "image_width": 8},
    ],
)
def test_frame_too_small_for_the_encoder_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigError, match="expected at least 16 each"):
        dataclasses.replace(small_models.SIZES, **change)


def test_senses_are_those_of_the_episodes() -> None:
    sizes = dataclasses.replace(small_models.SIZES, audio_size=7)
    assert sizes.episode_spec == EpisodeSpec(6, 2, audio_size=7)
    sizes = dataclasses.replace(sizes, image_height=16, image_width=32, audio_size=0)
    assert sizes.episode_spec == EpisodeSpec(6, 2, image=True)


def test_each_further_level_of_the_skill_memory_is_written_less_often() -> None:
    sizes = dataclasses.replace(small_models.SIZES, skill_levels=3, skill_period=5)
    assert sizes.skill_periods == (1, 5, 25)


def test_every_preset_has_training_settings() -> None:
    assert config.PRESETS.keys() == config.PRESET_TRAINING.keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"compute_dtype": "float16"}, "compute_dtype: expected float32 or bfloat16"),
        ({"accumulation_steps": 0}, "accumulation_steps: expected a whole number"),
        ({"accumulation_steps": 5}, "multiple of accumulation_steps 5, got 32"),
        ({"learning_rate": float("nan")}, "learning_rate: expected above 0"),
    ],
)
def test_impossible_training_settings_are_refused(
    change: dict[str, float] | dict[str, int] | dict[str, str], message: str
) -> None:
    with pytest.raises(errors.ConfigError, match=message):
        config.PresetTraining(**change)


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_is_unchanged_for_a_robot_without_senses(preset: str) -> None:
    found = config.fit_preset(preset, EpisodeSpec(39, 4), 5)
    assert found == PRESETS[preset](39, 4, 5)


@pytest.mark.parametrize(
    ("spec", "shapes"),
    [
        (EpisodeSpec(39, 4, image=True), {"image": (64, 64, 3)}),
        (EpisodeSpec(39, 4, audio_size=7), {"audio_mel": (7,)}),
        (
            EpisodeSpec(39, 4, image=True, audio_size=7),
            {"image": (64, 64, 3), "audio_mel": (7,)},
        ),
    ],
)
def test_preset_gets_the_senses_of_the_episodes_and_nothing_else_changes(
    spec: EpisodeSpec, shapes: dict[str, tuple[int, ...]]
) -> None:
    found = config.fit_preset("pi5", spec, 5)
    assert senses.shapes(found) == shapes
    assert found.episode_spec == spec
    assert found.width == PRESETS["pi5"](39, 4, 5).width
