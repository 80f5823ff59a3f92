"""How much exported functions differ from the model, on recorded episodes.

For the step, two measurements differ. From the same carry: the error of a single step.
Free-running: the error when the exported step continues from its own carry through a
whole episode, as it does on a robot.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from model import jpeg_frames, senses, step_function
from model.config import WaveCoreConfig
from model.export import functions, stablehlo
from model.export.functions import Function
from model.learn.memories import KNOWN, LIVED
from model.wavecore import WaveCore
from rlds.episode import Episode

Vectors = Mapping[str, np.ndarray]
Engine = Callable[[Vectors], Vectors]
"""A step in some runtime: inputs by name to outputs by name."""


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Differences between an exported step and the model.

    An error is absolute, and relative where the model's number is above one.

    Attributes:
        step_error: largest error of any output, from the same carry.
        step_action_error: largest error of the action, from the same carry.
        free_action_error: largest error of the action, free-running.
        free_action_mean: mean error of the action, free-running.
        canary_action_error: mean absolute difference between the exported step's
            action, free-running, and the recorded one, in the robot's units.
    """

    step_error: float
    step_action_error: float
    free_action_error: float
    free_action_mean: float
    canary_action_error: float


def measure_step(
    model: WaveCore, tasks: Sequence[str], engine: Engine, episodes: Sequence[Episode]
) -> Agreement:
    """Runs model and exported step side by side over all steps of the episodes.

    Args:
        model: what was exported.
        tasks: task names in the order of the one-hot input.
        engine: the exported step.
        episodes: at least one step, of these tasks only.

    Raises:
        ShapeMismatchError: the episodes were recorded on another robot.
        FrameError: an episode's image does not decode.
    """
    reference = jax.jit(step_function.make(model))
    fixed = step_function.initial_surfaces(model)
    same, actions, free, missed = [], [], [], []
    for episode in episodes:
        carry = free_carry = np.zeros(model.config.step_carry_size, np.float32)
        wanted = np.asarray(episode.steps["proposed_action"], np.float64)
        for observed, recorded in zip(
            step_inputs(model.config, tasks, episode), wanted, strict=True
        ):
            inputs = {**observed, **fixed, "carry": carry}
            ours = {n: np.asarray(x) for n, x in reference(**inputs).items()}
            theirs = engine(inputs)
            same.append(max(_error(theirs[n], x).max() for n, x in ours.items()))
            actions.append(_error(theirs["action"], ours["action"]).max())
            freely = engine({**inputs, "carry": free_carry})
            free.append(_error(freely["action"], ours["action"]))
            missed.append(np.abs(freely["action"] - recorded))
            carry, free_carry = ours["next_carry"], freely["next_carry"]
    return Agreement(
        step_error=float(np.max(same)),
        step_action_error=float(np.max(actions)),
        free_action_error=float(np.max(free)),
        free_action_mean=float(np.mean(free)),
        canary_action_error=float(np.mean(missed)),
    )


def step_inputs(
    config: WaveCoreConfig, tasks: Sequence[str], episode: Episode
) -> Iterator[dict[str, np.ndarray]]:
    """Inputs of the step at each step of an episode, except carry and surfaces.

    A sense that was not recorded is silent: all zeros.

    Raises:
        FrameError: an image does not decode.
    """
    task = np.eye(len(tasks), dtype=np.float32)[tasks.index(episode.metadata.task)]
    states = np.asarray(episode.steps["observation/state"], np.float32)
    recorded = recorded_senses(config, episode, senses.shapes(config))
    sensed = {
        step_function.SENSE_PREFIX + name: x.astype(np.float32).reshape(len(x), -1)
        for name, x in recorded.items()
    }
    for t, state in enumerate(states):
        yield {
            "observation_state": state,
            "task": task,
            **{name: x[t] for name, x in sensed.items()},
        }


