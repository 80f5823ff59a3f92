"""Memories as the arrays of fixed shapes that a package's functions take.

    states    [r t+1 n] f32, the last one of an episode only as a next state
    actions   [r t a] f32, to imitate: what a person did who took over, else proposals
    imitate   [r t] f32, if the package asks for it: 1 where the action is worth
              imitating, 0 where a package drove that a person corrected
    executed  [r t a] f32, what the robot was given
    task      [r k] f32, one-hot in the order of the package's tasks
    length    [r] i32, steps; 0 where there is no episode
    kind      [r] i32, known, lived or seen
    audio_mel [r t u] f32, if the package hears: the coarse form, as `step` gets it
    image     [r t h q*w 3] u8, if it sees: the frames of its cameras, beside each other

r episodes of at most t steps: an episode that is longer is cut at their end. The shapes
come from the package, so another package may remember more, and one from before there
was `imitate` learns as it did: from the package's own steps of a corrected episode too.
The last step of a recording has no next state, so it only gives one.

What is imitated is decided where the forge decides it (`rlds/imitation.py`).
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from edge.errors import LearningError
from release.package import PackageManifest, TensorSpec
from rlds import coarse_sound, frames, imitation
from rlds.episode import Episode
from rlds.errors import PictureError
from rlds.spec import picture_field

MEMORIES, EPISODES = "memories", "episodes"
"""Arguments of a package's functions that hold memories."""

_SOUND: Final = "audio_mel"
_STEPS: Final[Mapping[str, str]] = {
    "actions": "proposed_action",
    "executed": "action",
    _SOUND: "observation/audio_mel",
}
_IMITATE: Final = "imitate"
_IMAGE: Final = "image"
_ALONE: Final = ("states", "task", "length", "kind", _IMITATE, _IMAGE)
_NEEDED: Final = ("states", "actions", "length")

Arrays = dict[str, np.ndarray[Any, Any]]


def find_shapes(
    package: PackageManifest, functions: Iterable[str], argument: str
) -> dict[str, TensorSpec]:
    """Shapes of the arrays of an argument, by name; empty if no function takes it.

    Args:
        package: the package.
        functions: names of functions of the package.
        argument: `MEMORIES` or `EPISODES`.

    Raises:
        LearningError: the functions take what a robot does not remember, or the
            argument in two shapes.
    """
    found: dict[str, TensorSpec] = {}
    source = f"package {package.digest[:12]}"
    for function in functions:
        for spec in package.functions[function].inputs:
            top, _, name = spec.name.partition("/")
            if top != argument:
                continue
            if found.setdefault(name, spec) != spec:
                raise LearningError(source, f"one shape of {spec.name}", "two")
    unknown = sorted(found.keys() - {*_STEPS, *_ALONE})
    if unknown:
        raise LearningError(
            source,
            f"functions of {argument} that this robot keeps",
            f"{argument}/{unknown[0]}",
        )
    missing = [name for name in _NEEDED if name not in found]
    if found and missing:
        raise LearningError(
            source, f"{argument}/{missing[0]} beside the others", "none"
        )
    for spec in found.values():
        _check_axes(package, spec, found)
    return found


def count_room(shapes: Mapping[str, TensorSpec]) -> int:
    """How many episodes the arrays hold."""
    return shapes["actions"].shape[0] if shapes else 0


def count_steps(shapes: Mapping[str, TensorSpec]) -> int:
    """How many steps of each episode the arrays hold."""
    return shapes["actions"].shape[1] if shapes else 0


