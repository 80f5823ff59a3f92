"""Episodes with camera and sound, whose actions depend on both."""

import dataclasses
import io

import numpy as np
from PIL import Image

from cloud.testing import training_episodes
from rlds.episode import Episode
from rlds.spec import EpisodeSpec

SPEC = EpisodeSpec(state_size=4, action_size=2, image=True, audio_size=3)


def episode(index: int) -> Episode:
    """Returns an episode whose first action follows the image, the second the sound."""
    plain = training_episodes.episode(index, 10)
    random = np.random.default_rng(index)
    right, loud = random.integers(0, 2, (2, 10)).astype(bool)
    action = np.where(np.stack([right, loud], 1), 1, -1).astype(np.float32)
    sound = random.normal(size=(10, 3)) - 5 + 3 * loud[:, None]
    return dataclasses.replace(
        plain,
        spec=SPEC,
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
