"""One long stream of steps, made of all episodes, from which windows are cut.

Data that do not fit together are refused here, before any time is spent: another
robot's sizes, unknown tasks, too few steps. That numbers are finite is checked by
`Episode` itself.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cloud.errors import DatasetError
from rlds.episode import Episode


class StepStream(NamedTuple):
    """All steps of all episodes, one after the other.

    Attributes:
        states: f32 [s n], observation states.
        actions: f32 [s a], the action to imitate (`proposed_action`).
        tasks: i32 [s], index of the step's task.
        starts: bool [s], True at the first step of an episode.
        action_weight: f32 [s], of mean one. Each task weighs the same in sum,
            whatever the length of its episodes.
        next_weight: f32 [s], 1 where the following step is of the same episode.
        reward: f32 [s], reward of the action.
        discount: f32 [s], 0 to 1, how much of what follows counts.
        images: u8 [s h w 3], camera images, None unless they were asked for.
        audio_mel: f32 [s m], log-mel features, None where the robot has no sound.
    """

    states: np.ndarray
    actions: np.ndarray
    tasks: np.ndarray
    starts: np.ndarray
    action_weight: np.ndarray
    next_weight: np.ndarray
    reward: np.ndarray
    discount: np.ndarray
    images: np.ndarray | None = None
    audio_mel: np.ndarray | None = None


def join(
    episodes: Sequence[Episode],
    tasks: Sequence[str],
    state_size: int,
    action_size: int,
    shortest_steps: int = 2,
) -> StepStream:
    """Joins episodes into a stream, in the order given.

    Raises:
        DatasetError: no or too few steps; an episode of other sizes, or of a task
            that is not in `tasks`.
    """
    for episode in episodes:
        _check(episode, tasks, state_size, action_size)
    count = sum(len(episode.steps["is_first"]) for episode in episodes)
    if count < shortest_steps:
        raise DatasetError(
            f"training data: expected at least {shortest_steps} steps in all, got"
            f" {count} in {len(episodes)} episodes; record more, or lower"
            " sequence_length"
        )
    columns = [_columns(episode, tasks) for episode in episodes]
    stream = StepStream(
        *(
            None if column[0] is None else np.concatenate(column)
            for column in zip(*columns, strict=True)
        )
    )
    return stream._replace(action_weight=_balanced(stream, len(tasks)))


def _columns(episode: Episode, tasks: Sequence[str]) -> StepStream:
    steps = episode.steps
    length = len(steps["is_first"])
    index = np.arange(length)
    return StepStream(
        states=np.asarray(steps["observation/state"], np.float32),
        actions=np.asarray(steps["proposed_action"], np.float32),
        tasks=np.full(length, tasks.index(episode.metadata.task), np.int32),
        starts=index == 0,
        action_weight=np.ones(length, np.float32),
        next_weight=(index < length - 1).astype(np.float32),
        reward=np.asarray(steps["reward"], np.float32),
        discount=np.asarray(steps["discount"], np.float32),
    )


def _balanced(stream: StepStream, task_count: int) -> np.ndarray:
    total = np.bincount(stream.tasks, stream.action_weight, task_count)
    share = total.sum() / np.maximum(total, 1) / np.count_nonzero(total)
    return (stream.action_weight * share[stream.tasks]).astype(np.float32)


def _check(
    episode: Episode, tasks: Sequence[str], state_size: int, action_size: int
) -> None:
    name = f"episode {episode.metadata.episode_id}"
    if episode.metadata.task not in tasks:
        raise DatasetError(
            f"{name}: expected a task of {', '.join(tasks)}, got"
            f" {episode.metadata.task!r}; name every task of the dataset"
        )
    length = len(episode.steps["is_first"])
    for key, size in (
        ("observation/state", state_size),
        ("proposed_action", action_size),
    ):
        value = np.asarray(episode.steps[key])
        if value.shape != (length, size):
            raise DatasetError(
                f"{name}: expected {key} of shape {(length, size)}, got"
                f" {value.shape}; train on episodes of one robot at a time"
            )
