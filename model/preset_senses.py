"""A preset with the senses of a robot: frames and sound that its episodes hold.

A preset says how large a model is; which senses it has follows from the robot. Sound
has as many channels as were recorded. Frames are scaled to one size, because what a
camera records is much larger than a small model can look at between two control steps.
"""

import dataclasses
from typing import NamedTuple

from model.config import PRESETS, WaveCoreConfig
from rlds.spec import EpisodeSpec


class Frame(NamedTuple):
    """Size of a frame as the model sees it.

    Attributes:
        height: h, rows.
        width: w, columns.
        channels: of the first convolution.
    """

    height: int
    width: int
    channels: int


FRAME = Frame(48, 64, 16)
"""Sides of three to four, as most cameras have them, which three convolutions halve to
6 x 8 places: 4 million operations per step. No other size has been measured."""
SMALL_FRAME = Frame(16, 16, 4)
"""Of the preset `tiny`, for tests."""


def sizes(preset: str, spec: EpisodeSpec, task_count: int) -> WaveCoreConfig:
    """The sizes of a preset for a robot and what it perceives.

    Args:
        preset: one of `config.PRESETS`.
        spec: what the robot's episodes hold.
        task_count: k.

    Raises:
        ConfigError: a size is below 1.
        KeyError: there is no such preset.
    """
    blind = PRESETS[preset](spec.state_size, spec.action_size, task_count)
    frame = SMALL_FRAME if preset == "tiny" else FRAME
    seeing = dataclasses.replace(
        blind,
        image_height=frame.height,
        image_width=frame.width,
        image_channels=frame.channels,
    )
    return dataclasses.replace(
        seeing if spec.image else blind, audio_size=spec.audio_size
    )
