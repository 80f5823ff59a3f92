"""Episodes in the form that replay needs, and windows for `consolidate_update`."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from model.learn import actuation, pace, projection
from model.wavecore import WaveCore
from rlds.episode import Episode

_MOST = 0.95
"""Quantile of absolute actions that counts as a driver's largest action."""


class Memory(NamedTuple):
    """One episode as replay needs it.

    Attributes:
        states: [t+1 n] f32, the last one only as a next state.
        actions: [t a] f32, to imitate.
        task: [k] f32, one-hot.
        executed: [t a] f32, commands that the robot was given.
    """

    states: np.ndarray
    actions: np.ndarray
    task: np.ndarray
    executed: np.ndarray


def make_memory(episode: Episode, tasks: Sequence[str]) -> Memory:
    """Makes a memory of a demonstration; its last step only gives a next state."""
    task = np.eye(len(tasks), dtype=np.float32)[tasks.index(episode.metadata.task)]
    return Memory(
        np.asarray(episode.steps["observation/state"], np.float32),
        np.asarray(episode.steps["proposed_action"], np.float32)[:-1],
        task,
        np.asarray(episode.steps["action"], np.float32)[:-1],
    )


def project_memories(
    known: Sequence[Memory], trained: WaveCore, changed: WaveCore
) -> list[Memory]:
    """Memories of one robot as a robot with another calibration would record them.

    Args:
        known: memories of the robot of `trained`.
        trained: the model with the calibration of that robot.
        changed: the same model with another calibration.
    """
    states, actions = projection.project(
        trained,
        changed,
        np.concatenate([one.states for one in known]),
        np.concatenate([one.actions for one in known]),
    )
    lengths = np.array([len(one.actions) for one in known])
    seen = np.split(np.asarray(states), np.cumsum(lengths + 1)[:-1])
    asked = np.split(np.asarray(actions), np.cumsum(lengths)[:-1])
    parts = zip(seen, asked, known, strict=True)
    return [one._replace(states=seen, actions=told) for seen, told, one in parts]


def moves(memories: Sequence[Memory]) -> actuation.Moves:
    """The executed commands of these episodes, and the states that followed."""
    return actuation.Moves(
        [one.states for one in memories], [one.executed for one in memories]
    )


def apply_actuation(
    known: Sequence[Memory], moved: actuation.Actuation
) -> list[Memory]:
    """Memories of the known robot as a robot with other actuation would record them."""
    changed = []
    for one in known:
        states, actions = actuation.apply_actuation(moved, one.states, one.actions)
        _, executed = actuation.apply_actuation(moved, one.states, one.executed)
        changed.append(Memory(states, actions, one.task, executed))
    return changed


def measure_pace(lived: Sequence[Memory], known: Sequence[Memory]) -> np.ndarray:
    """Ratio [a] of the largest actions in `lived` to those of the known robot.

    1 for actions that are not smaller, or that are always zero.
    """
    used, most = (
        np.quantile(
            np.abs(np.concatenate([x.actions for x in memories])), _MOST, axis=0
        )
        for memories in (lived, known)
    )
    slower = (used > 0) & (used < most)
    return np.where(slower, used / np.where(most > 0, most, 1.0), 1.0)


def scale_to_full_pace(lived: Sequence[Memory], told: np.ndarray) -> list[Memory]:
    """Recorded episodes with actions as large as those of the known robot.

    A careful operator gives smaller commands in every situation. The sensors are not
    the reason, so a calibration must not be fitted to it.

    Args:
        lived: episodes that an operator drove.
        told: their pace [a], see `measure_pace`.
    """
    return [
        one._replace(actions=np.float32(np.clip(one.actions / told, -1.0, 1.0)))
        for one in lived
    ]


def scale_time(
    known: Sequence[Memory], told: np.ndarray, moves_arm: np.ndarray
) -> list[Memory]:
    """Memories of the known robot as if its commands had been scaled down.

    Args:
        known: memories at full pace.
        told: factor [a] of each command.
        moves_arm: which commands [a] move the robot, and so decide how fast it is.
    """
    speed = float(told[moves_arm].mean()) if moves_arm.any() else 1.0
    repeats = pace.find_repeats([one.states for one in known])
    changed = []
    for one in known:
        states, actions = pace.scale_time(told, speed, repeats, one.states, one.actions)
        _, executed = pace.scale_time(told, speed, repeats, one.states, one.executed)
        changed.append(Memory(states, actions, one.task, executed))
    return changed


def make_windows(
    random: np.random.Generator,
    kinds: Sequence[Sequence[Memory]],
    count: int,
    steps: int,
) -> dict[str, np.ndarray]:
    """Random windows for `consolidate_update`, of each kind of memories in turn.

    A window is whole episodes one after the other, each from its first step on; the
    last one is cut where the window ends. Every step has its past, because the signs
    that distinguish two robots may only show at the beginning of an episode; a window
    that begins later would ask the model for two answers to the same question.

    Shapes: b = count windows of t = steps, as `updates.make_consolidate` takes them,
    without its `update_index`.
    """
    filled = [_window(random, kinds[i % len(kinds)], steps) for i in range(count)]
    return {name: np.stack([one[name] for one in filled]) for name in filled[0]}


def _window(
    random: np.random.Generator, memories: Sequence[Memory], steps: int
) -> dict[str, np.ndarray]:
    whole: list[dict[str, np.ndarray]] = []
    length = 0
    while length < steps + 1:  # one more, for the next state of the last step
        memory = memories[random.integers(len(memories))]
        whole.append(_episode(memory))
        length += len(memory.actions)
    joined = {name: np.concatenate([x[name] for x in whole]) for name in whole[0]}
    states = joined.pop("states")[: steps + 1]
    return {"states": states, **{name: x[:steps] for name, x in joined.items()}}


def _episode(memory: Memory) -> dict[str, np.ndarray]:
    length = len(memory.actions)
    action_weight = np.ones(length, np.float32)
    next_weight = np.ones(length, np.float32)
    next_weight[-1] = 0.0  # the next state belongs to another episode
    return {
        "states": memory.states[:length],
        "task": np.repeat(memory.task[None], length, axis=0),
        "starts": np.arange(length) == 0,
        "actions": memory.actions,
        "action_weight": action_weight,
        "next_weight": next_weight,
    }
