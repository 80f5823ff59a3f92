"""Small episodes for tests of training: a point is pushed towards its goal."""

import numpy as np

from rlds.episode import Episode
from rlds.spec import EpisodeSpec
from rlds.testing import episodes as testing

TASKS = ("left", "right")
SPEC = EpisodeSpec(state_size=4, action_size=2)


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
