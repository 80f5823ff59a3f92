"""The model to train on a dataset: the preset's sizes and the dataset's senses."""

import dataclasses
from collections.abc import Callable

import numpy as np
from flax import nnx

from cloud.dataset.training_data import TrainingData
from cloud.train.config import TrainConfig
from model import config as model_config
from model import normalisation, places
from model.config import WaveCoreConfig
from model.wavecore import WaveCore
from rlds.spec import EpisodeSpec

MakeModel = Callable[
    [int, int, int, normalisation.Statistics, np.random.Generator], nnx.Module
]
"""From state size, action size, task count, statistics and random numbers to a model
that has WaveCore's `sequence` and `config.carry_size`."""


def sizes(config: TrainConfig, spec: EpisodeSpec, task_count: int) -> WaveCoreConfig:
    """Returns the sizes of the model for episodes of this spec.

    The model has the senses of the spec, unless `config.senses` is False.

    Raises:
        ConfigError: a size is below 1.
    """
    if not config.senses:
        spec = EpisodeSpec(spec.state_size, spec.action_size)
    return model_config.fit_preset(config.preset, spec, task_count)


def count_cameras(config: TrainConfig, found: np.ndarray | None) -> int:
    """How many cameras gave the places f32 [... q*2c] in frames; 1 without frames."""
    if found is None:
        return 1
    colours = model_config.choose_frame(config.preset).colours
    return int(found.shape[-1]) // places.count(colours, 1)


def wavecore(config: TrainConfig, data: TrainingData) -> MakeModel:
    """Returns a maker of WaveCore for these data, with a camera if they have frames."""
    sound = data.steps.audio_mel

    def make(
        state_size: int,
        action_size: int,
        task_count: int,
        statistics: normalisation.Statistics,
        random: np.random.Generator,
    ) -> WaveCore:
        spec = EpisodeSpec(
            state_size,
            action_size,
            image=data.steps.places is not None,
            audio_size=0 if sound is None else sound.shape[-1],
        )
        chosen = sizes(config, spec, task_count)
        cameras = count_cameras(config, data.steps.places)
        chosen = dataclasses.replace(chosen, image_count=cameras)
        return WaveCore(chosen, statistics, random)

    return make
