"""What tests of the export are given: recorded episodes, and less to replay."""

import io
from contextlib import AbstractContextManager
from unittest import mock

import numpy as np
from PIL import Image

from model.export import functions
from model.learn.consolidation import Batch
from model.testing import small_models
from model.wavecore import WaveCore
from rlds.episode import Episode
from rlds.spec import EpisodeSpec
from rlds.testing import episodes as rlds_testing

TASKS = ("left", "middle", "right")


def episode(
    task: str = "middle", length: int = 9, audio_size: int = 0, image: bool = False
) -> Episode:
    """An episode of random states and actions; sound and frames are random too."""
    sizes = small_models.SIZES
    sound = {"observation/audio_mel": small_models.numbers(length, audio_size, seed=4)}
    frames = {"observation/image": [_jpeg(seed) for seed in range(length)]}
    return Episode(
        spec=EpisodeSpec(sizes.state_size, sizes.action_size, image, audio_size),
        metadata=rlds_testing.metadata(task=task),
        steps={
            **rlds_testing.acted(
                small_models.numbers(length, sizes.state_size),
                small_models.numbers(length, sizes.action_size, seed=2),
            ),
            **(sound if audio_size else {}),
            **(frames if image else {}),
            "proposed_action": small_models.numbers(length, sizes.action_size, seed=3),
            "is_terminal": np.zeros(length, bool),
        },
    )


def _jpeg(seed: int) -> bytes:
    """A frame of 24 x 32 pixels in squares of random colours, which JPEG preserves."""
    squares = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(squares.repeat(8, axis=0).repeat(8, axis=1)).save(content, "JPEG")
    return content.getvalue()


def make_only(*names: str) -> AbstractContextManager[object]:
    """Inside, of the learning functions only these are made."""
    make = functions.learning

    def learning(model: WaveCore) -> dict[str, functions.Function]:
        return {name: make(model)[name] for name in names}

    return mock.patch.object(functions, "learning", learning)


def shorten_replay() -> AbstractContextManager[object]:
    """Inside, functions are made for few and short memories."""
    return mock.patch.multiple(
        functions, MEMORY_STEPS=9, MOST_EPISODES=8, BATCH=Batch(windows=2, steps=9)
    )
