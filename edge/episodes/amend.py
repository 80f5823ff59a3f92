"""What the operator may change of an episode after it was recorded; without a disk.

| change | what becomes of the episode |
|---|---|
| a label | `success`; its last step ends the task or not, as if a key had said so |
| left out | nothing but a tag, by which nobody learns from it |
| trimmed | the steps from one to another, of which the last ends as before |

Each adds a tag that says that it was done, and by whom: the operator, who is the only
one with the robot's key. Doing it twice is doing it once. Steps at which a stop rule
fired are never cut off: what a robot did wrong stays on record.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from edge.errors import AmendError
from rlds.episode import Array, Episode, StepValues
from rlds.spec import LABELLED_TAG, LEFT_OUT_TAG, TRIMMED_TAG

LEAVE_OUT: Final = "leave_out"
OUTCOMES: Final[Mapping[str, bool | None]] = MappingProxyType(
    {"success": True, "failure": False, "unknown": None}
)
"""What the words say that an operator has for the outcome of an episode."""
_SAME = ("observation/state", "action")


def label(episode: Episode, success: bool | None) -> Episode:
    """Says how an episode went; whoever says it wants it to be used.

    Args:
        episode: raw or redacted.
        success: whether the task was fulfilled; None if that is not known.
    """
    tags = tuple(tag for tag in episode.metadata.tags if tag != LEFT_OUT_TAG)
    return _settle(episode, dict(episode.steps), success, _add(tags, LABELLED_TAG))


def leave_out(episode: Episode) -> Episode:
    """Says that nobody is to learn from an episode."""
    tags = _add(episode.metadata.tags, LEFT_OUT_TAG)
    metadata = dataclasses.replace(episode.metadata, tags=tags)
    return dataclasses.replace(episode, metadata=metadata)


def apply_said(episode: Episode, says: str) -> Episode:
    """Says of an episode what a word says: one of `labels.SAID`."""
    return leave_out(episode) if says == LEAVE_OUT else label(episode, OUTCOMES[says])


def trim(episode: Episode, whole: Episode, first: int, last: int) -> Episode:
    """Keeps the steps from one to another, which both stay.

    How the episode went stays as it was said.

    Args:
        episode: the copy that is trimmed; some of its steps may be cut off already.
        whole: the longest copy, in which steps are counted. Its times may count from
            another instant: those of a copy that leaves the robot begin with 0.
        first: first step of `whole` that stays, from 0.
        last: last step of `whole` that stays.

    Raises:
        AmendError: no step would stay, a stop rule fired in one that would not, or the
            copy is not a part of the longest one.
    """
    place = _find_place(episode, whole)
    numbers = place + np.arange(episode.num_steps)
    kept = (numbers >= first) & (numbers <= last)
    if kept.all():
        return episode
    where = f"episode {episode.metadata.episode_id}"
    if not kept.any():
        raise AmendError(where, "at least one step to stay", "none")
    fired = np.flatnonzero(episode.steps["safety_violation"] & ~kept)
    if fired.size:
        raise AmendError(
            where,
            "every step to stay at which a stop rule fired",
            f"a cut before or after step {int(fired[0]) + 1}, where one did",
            "keep that step, or leave the whole episode out",
        )
    steps = {name: _take(values, kept) for name, values in episode.steps.items()}
    steps["is_first"] = _mark(len(steps["is_first"]), 0)
    steps["is_last"] = _mark(len(steps["is_last"]), -1)
    tags = _add(episode.metadata.tags, TRIMMED_TAG)
    return _settle(episode, steps, episode.metadata.success, tags)


def _settle(
    episode: Episode, steps: dict[str, Any], success: bool | None, tags: tuple[str, ...]
) -> Episode:
    """Lets the last step say what the episode says of its end, and no other one."""
    ended = bool(success)
    count = len(steps["is_last"])
    steps["is_terminal"] = _mark(count, -1) & ended
    discount = np.ones(count, np.float32)
    discount[-1] = 0.0 if ended else 1.0
    steps["discount"] = discount
    metadata = dataclasses.replace(episode.metadata, success=success, tags=tags)
    return Episode(episode.spec, metadata, steps)


def _find_place(episode: Episode, whole: Episode) -> int:
    """Finds at which step of the longest copy another copy begins.

    What was sensed, what was done and the time between two steps is the same in every
    copy, raw or redacted.

    Raises:
        AmendError: it is nowhere in it.
    """
    count = episode.num_steps
    gaps, all_gaps = (np.diff(one.steps["t_monotonic_ns"]) for one in (episode, whole))
    begins = np.ones(max(whole.num_steps - count + 1, 0), np.bool_)
    for name in _SAME:
        rows = whole.steps[name][: len(begins)] == episode.steps[name][0]
        begins &= rows.all(axis=tuple(range(1, rows.ndim)))
    for place in np.flatnonzero(begins).tolist():
        if np.array_equal(all_gaps[place : place + count - 1], gaps) and all(
            np.array_equal(
                whole.steps[name][place : place + count], episode.steps[name]
            )
            for name in _SAME
        ):
            return int(place)
    raise AmendError(
        f"episode {episode.metadata.episode_id}",
        "every copy to be a part of the longest copy",
        "one that has other steps",
        "remove the copy that is not the robot's",
    )


def _take(values: StepValues, kept: Array) -> StepValues:
    if isinstance(values, np.ndarray):
        return values[kept]
    return tuple(values[index] for index in np.flatnonzero(kept).tolist())


def _mark(count: int, index: int) -> Array:
    marks = np.zeros(count, np.bool_)
    marks[index] = True
    return marks


def _add(tags: tuple[str, ...], tag: str) -> tuple[str, ...]:
    return tags if tag in tags else (*tags, tag)