def _error(got: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    difference = np.abs(np.asarray(got, np.float64).reshape(wanted.shape) - wanted)
    return difference / np.maximum(np.abs(wanted), 1.0)


_OFFSET = 3.0
"""Typical changes of one step by which the sensors of every other window are off: what
a robot whose sensors have moved sees."""
_WINDOWS = 64
"""Windows that the gain of a fast update is measured on: more take time, fewer are
noisy."""
_DELTA = 1e-3
"""Value of every number of the deltas in the comparison: small enough to be inside the
bounds, but not zero."""

Arrays = Mapping[str, Any]


class Compared(NamedTuple):
    """What running a function beside its file showed.

    Attributes:
        error: largest difference of any output: absolute, and relative where the
            function's number is above one; infinite if a bool differs.
        outputs: what the function returned.
        memory_bytes: arguments, outputs and what the program needs between them.
        program: the file, compiled; it takes arguments of these shapes.
    """

    error: float
    outputs: dict[str, Any]
    memory_bytes: int
    program: Callable[..., dict[str, Any]]


def compare_function(function: Function, content: bytes, given: Arrays) -> Compared:
    """Runs a function and its file on the same arguments."""
    ours = _compile(function.run, given)(**given)
    program = _compile(stablehlo.load(content), given)
    theirs = program(**given)
    found = map(_difference, jax.tree.leaves(ours), jax.tree.leaves(theirs))
    sizes = program.memory_analysis()
    memory = (
        sizes.argument_size_in_bytes
        + sizes.output_size_in_bytes
        + sizes.temp_size_in_bytes
    )
    return Compared(max(found), dict(ours), memory, program)


def measure_fast_update(
    engine: Engine,
    update: Callable[..., Mapping[str, Any]],
    given: Arrays,
    states: Sequence[np.ndarray],
) -> float:
    """The share of what the fast update gains that it does not gain in some runtime.

    A gain is how far the world-model error falls by one call, from deltas of zero on,
    by the f32 function's own reckoning: what a runtime says of itself does not count.
    Both gains are sums over windows, half of them with all sensors off by `_OFFSET`
    typical changes of one step.

    Args:
        engine: the function in that runtime, of `functions.make_fast_update_flat`.
        update: the nested function, for arguments of the shapes of `given`.
        given: arguments of the nested function, by keyword.
        states: [t n] of each episode.

    Returns:
        0 if it gains as much, above 1 if it makes the robot worse; infinite if its
        outputs are not those of the function, or are not finite.
    """
    weights = given["weights"]
    zeros = {name: np.zeros_like(x) for name, x in given["deltas"].items()}
    off = _OFFSET * np.asarray(weights["backbone/change"], np.float32)
    steps = given["window"]["starts"].shape[0]
    f32 = other = 0.0
    for index, recorded in enumerate(_windows(states, steps)):
        window = dict(given["window"]) | {
            "states": recorded + off * (index % 2),
            "starts": np.arange(steps) == 0,
            "weight": np.ones(steps, np.float32),
        }
        ours = update(weights=weights, deltas=zeros, window=window)
        flat = functions.flat_names({"deltas": zeros, "window": window})
        theirs = engine({n: np.asarray(x, np.float32) for n, x in flat.items()})
        names = functions.flat_names(dict(ours)).keys()
        if theirs.keys() != names or not all(map(_is_finite, theirs.values())):
            return np.inf
        before = float(ours["loss_before"])
        f32 += before - min(before, float(ours["loss_after"]))
        if theirs["loss_after"] < theirs["loss_before"]:
            found = zeros | {
                name: theirs[f"deltas_{name}"] for name in dict(ours["deltas"])
            }
            judged = update(weights=weights, deltas=found, window=window)
            other += before - float(judged["loss_before"])
    lost = 1.0 - other / f32 if f32 else np.inf
    return lost if np.isfinite(lost) else np.inf


def _windows(states: Sequence[np.ndarray], steps: int) -> Iterator[np.ndarray]:
    """Windows [t+1 n] one after the other, the last one of an episode held at its end;
    at most `_WINDOWS`."""
    cut = (
        np.asarray(one, np.float32)[
            np.minimum(begin + np.arange(steps + 1), len(one) - 1)
        ]
        for one in states
        for begin in range(0, max(1, len(one) - steps), steps)
    )
    return itertools.islice(cut, _WINDOWS)


def _is_finite(x: np.ndarray) -> bool:
    return bool(np.isfinite(x).all())


def arguments(
    model: WaveCore,
    function: Function,
    tasks: Sequence[str],
    episodes: Sequence[Episode],
    known: Arrays | None = None,
) -> dict[str, Any]:
    """Arguments of a learning function, filled with what the episodes recorded.

    A window is the beginning of the first episode; of the memories every other one is
    lived.

    Args:
        model: the model.
        function: one of its functions.
        tasks: task names in the order of the one-hot input.
        episodes: at least one.
        known: what other functions returned, by name; used instead of what follows.

    Raises:
        FrameError: an episode's image does not decode.
    """
    given: dict[str, Any] = {}
    for name, shapes in function.inputs.items():
        if known is not None and name in known:
            given[name] = known[name]
        elif name == "weights":
            given[name] = step_function.weights(model)
        elif name in ("memories", "episodes"):
            given[name] = _remember(model.config, shapes, tasks, episodes)
        elif isinstance(shapes, jax.ShapeDtypeStruct):
            given[name] = np.ones(shapes.shape, shapes.dtype)
        elif "states" in shapes:
            given[name] = _cut_windows(model.config, shapes, tasks, episodes)
        else:
            given[name] = {
                n: np.full(x.shape, _DELTA, x.dtype) for n, x in shapes.items()
            }
    return given


def _compile(run: Callable[..., Any], arguments: Arrays) -> jax.stages.Compiled:
    """Compiles without optimisation: each side runs only once, and this halves the
    time."""
    lowered = jax.jit(run).lower(**arguments)
    return lowered.compile(compiler_options={"xla_backend_optimization_level": 0})


def _remember(
    config: WaveCoreConfig,
    shapes: Arrays,
    tasks: Sequence[str],
    episodes: Sequence[Episode],
) -> dict[str, np.ndarray]:
    """Memories of these shapes, the episodes over and over, every other one lived."""
    arrays = {name: np.zeros(x.shape, x.dtype) for name, x in shapes.items()}
    room, longest = arrays["actions"].shape[:2]
    recorded = [recorded_senses(config, e, senses.shapes(config)) for e in episodes]
    for slot in range(room):
        which = slot % len(episodes)
        steps = episodes[which].steps
        length = min(len(steps["is_first"]) - 1, longest)
        arrays["states"][slot, : length + 1] = steps["observation/state"][: length + 1]
        arrays["actions"][slot, :length] = steps["proposed_action"][:length]
        arrays["imitate"][slot, :length] = 1.0
        arrays["executed"][slot, :length] = steps["action"][:length]
        arrays["task"][slot, tasks.index(episodes[which].metadata.task)] = 1.0
        arrays["length"][slot] = length
        arrays["kind"][slot] = (LIVED, KNOWN)[slot // len(episodes) % 2]
        for name, x in recorded[which].items():
            arrays[name][slot, :length] = x[:length]
    return arrays


def _cut_windows(
    config: WaveCoreConfig,
    shapes: Arrays,
    tasks: Sequence[str],
    episodes: Sequence[Episode],
) -> dict[str, np.ndarray]:
    """The first steps of the first episode as a window of these shapes."""
    steps, episode = shapes["starts"].shape[0], episodes[0]
    length = len(episode.steps["is_first"])
    index = np.minimum(np.arange(steps), length - 1)
    states = np.asarray(episode.steps["observation/state"])
    task = np.eye(len(tasks), dtype=np.float32)[tasks.index(episode.metadata.task)]
    names = [name for name in senses.shapes(config) if name in shapes]
    arrays = {
        "states": states[np.minimum(np.arange(steps + 1), length - 1)],
        "task": np.repeat(task[None], steps, axis=0),
        "starts": index == 0,
        "weight": np.arange(steps) + 1 < length,
        **{n: x[index] for n, x in recorded_senses(config, episode, names).items()},
    }
    return {
        name: arrays[name].astype(x.dtype)
        if name in arrays
        else np.zeros(x.shape, x.dtype)
        for name, x in shapes.items()
    }


def _difference(ours: Any, theirs: Any) -> float:  # noqa: ANN401 - arrays of JAX
    wanted, got = np.asarray(ours), np.asarray(theirs)
    if wanted.dtype == bool:
        return 0.0 if np.array_equal(wanted, got) else np.inf
    size = np.maximum(np.abs(wanted), 1.0)
    return float((np.abs(got - wanted) / size).max(initial=0.0))


def recorded_senses(
    config: WaveCoreConfig, episode: Episode, names: Iterable[str]
) -> dict[str, np.ndarray]:
    """Senses at every step of an episode, by name: `image` u8 [t h w 3], `audio_mel`
    f32 [t u]. One that was not recorded is silent: all zeros.

    Args:
        config: sizes of the model.
        episode: an episode of the model's robot.
        names: senses of the model; `senses.shapes` holds all of them.

    Raises:
        FrameError: an image does not decode.
    """
    specs = senses.recorded_specs(config, len(episode.steps["is_first"]))
    found = {}
    for name in names:
        recorded = episode.steps.get(f"observation/{name}")
        sees = senses.fields(config)[name].dtype == "jpeg"
        if sees and episode.spec.picture_fields:
            recorded = jpeg_frames.decode_cameras(episode, config)
        if recorded is None:
            recorded = np.zeros(specs[name].shape)
        found[name] = np.asarray(recorded, specs[name].dtype)
    return found