def fill(
    shapes: Mapping[str, TensorSpec],
    episodes: Sequence[tuple[Episode, int]],
    tasks: Sequence[str],
    cameras: Sequence[str] | None = None,
) -> Arrays:
    """Puts episodes, each with its kind, into the arrays, in their order.

    Args:
        shapes: of the arrays, as `find_shapes` finds them.
        episodes: as many as there is room for, of tasks of the package.
        tasks: tasks of the package, in its order.
        cameras: names of the cameras that the package reads; None for those of the
            episodes.

    Raises:
        LearningError: an episode has other channels than the arrays.
    """
    arrays: Arrays = {n: np.zeros(s.shape, s.dtype) for n, s in shapes.items()}
    longest = shapes["actions"].shape[1]
    for row, (episode, kind) in enumerate(episodes):
        length = min(episode.num_steps - 1, longest)
        own = {
            "length": length,
            "kind": kind,
            "task": np.arange(len(tasks)) == _index(tasks, episode),
        }
        for name, value in own.items():
            if name in arrays:
                arrays[name][row] = value
        _fill_steps(arrays["states"][row], episode, "observation/state", length + 1)
        for name, field in _STEPS.items():
            if name in arrays:
                _fill_steps(arrays[name][row], episode, field, length)
        if _SOUND in arrays:
            heard = episode.steps[_STEPS[_SOUND]]
            coarse = coarse_sound.coarsen(heard, episode.steps["t_monotonic_ns"])
            arrays[_SOUND][row][:length] = coarse[:length]
        imitated = imitation.actions_to_imitate(episode.steps)
        arrays["actions"][row][:length] = imitated[:length]
        if _IMAGE in arrays:
            _fill_frames(arrays[_IMAGE][row], episode, length, cameras)
        if _IMITATE in arrays:
            worth = imitation.steps_to_imitate(episode.steps)
            arrays[_IMITATE][row][:length] = worth[:length]
    return arrays


def _fill_steps(
    row: np.ndarray[Any, Any], episode: Episode, field: str, count: int
) -> None:
    values = episode.steps.get(field)
    if values is None or values.shape[1:] != row.shape[1:]:
        raise LearningError(
            f"episode {episode.metadata.episode_id}",
            f"{field} of shape {list(row.shape[1:])}",
            "none" if values is None else list(values.shape[1:]),
        )
    row[:count] = values[:count]


def _fill_frames(
    row: np.ndarray[Any, Any],
    episode: Episode,
    count: int,
    cameras: Sequence[str] | None,
) -> None:
    """Decodes the pictures of an episode; one that does not decode stays black."""
    there = names = episode.spec.picture_fields
    if cameras is not None and list(cameras) != [""]:
        names = tuple(map(picture_field, cameras))
    height, wide = row.shape[1:3]
    if not names or wide % len(names) or not set(names) <= set(there):
        raise LearningError(
            f"episode {episode.metadata.episode_id}",
            f"{', '.join(names) or 'pictures'} in {wide} columns beside each other",
            ", ".join(there) or "none",
        )
    width = wide // len(names)
    for number, name in enumerate(names):
        columns = slice(number * width, (number + 1) * width)
        images = episode.steps[name]
        for step in range(count):
            if step and images[step] == images[step - 1]:
                row[step, :, columns] = row[step - 1, :, columns]
                continue
            with contextlib.suppress(PictureError):
                row[step, :, columns] = frames.decode(images[step], width, height, name)


def _index(tasks: Sequence[str], episode: Episode) -> int:
    try:
        return tasks.index(episode.metadata.task)
    except ValueError:
        raise LearningError(
            f"episode {episode.metadata.episode_id}",
            f"one of the tasks {list(tasks)}",
            episode.metadata.task,
        ) from None


def _check_axes(
    package: PackageManifest, spec: TensorSpec, found: Mapping[str, TensorSpec]
) -> None:
    """Checks that an array has the episodes and steps that `actions` has."""
    rows, steps = found["actions"].shape[:2] if found["actions"].shape[1:] else (0, 0)
    name = spec.name.partition("/")[2]
    axes: tuple[int, ...] = (rows,)
    if name == "states":
        axes = (rows, steps + 1)
    elif name in _STEPS or name in (_IMITATE, _IMAGE):
        axes = (rows, steps)
    if not rows or spec.shape[: len(axes)] != axes:
        raise LearningError(
            f"package {package.digest[:12]}",
            f"{spec.name} of the axes {list(axes)}",
            list(spec.shape),
        )
