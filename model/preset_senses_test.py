"""A preset gets the senses that the robot's episodes have, and no others."""

import pytest

from model import config, senses
from model.config import PRESETS
from rlds.spec import EpisodeSpec


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_is_unchanged_for_a_robot_without_senses(preset) -> None:
    found = config.fit_preset(preset, EpisodeSpec(39, 4), 5)
    assert found == PRESETS[preset](39, 4, 5)


@pytest.mark.parametrize(
    ("spec", "shapes"),
    [
        (EpisodeSpec(39, 4, image=True), {"image": (48, 64, 3)}),
        (EpisodeSpec(39, 4, audio_size=7), {"audio_mel": (7,)}),
        (
            EpisodeSpec(39, 4, image=True, audio_size=7),
            {"image": (48, 64, 3), "audio_mel": (7,)},
        ),
    ],
)
def test_preset_gets_the_senses_of_the_episodes_and_nothing_else_changes(
    spec, shapes: dict[str, tuple[int, ...]]
) -> None:
    found = config.fit_preset("pi5", spec, 5)
    assert senses.shapes(found) == shapes
    assert found.episode_spec == spec
    assert found.width == PRESETS["pi5"](39, 4, 5).width
