"""Small episodes for tests of training: a point is pushed towards its goal.

The actions of a plain episode depend on its state, those of a sensed one on what its
camera and its microphone recorded.
"""

import dataclasses
import io

import numpy as np
from PIL import Image

from rlds.episode import Episode
from rlds.spec import EpisodeSpec
from rlds.testing import episodes as testing

TASKS = ("left", "right")
SPEC = EpisodeSpec(state_size=4, action_size=2)
SENSED_SPEC = EpisodeSpec(state_size=4, action_size=2, image=True, audio_size=3)


def episode(index: int, length: int = 12) -> Episode:
    """Returns an episode whose action is the direction to its goal."""
    random = np.random.default_rng(index)
    goal = random.normal(size=2)
    position = np.cumsum(random.normal(size=(length, 2)) * 0.1, axis=0)
    action = np.clip(goal - position, -1, 1).astype(np.float32)
    seen = np.hstack([position, np.broadcast_to(goal, position.shape)])
    return Episode(
        spec=SPEC,
        metadata=testing.metadata(index, task=TASKS[index % 2]),
        steps=testing.acted(seen, action),
    )


def episodes(count: int, first: int = 0) -> list[Episode]:
    """Returns episodes of both tasks, with different lengths."""
    return [episode(first + k, length=8 + k % 5) for k in range(count)]


def sensed_episode(index: int) -> Episode:
    """Returns an episode whose first action follows the image, the second the sound."""
    plain = episode(index, 10)
    random = np.random.default_rng(index)
    right, loud = random.integers(0, 2, (2, 10)).astype(bool)
    action = np.where(np.stack([right, loud], 1), 1, -1).astype(np.float32)
    sound = random.normal(size=(10, 3)) - 5 + 3 * loud[:, None]
    return dataclasses.replace(
        plain,
        spec=SENSED_SPEC,
        steps={
            **plain.steps,
            "observation/state": random.normal(size=(10, 4)).astype(np.float32),
            "action": action,
            "proposed_action": action,
            "observation/image": [_jpeg(random, one) for one in right],
            "observation/audio_mel": sound.astype(np.float32),
        },
    )


def _jpeg(random: np.random.Generator, right: bool) -> bytes:
    """Noise with a bright square on one side."""
    pixels = random.integers(0, 80, (24, 24, 3), np.uint8)
    first = 14 if right else 2
    pixels[8:16, first : first + 8] += 160
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG")
    return content.getvalue()
