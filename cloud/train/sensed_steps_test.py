"""Actions that depend on the camera or the microphone alone are learned."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from cloud.dataset import training_data
from cloud.dataset.training_data import TrainingData
from cloud.errors import DatasetError
from cloud.testing import train_tiny, training_episodes
from cloud.train import fit as training
from model import config
from model.normalisation import Statistics
from model.wavecore import WaveCore

UPDATES = 120
SIZES = dataclasses.replace(
    config.tiny(4, 2, 2), image_height=16, image_width=16, image_colours=4
)
HEARING = dataclasses.replace(SIZES, audio_size=3)


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return join(range(80))


def join(numbers: Iterable[int]) -> TrainingData:
    made = [training_episodes.sensed_episode(k) for k in numbers]
    return training_data.join_episodes(made, training_episodes.TASKS, camera=SIZES)


def fit(
    data: TrainingData, sizes: config.WaveCoreConfig, folder: Path, **changes: Any
) -> tuple[training.FitResult, WaveCore]:
    """Returns the result of training, validated on other episodes, and the start."""
    untrained = []

    def make(
        state_size: int,
        action_size: int,
        task_count: int,
        statistics: Statistics,
        random: np.random.Generator,
    ) -> WaveCore:
        model = WaveCore(sizes, statistics, random)
        untrained.append(jax.tree.map(np.asarray, model))
        return model

    settings = train_tiny.config(
        UPDATES,
        batch_size=16,
        learning_rate=1e-2,
        checkpoint_period_updates=UPDATES,
        report_period_updates=UPDATES // 4,
        **changes,
    )
    unseen = join(range(100, 110))
    result = training.fit(
        data, unseen, settings, folder, lambda progress: None, make_model=make
    )
    return result, untrained[0]


@pytest.mark.long
def test_actions_that_depend_on_camera_and_sound_are_learned(
    data: TrainingData, tmp_path: Path
) -> None:
    options = {"accumulation_steps": 2, "remat": "on"}
    result, untrained = fit(data, HEARING, tmp_path, **options)
    missed = result.history[-1].validation_action_loss
    assert missed is not None and missed < 0.2
    assert result.history[-1].loss < result.history[0].loss
    trained = result.model.senses
    for name in ("places", "audio_mel"):
        before = jax.tree.leaves(untrained.senses[name])
        after = jax.tree.leaves(trained[name])
        assert any(not np.array_equal(x, y) for x, y in zip(before, after, strict=True))


@pytest.mark.long
def test_model_without_senses_learns_nothing_of_the_action(
    data: TrainingData, tmp_path: Path
) -> None:
    blind, _ = fit(data, config.tiny(4, 2, 2), tmp_path)
    missed = blind.history[-1].validation_action_loss
    assert missed is not None and missed > 0.9


@pytest.mark.long
def test_model_with_only_a_camera_learns_half_of_the_action(
    data: TrainingData, tmp_path: Path
) -> None:
    result, _ = fit(data, SIZES, tmp_path)
    missed = result.history[-1].validation_action_loss
    assert missed is not None and 0.4 < missed < 0.7


@pytest.mark.parametrize(
    ("lacking", "sizes", "text"),
    [
        ({"places": None}, HEARING, r"places of shape \[8\].*got none"),
        ({"audio_mel": None}, HEARING, r"audio_mel of shape \[3\].*got none"),
        ({}, dataclasses.replace(HEARING, image_colours=5), r"\[10\].*got \[8\]"),
    ],
    ids=["no frames", "no sound", "other frames"],
)
def test_sense_that_the_data_lack_is_refused_before_anything_is_written(
    data: TrainingData,
    tmp_path: Path,
    lacking: dict[str, Any],
    sizes: config.WaveCoreConfig,
    text: str,
) -> None:
    given = dataclasses.replace(data, steps=data.steps._replace(**lacking))
    with pytest.raises(DatasetError, match=text):
        fit(given, sizes, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
