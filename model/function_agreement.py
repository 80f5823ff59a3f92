"""How far exported learning functions are from the model's, on recorded episodes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from model import recorded_senses, senses, stablehlo, step_function
from model.config import WaveCoreConfig
from model.functions import Function
from model.wavecore import WaveCore
from rlds.episode import Episode

_DELTA = 1e-3
"""Every number of the deltas that the functions are compared with: small enough to be
inside the bounds, and not nothing."""

Arrays = Mapping[str, Any]


def measure(function: Function, content: bytes, arguments: Arrays) -> float:
    """Largest difference of any output between a function and its file.

    Absolute, and relative where the function's number is above one. Infinite where one
    says true and the other false.
    """
    ours = _compiled(function.run, arguments)(**arguments)
    theirs = _compiled(stablehlo.load(content), arguments)(**arguments)
    return max(map(_difference, jax.tree.leaves(ours), jax.tree.leaves(theirs)))


def arguments(
    model: WaveCore,
    function: Function,
    tasks: Sequence[str],
    episodes: Sequence[Episode],
) -> dict[str, Any]:
    """Arguments of a learning function, filled with what the episodes recorded.

    Windows follow each other through the episodes, one episode after the other, and
    are cut short by weights of zero where an episode ends.

    Raises:
        FrameError: an episode's image does not decode.
    """
    given: dict[str, Any] = {}
    for name, shapes in function.inputs.items():
        if name == "weights":
            given[name] = step_function.weights(model)
        elif "states" in shapes:
            given[name] = _recorded(model.config, shapes, tasks, episodes)
        else:
            given[name] = {
                n: np.full(x.shape, _DELTA, x.dtype) for n, x in shapes.items()
            }
    return given


def _compiled(run: Callable[..., Any], arguments: Arrays) -> Callable[..., Any]:
    """Both sides are run once, so compiling is what takes time; it is cut by half."""
    lowered = jax.jit(run).lower(**arguments)
    return lowered.compile(compiler_options={"xla_backend_optimization_level": 0})


def _recorded(
    config: WaveCoreConfig,
    shapes: Arrays,
    tasks: Sequence[str],
    episodes: Sequence[Episode],
) -> dict[str, np.ndarray]:
    """Windows with the names and shapes wanted; what no episode holds is zero."""
    *batch, steps, _ = shapes["states"].shape
    count, steps = (batch[0] if batch else 1), steps - 1
    names = [name for name in senses.shapes(config) if name in shapes]
    windows = [
        _window(tasks, episode, sensed, first, steps)
        for episode in episodes
        for sensed in [recorded_senses.of(config, episode, names)]
        for first in range(0, len(episode.steps["is_first"]), steps)
    ]
    windows = [windows[i % len(windows)] for i in range(count)]
    arrays = {n: np.stack([w[n] for w in windows]) for n in windows[0]}
    return {
        name: (arrays[name] if batch else arrays[name][0]).astype(x.dtype)
        if name in arrays
        else np.zeros(x.shape, x.dtype)
        for name, x in shapes.items()
    }


def _window(
    tasks: Sequence[str],
    episode: Episode,
    sensed: Mapping[str, np.ndarray],
    first: int,
    steps: int,
) -> dict[str, np.ndarray]:
    length = len(episode.steps["is_first"])
    places = np.arange(first, first + steps)
    known, followed = places < length, places + 1 < length
    places = np.minimum(places, length - 1)
    states = np.asarray(episode.steps["observation/state"])
    task = np.eye(len(tasks), dtype=np.float32)[tasks.index(episode.metadata.task)]
    return {
        "states": states[np.minimum(np.arange(first, first + steps + 1), length - 1)],
        "task": np.repeat(task[None], steps, axis=0),
        "starts": places == 0,
        "actions": np.asarray(episode.steps["proposed_action"])[places],
        "action_weight": known,
        "next_weight": followed,
        "weight": followed,
        **{name: x[places] for name, x in sensed.items()},
    }


def _difference(ours: Any, theirs: Any) -> float:  # noqa: ANN401 - arrays of JAX
    wanted, got = np.asarray(ours), np.asarray(theirs)
    if wanted.dtype == bool:
        return 0.0 if np.array_equal(wanted, got) else np.inf
    size = np.maximum(np.abs(wanted), 1.0)
    return float((np.abs(got - wanted) / size).max(initial=0.0))
