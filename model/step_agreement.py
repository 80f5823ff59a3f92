"""How far an exported step is from the model, on recorded episodes.

Two questions have different answers. From the same carry: what one step gets wrong.
Free-running: what is left of it when the exported step goes on from its own carry
through a whole episode, as it does on a robot.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import numpy as np

from model import recorded_senses, senses, step_function
from model.config import WaveCoreConfig
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

    def record(self) -> dict[str, float | None]:
        """The same as plain numbers; None for what is not finite, as JSON has it."""
        found = dataclasses.asdict(self)
        return {n: x if np.isfinite(x) else None for n, x in found.items()}


def measure(
    model: WaveCore, tasks: Sequence[str], engine: Engine, episodes: Sequence[Episode]
) -> Agreement:
    """Runs model and exported step side by side over all steps of the episodes.

    Args:
        model: what was exported.
        tasks: task names in the order of the one-hot input.
        engine: the exported step.
        episodes: at least one step of one of the tasks.

    Raises:
        ShapeMismatchError: the episodes are of another robot.
        FrameError: an episode's image does not decode.
    """
    reference = jax.jit(step_function.make(model))
    fixed = step_function.initial_surfaces(model)
    same, actions, free, missed = [], [], [], []
    for episode in episodes:
        carry = free_carry = np.zeros(model.config.carry_size, np.float32)
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
    """What an episode gives to each step: observation and task, neither carry nor
    surfaces. A sense that was not recorded is silent.

    Raises:
        FrameError: an image does not decode.
    """
    task = np.eye(len(tasks), dtype=np.float32)[tasks.index(episode.metadata.task)]
    states = np.asarray(episode.steps["observation/state"], np.float32)
    recorded = recorded_senses.of(config, episode, senses.shapes(config))
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
