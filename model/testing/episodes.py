"""Recorded episodes for the small models, for tests of the export."""

import io

import numpy as np
from PIL import Image

from model.testing import small_models
from rlds.episode import Episode
from rlds.spec import EpisodeSpec
from rlds.testing import episodes as rlds_testing

TASKS = ("left", "middle", "right")


def episode(
    task: str = "middle", length: int = 9, audio_size: int = 0, image: bool = False
) -> Episode:
    """An episode of random states and actions; sound and frames are random too."""
    steps, sizes = np.arange(length), small_models.SIZES
    sound = {"observation/audio_mel": small_models.numbers(length, audio_size, seed=4)}
    frames = {"observation/image": [_jpeg(seed) for seed in range(length)]}
    return Episode(
        spec=EpisodeSpec(sizes.state_size, sizes.action_size, image, audio_size),
        metadata=rlds_testing.metadata(task=task),
        steps={
            "observation/state": small_models.numbers(length, sizes.state_size),
            **(sound if audio_size else {}),
            **(frames if image else {}),
            "action": small_models.numbers(length, sizes.action_size, seed=2),
            "proposed_action": small_models.numbers(length, sizes.action_size, seed=3),
            "reward": np.zeros(length, np.float32),
            "discount": np.ones(length, np.float32),
            "is_first": steps == 0,
            "is_last": steps == length - 1,
            "is_terminal": np.zeros(length, bool),
            "t_monotonic_ns": steps.astype(np.int64),
            "deadline_missed": np.zeros(length, bool),
            "safety_violation": np.zeros(length, bool),
        },
    )


def _jpeg(seed: int) -> bytes:
    """A frame of 24 x 32 pixels in squares of random colours, which JPEG preserves."""
    squares = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(squares.repeat(8, axis=0).repeat(8, axis=1)).save(content, "JPEG")
    return content.getvalue()
