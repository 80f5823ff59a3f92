"""A few of the training demonstrations that together stand for all of them.

Source: farthest-first traversal, Gonzalez 1985, Clustering to minimize the maximum
intercluster distance: the largest distance to what was chosen is at most twice the
smallest that any choice reaches. Such a core set is what Sener and Savarese 2018,
arXiv:1708.00489, choose for learning.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from rlds.episode import Episode


def choose(episodes: Iterable[Episode], count_per_task: int) -> list[Episode]:
    """The chosen episodes, in their order; of each task up to `count_per_task`.

    Two episodes are as far apart as what was sensed where they begin, in their middle
    and where they end, each channel in its deviation over the episodes of the task.
    The first one that is chosen is nearest to the mean.
    """
    of_task = defaultdict[str, list[Episode]](list)
    for episode in episodes:
        of_task[episode.metadata.task].append(episode)
    return [
        group[index]
        for group in of_task.values()
        for index in sorted(spread(list(map(describe, group)), count_per_task))
    ]


def describe(episode: Episode) -> np.ndarray:
    """What was sensed [3 n] where an episode begins, in its middle and at its end."""
    states = episode.steps["observation/state"]
    return np.asarray(states[[0, len(states) // 2, -1]], np.float64)


def spread(points: Sequence[np.ndarray], count: int) -> list[int]:
    """Up to `count` of the points, each farthest from those before it."""
    flat = np.stack(points).reshape(len(points), -1)
    deviation = flat.std(axis=0)
    flat = (flat - flat.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    chosen = [int(np.argmin(np.linalg.norm(flat, axis=1)))]
    nearest = np.linalg.norm(flat - flat[chosen[0]], axis=1)
    while len(chosen) < min(count, len(flat)):
        chosen.append(int(np.argmax(nearest)))
        away = np.linalg.norm(flat - flat[chosen[-1]], axis=1)
        nearest = np.minimum(nearest, away)
    return chosen
