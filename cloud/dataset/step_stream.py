"""One long stream of the steps of all episodes, from which windows are cut.

Data that do not fit together are refused here, before training starts: the sizes of
another robot, unknown tasks, too few steps, a sense that the steps lack. `Episode`
itself checks that numbers are finite.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from cloud.errors import DatasetError
from model import jpeg_frames, losses, places, senses
from model.config import WaveCoreConfig
from rlds import imitation
from rlds.episode import Episode

_SHORTEST_STEPS = 2
"""One step to learn from, and the step after it."""


class StepStream(NamedTuple):
    """All steps of all episodes, concatenated.

    Attributes:
        states: f32 [s n], observation states.
        actions: f32 [s a], the action to imitate (`rlds/imitation.py`).
        tasks: i32 [s], index of the step's task.
        starts: bool [s], True at the first step of an episode.
        action_weight: f32 [s], with mean one over the steps to imitate, and 0 in the
            others. The weights of each task add up to the same sum, whatever the length
            of its episodes.
        next_weight: f32 [s], 1 where the next step is of the same episode, else 0.
        reward: f32 [s], reward of the action.
        discount: f32 [s], 0 to 1, the weight of later rewards.
        values: f32 [s], targets of the value head (`losses.returns`).
        value_known: f32 [s], 0 where nothing says how the step's episode went: neither
            its success nor any reward. Its values mean nothing.
        places: f32 [s q*2c], where colours are in the frames of all cameras
            (`model.places`), None unless requested.
        audio_mel: f32 [s m], log-mel features, None if the robot has no sound.
    """

    states: np.ndarray
    actions: np.ndarray
    tasks: np.ndarray
    starts: np.ndarray
    action_weight: np.ndarray
    next_weight: np.ndarray
    reward: np.ndarray
    discount: np.ndarray
    values: np.ndarray
    value_known: np.ndarray
    places: np.ndarray | None = None
    audio_mel: np.ndarray | None = None


def join(
    episodes: Sequence[Episode],
    tasks: Sequence[str],
    state_size: int,
    action_size: int,
    camera: WaveCoreConfig | None = None,
) -> StepStream:
    """Joins episodes into a stream, in the order given.

    Args:
        episodes: of one robot.
        tasks: every task of the episodes; `StepStream.tasks` indexes this list.
        state_size: n, numbers in a state.
        action_size: a, numbers in an action.
        camera: the model that reads the frames; None leaves them out.

    Raises:
        DatasetError: there are too few steps, or an episode has other sizes, has a
            task that is not in `tasks`, or lacks the requested images.
        FrameError: an image does not decode.
    """
    parts = [
        columns(episode, tasks, state_size, action_size, camera) for episode in episodes
    ]
    count = sum(len(part.starts) for part in parts)
    if count < _SHORTEST_STEPS:
        raise DatasetError(
            "training data",
            f"at least {_SHORTEST_STEPS} steps in all",
            f"{count} in {len(episodes)} episodes",
            "record more",
        )
    columns_of_all = zip(*parts, strict=True)
    stream = StepStream._make(_join_column(column) for column in columns_of_all)
    counts = np.bincount(stream.tasks, stream.action_weight, minlength=len(tasks))
    return stream._replace(
        action_weight=stream.action_weight * task_shares(counts)[stream.tasks],
        values=losses.returns(stream.reward, stream.discount, stream.starts),
    )


def columns(
    episode: Episode,
    tasks: Sequence[str],
    state_size: int,
    action_size: int,
    camera: WaveCoreConfig | None = None,
) -> StepStream:
    """Returns one episode as a stream, without what depends on all episodes.

    `action_weight` is 1 where an action is to be imitated, and `values` is 0
    everywhere. Arguments: as `join`.

    Raises:
        DatasetError, FrameError: as `join`.
    """
    _check(episode, tasks, state_size, action_size)
    steps = episode.steps
    length = episode.num_steps
    index = np.arange(length)
    return StepStream(
        states=np.asarray(steps["observation/state"], np.float32),
        actions=imitation.actions_to_imitate(steps),
        tasks=np.full(length, tasks.index(episode.metadata.task), np.int32),
        starts=index == 0,
        action_weight=imitation.steps_to_imitate(steps).astype(np.float32),
        next_weight=(index < length - 1).astype(np.float32),
        reward=np.asarray(steps["reward"], np.float32),
        discount=np.asarray(steps["discount"], np.float32),
        values=np.zeros(length, np.float32),
        value_known=np.full(length, _is_judged(episode), np.float32),
        places=None if camera is None else _find_places(episode, camera),
        audio_mel=steps.get("observation/audio_mel"),
    )


def pieces(stream: StepStream, at_once: int) -> Iterator[StepStream]:
    """Yields a stream in pieces [t+1 ...] of at most `at_once` steps t, in order.

    Each begins with the last step of the piece before, where it was only a next state.
    """
    last = len(stream.starts) - 1
    for begin in range(0, last, at_once):
        end = min(begin + at_once, last) + 1
        yield StepStream._make(None if c is None else c[begin:end] for c in stream)


def task_shares(step_counts: np.ndarray) -> np.ndarray:
    """Returns the weight f32 [k] of a step of each task, from its number of steps [k].

    The weights of each task that has steps add up to the same sum, and the mean over
    all these steps is one. Steps that are not to be imitated do not count.
    """
    shares: np.ndarray = (
        step_counts.sum() / np.maximum(step_counts, 1) / np.count_nonzero(step_counts)
    )
    return shares.astype(np.float32)


def _join_column(column: Sequence[np.ndarray | None]) -> np.ndarray | None:
    present = [part for part in column if part is not None]
    if len(present) not in (0, len(column)):
        raise DatasetError(
            "training data",
            "sound in all episodes or in none",
            f"sound in {len(present)} of {len(column)}",
            "train on episodes of one robot at a time",
        )
    return np.concatenate(present) if present else None


def _is_judged(episode: Episode) -> bool:
    known = episode.metadata.success is not None
    return known or bool(np.any(episode.steps["reward"]))


def _find_places(episode: Episode, camera: WaveCoreConfig) -> np.ndarray:
    found = episode.spec.picture_fields
    if len(found) != camera.image_count:
        raise DatasetError(
            f"episode {episode.metadata.episode_id}",
            f"camera images of {camera.image_count} for a model with a camera"
            if camera.image_count > 1
            else "camera images for a model with a camera",
            ", ".join(found) or "none",
            "train a model without a camera, or on other episodes",
        )
    frames = jpeg_frames.decode_cameras(episode, camera)
    return places.find_recorded(frames, camera.image_colours, camera.image_count)


def _check(
    episode: Episode, tasks: Sequence[str], state_size: int, action_size: int
) -> None:
    name = f"episode {episode.metadata.episode_id}"
    if episode.metadata.task not in tasks:
        raise DatasetError(
            name,
            f"a task of {', '.join(tasks)}",
            f"{episode.metadata.task!r}",
            "name every task of the dataset",
        )
    length = len(episode.steps["is_first"])
    for key, size in (
        ("observation/state", state_size),
        ("proposed_action", action_size),
    ):
        value = np.asarray(episode.steps[key])
        if value.shape != (length, size):
            raise DatasetError(
                name,
                f"{key} of shape {(length, size)}",
                value.shape,
                "train on episodes of one robot at a time",
            )


def select_senses(steps: StepStream, config: WaveCoreConfig) -> Mapping[str, jax.Array]:
    """Returns the columns that a model of this configuration reads, by sense.

    Shapes: the axes of `steps.starts`, then those of `senses.encoded_shapes`.

    Raises:
        DatasetError: the model has a sense (camera or sound) that the steps lack, or
            have in another size.
    """
    shapes = senses.encoded_shapes(config)
    found = {name: getattr(steps, name) for name in shapes}
    for name, shape in shapes.items():
        column = found[name]
        got = None if column is None else column.shape[steps.starts.ndim :]
        if got != shape:
            raise DatasetError(
                "training data",
                f"{name} of shape {list(shape)}, which the model perceives",
                "none" if got is None else list(got),
                "train on episodes that have it, or a model without this sense",
            )
    return found
