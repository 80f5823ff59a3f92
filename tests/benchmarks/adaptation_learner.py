"""A robot that learns from its episodes, with the functions of a package."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from edge.loops.calls import run_calls
from edge.robots.changed_robot import NO_CHANGE, RobotChange
from model import step_function, surfaces
from model.export import functions
from model.learn.memories import KNOWN, LIVED
from model.wavecore import WaveCore
from release.learning_plan import Calls
from tests.benchmarks import adaptation_life as life
from tests.benchmarks.adaptation_life import Memory

FAST_WINDOW = functions.FAST_STEPS
SEEDS_OF_A_LIFE = 1000
"""Difference of the first seeds of two lives."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a robot lives.

    Attributes:
        episodes: number of episodes, the tasks in turn.
        rest_period: episodes from one rest to the next; at a rest the robot
            consolidates.
        driver: who drives, see `life.Driver`.
        fast: whether there is also a fast update after each control step.
        first_seed: seed of the first episode; the others follow in order.
    """

    episodes: int = 20
    rest_period: int = 5
    driver: life.Driver = "operator"
    fast: bool = False
    first_seed: int = 50_000


class Learner:
    """What a robot does to learn."""

    def __init__(
        self,
        model: WaveCore,
        tasks: Sequence[str],
        known: Sequence[Memory],
        loop: Sequence[Calls] | None = None,
    ) -> None:
        """Makes the functions; each is compiled when it is first called.

        Args:
            model: the trained model.
            tasks: tasks in the order of the one-hot input.
            known: memories of the unchanged robot, which must not be forgotten.
            loop: what the robot calls at a rest; by default the package's slow loop.
        """
        weights = step_function.weights(model)
        self._model, self._tasks, self._known = model, tasks, known
        self._body = life.Body(model.config, weights, tasks)
        self._weights = jax.device_put(weights)
        self._carry = weights["carry"]
        made = functions.learning(model)
        self._functions = {n: (jax.jit(f.run), f.inputs) for n, f in made.items()}
        self._loop = loop or [Calls(**one) for one in functions.plan()["slow"]]

    def no_deltas(self) -> life.Deltas:
        """A delta of zeros for every surface."""
        prefix = step_function.SURFACE_PREFIX
        return {
            name: np.zeros(self._weights[prefix + name].shape, np.float32)
            for name in surfaces.SURFACES
        }

    def remember_own(self, episodes: int, first_seed: int = 40_000) -> None:
        """Drives the unchanged robot; what succeeds becomes what must not be forgotten.

        Args:
            episodes: number of episodes, the tasks in turn.
            first_seed: seed of the first one; the others follow in order.
        """
        nothing = self.no_deltas()
        driven = [
            self._body.drive(
                self._tasks[i % len(self._tasks)], NO_CHANGE, first_seed + i, nothing
            )
            for i in range(episodes)
        ]
        self._known = [one.memory for one in driven if one.success]

    def live(
        self, change: RobotChange, settings: Settings, number: int = 0
    ) -> life.Deltas:
        """Lives the episodes of the settings on a changed robot; returns its deltas.

        Args:
            change: what is different about the robot.
            settings: how it lives.
            number: number of this life; other lives have other episodes.
        """
        first_seed = settings.first_seed + SEEDS_OF_A_LIFE * number
        deltas = self.no_deltas()
        lived: list[Memory] = []
        for index in range(settings.episodes):
            episode = self._body.drive(
                self._tasks[index % len(self._tasks)],
                change,
                first_seed + index,
                deltas,
                self._learn if settings.fast else None,
                driver=settings.driver,
            )
            deltas = episode.deltas
            if episode.success or settings.driver != "model":
                lived.append(episode.memory)
            rests, rest = divmod(index + 1, settings.rest_period)
            if lived and not rest:
                deltas = self._rest(lived, deltas, rests - 1, number)
        return deltas

    def _learn(
        self, deltas: life.Deltas, states: Sequence[np.ndarray], task: np.ndarray
    ) -> life.Deltas:
        """Makes a fast update over the last steps."""
        if len(states) <= FAST_WINDOW:
            return deltas
        recent = {
            "states": np.stack(states[-FAST_WINDOW - 1 :]),
            "task": np.repeat(task[None], FAST_WINDOW, axis=0),
            "starts": np.zeros(FAST_WINDOW, bool),
            "weight": np.ones(FAST_WINDOW, np.float32),
            "carry": self._carry,
        }
        update, _ = self._functions["fast_update"]
        return {**deltas, **update(self._weights, deltas, recent)["deltas"]}

    def _rest(
        self, lived: Sequence[Memory], deltas: life.Deltas, rested: int, number: int
    ) -> life.Deltas:
        """Consolidates after `rested` earlier times; the pull is to where it begins."""
        memories = fill_memories(
            functions.memory_shapes(self._model.config), self._known, lived
        )
        values = {
            "weights": self._weights,
            "deltas": deltas,
            "last_good": deltas,
            "memories": jax.device_put(memories),
            "consolidations": np.int32(rested),
            "seed": np.int32(1000 * number + rested),
        }
        ended = run_calls(self._loop, self._functions, values)
        assert ended is not None  # nothing stops it
        return dict(jax.device_get(ended["deltas"]))


def fill_memories(
    shapes: Mapping[str, Any], known: Sequence[Memory], lived: Sequence[Memory]
) -> dict[str, np.ndarray]:
    """The latest episodes that fit, as arrays; lived ones have precedence."""
    arrays = {name: np.zeros(x.shape, x.dtype) for name, x in shapes.items()}
    room, longest = arrays["actions"].shape[:2]
    lived = lived[-room:]
    known = known[-(room - len(lived)) :] if len(lived) < room else []
    episodes = [(KNOWN, x) for x in known] + [(LIVED, x) for x in lived]
    for slot, (kind, one) in enumerate(episodes):
        length = min(len(one.actions), longest)
        arrays["states"][slot, : length + 1] = one.states[: length + 1]
        arrays["actions"][slot, :length] = one.actions[:length]
        arrays["imitate"][slot, :length] = 1.0
        arrays["executed"][slot, :length] = one.executed[:length]
        arrays["task"][slot] = one.task
        arrays["length"][slot], arrays["kind"][slot] = length, kind
    return arrays
