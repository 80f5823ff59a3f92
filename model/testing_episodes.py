"""Recorded episodes of the small models of `model.testing`, for tests of the export."""

import numpy as np

from model import testing
from rlds import testing as rlds_testing
from rlds.episode import Episode
from rlds.spec import EpisodeSpec

TASKS = ("left", "middle", "right")


def episode(task: str = "middle", length: int = 9, audio_size: int = 0) -> Episode:
    """An episode of drawn states and actions."""
    steps, sizes = np.arange(length), testing.SIZES
    sound = {"observation/audio_mel": testing.numbers(length, audio_size, seed=4)}
    return Episode(
        spec=EpisodeSpec(sizes.state_size, sizes.action_size, audio_size=audio_size),
        metadata=rlds_testing.metadata(task=task),
        steps={
            "observation/state": testing.numbers(length, sizes.state_size),
            **(sound if audio_size else {}),
            "action": testing.numbers(length, sizes.action_size, seed=2),
            "proposed_action": testing.numbers(length, sizes.action_size, seed=3),
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
