"""Episodes on a changed robot, and what is kept of them, for `adaptation`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from edge.robots.changed_robot import ChangedRobot, RobotChange
from edge.robots.clock import SimulatedClock
from edge.robots.experts import GaussianNoise, ScriptedExpert
from edge.robots.metaworld_robot import MetaworldRobot
from edge.robots.robot import Observation
from model import step_function, surfaces
from model.config import WaveCoreConfig
from rlds.episode import Episode

MAX_STEPS = 500
CAREFUL_SPEED = 0.5
"""An operator who notices that the arm responds late moves it half as fast. At full
speed the scripted experts overshoot: with a latency of 8 steps none of 10 episodes of
button-press or window-open succeeds, at half speed all do."""

OPERATOR_NOISE = 0.2
"""Standard deviation of the noise of the operator's hand, which no label contains: the
corrections show what to do off course. Twice that of the package's demonstrations,
because four episodes of a task must show it instead of fifty."""

Driver = Literal["operator", "model"]
"""Who drives: an operator, who sees the world as it is, or the model."""

Arrays = Mapping[str, Any]
Deltas = dict[str, Any]


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


class LivedEpisode(NamedTuple):
    """An episode, whether it succeeded, and the deltas after it."""

    memory: Memory
    success: bool
    deltas: Deltas


class _Operator:
    """An operator who shows a task on a changed robot and sees the world as it is."""

    def __init__(self, task: str, change: RobotChange, seed: int) -> None:
        self._expert = ScriptedExpert(task)
        self._speed = CAREFUL_SPEED if change.latency_steps else 1.0
        self._noise = GaussianNoise(OPERATOR_NOISE)
        self._noise.reset(seed)

    def propose(self, observation: Observation) -> tuple[np.ndarray, np.ndarray]:
        """What should be done, and what the noisy hand does."""
        action = self._expert.propose(observation)
        action[:3] *= self._speed  # the gripper needs its whole force
        moved = np.clip(self._noise.disturb(action), -1.0, 1.0)
        return action, moved.astype(np.float32)


class Body:
    """Robots of several tasks, and a model that drives them with given deltas."""

    def __init__(
        self, sizes: WaveCoreConfig, weights: Arrays, tasks: Sequence[str]
    ) -> None:
        """Compiles the step and opens one robot per task when it is first used."""
        self.tasks, self._sizes, self._weights = tuple(tasks), sizes, weights
        model = step_function.from_weights(sizes, weights)
        self._step = jax.jit(step_function.make(model))
        self._robots: dict[str, MetaworldRobot] = {}

    def drive(
        self,
        task: str,
        change: RobotChange,
        seed: int,
        deltas: Deltas,
        learn: Callable[[Deltas, list[np.ndarray], np.ndarray], Deltas] | None = None,
        *,
        driver: Driver = "model",
    ) -> LivedEpisode:
        """Runs one episode until success or `MAX_STEPS`.

        Args:
            task: one of this body's tasks.
            change: what is different about the robot.
            seed: decides where things are, and how the operator's hand shakes.
            deltas: added to the model's surfaces.
            learn: called after each step with deltas, states so far and the task;
                returns the deltas of the next step.
            driver: who drives; the action to imitate is what an operator intends, not
                what the noisy hand does.
        """
        robot = ChangedRobot(self._robot(task), change)
        choice = np.eye(len(self.tasks), dtype=np.float32)[self.tasks.index(task)]
        operator = _Operator(task, change, seed) if driver != "model" else None
        adapted = self._with_deltas(deltas)
        carry: Any = np.zeros(self._sizes.carry_size, np.float32)
        states, actions, success = [robot.reset(seed).state], [], False
        told: list[np.ndarray] = []
        while len(actions) < MAX_STEPS and not success:
            if operator is not None:
                action, executed = operator.propose(robot.unchanged_observation)
            else:
                prediction = self._step(
                    observation_state=states[-1], task=choice, carry=carry, **adapted
                )
                carry = prediction["next_carry"]
                action = executed = np.clip(np.asarray(prediction["action"]), -1.0, 1.0)
            done = robot.act(executed)
            states.append(done.observation.state)
            actions.append(action)
            told.append(executed)
            success = bool(done.success)
            if learn is not None:
                deltas = learn(deltas, states, choice)
                adapted = self._with_deltas(deltas)
        memory = Memory(np.array(states), np.array(actions), choice, np.array(told))
        return LivedEpisode(memory, success, deltas)

    def _robot(self, task: str) -> MetaworldRobot:
        if task not in self._robots:
            self._robots[task] = MetaworldRobot(task, SimulatedClock(0))
        return self._robots[task]

    def _with_deltas(self, deltas: Deltas) -> dict[str, Any]:
        prefix = step_function.SURFACE_PREFIX
        return {
            prefix + name: jax.device_put(
                self._weights[prefix + name] + np.asarray(deltas[name])
            )
            for name in surfaces.SURFACES
        }


_BODIES: list[Body] = []


def prepare(sizes: WaveCoreConfig, weights: Arrays, tasks: Sequence[str]) -> None:
    """Prepares this process for `count_successes`."""
    _BODIES[:] = [Body(sizes, weights, tasks)]


def count_successes(
    task: str, change: RobotChange, deltas: Deltas, first_seed: int, count: int
) -> int:
    """Episodes out of `count` in which the model succeeds."""
    seeds = range(first_seed, first_seed + count)
    return sum(_BODIES[0].drive(task, change, s, deltas).success for s in seeds)
