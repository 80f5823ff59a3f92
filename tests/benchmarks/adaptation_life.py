"""Episodes of a changed robot, and what is kept of them: the parts of `adaptation`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from edge.clock import SimulatedClock
from edge.operator_noise import GaussianNoise
from edge.robots.changed_robot import ChangedRobot, RobotChange
from edge.robots.metaworld_expert import ScriptedExpert
from edge.robots.metaworld_robot import MetaworldRobot
from model import step_function, surfaces
from model.config import WaveCoreConfig
from rlds.episode import Episode

MAX_STEPS = 500
CAREFUL_SPEED = 0.5
"""An operator who notices that the arm answers late moves it half as fast. At full
speed the scripted experts overshoot: at 8 steps none of 10 episodes of button-press or
window-open succeeds, at half speed all do."""

OPERATOR_NOISE = 0.2
"""Standard deviation of what the operator's hand adds, which no label contains: the
corrections show what to do off course. Twice that of the package's demonstrations,
because four episodes of a task have to show it instead of fifty."""

Arrays = Mapping[str, Any]
Deltas = dict[str, Any]


class Memory(NamedTuple):
    """One episode as replay needs it.

    Attributes:
        states: [t+1 n] f32, the last one only as a next state.
        actions: [t a] f32, to imitate.
        task: [k] f32, one-hot.
    """

    states: np.ndarray
    actions: np.ndarray
    task: np.ndarray


class Lived(NamedTuple):
    """An episode, whether it succeeded, and the deltas after it."""

    memory: Memory
    success: bool
    deltas: Deltas


class Body:
    """Robots of several tasks, and a model to drive them with some deltas."""

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
        operated: bool = False,
    ) -> Lived:
        """One episode until success or `MAX_STEPS`.

        Args:
            task: one of this body's.
            change: what is different about the robot.
            seed: where things are.
            deltas: added to the model's surfaces.
            learn: called after each step with deltas, states so far and the task;
                returns the deltas of the next step.
            operated: whether an operator drives, who sees the world as it is, instead
                of the model.
        """
        robot = ChangedRobot(self._robot(task), change)
        choice = np.eye(len(self.tasks), dtype=np.float32)[self.tasks.index(task)]
        expert = ScriptedExpert(task)
        speed = CAREFUL_SPEED if change.latency_steps else 1.0
        adapted = self._adapted(deltas)
        carry: Any = np.zeros(self._sizes.carry_size, np.float32)
        states, actions, success = [robot.reset(seed).state], [], False
        noise = GaussianNoise(OPERATOR_NOISE)
        noise.reset(seed)
        while len(actions) < MAX_STEPS and not success:
            if operated:
                action = expert.propose(robot.unchanged_observation)
                action[:3] *= speed  # the gripper needs its whole force
            else:
                said = self._step(
                    observation_state=states[-1], task=choice, carry=carry, **adapted
                )
                carry = said["next_carry"]
                action = np.clip(np.asarray(said["action"]), -1.0, 1.0)
            executed = noise.disturb(action) if operated else action
            done = robot.act(np.clip(executed, -1.0, 1.0).astype(np.float32))
            states.append(done.observation.state)
            actions.append(action)
            success = bool(done.success)
            if learn is not None:
                deltas = learn(deltas, states, choice)
                adapted = self._adapted(deltas)
        memory = Memory(np.array(states), np.array(actions), choice)
        return Lived(memory, success, deltas)

    def _robot(self, task: str) -> MetaworldRobot:
        if task not in self._robots:
            self._robots[task] = MetaworldRobot(task, SimulatedClock(0))
        return self._robots[task]

    def _adapted(self, deltas: Deltas) -> dict[str, Any]:
        prefix = step_function.SURFACE_PREFIX
        return {
            prefix + name: jax.device_put(
                self._weights[prefix + name] + np.asarray(deltas[name])
            )
            for name in surfaces.SURFACES
        }


def remembered(episode: Episode, tasks: Sequence[str]) -> Memory:
    """A recorded demonstration as a memory; its last step has no next state."""
    task = np.eye(len(tasks), dtype=np.float32)[tasks.index(episode.metadata.task)]
    return Memory(
        np.asarray(episode.steps["observation/state"], np.float32),
        np.asarray(episode.steps["proposed_action"], np.float32)[:-1],
        task,
    )


def windows(
    random: np.random.Generator,
    lived: Sequence[Memory],
    known: Sequence[Memory],
    count: int,
    steps: int,
) -> dict[str, np.ndarray]:
    """Random windows for `consolidate_update`, every other one of the known robot.

    A window begins with its episode or anywhere in it; the first steps of one that
    begins later only wake the recurrence. Episodes shorter than a window leave the
    rest of it without weight.
    """
    kinds = [known if i % 2 else lived for i in range(count)]
    cut = [_window(random, kind[random.integers(len(kind))], steps) for kind in kinds]
    return {name: np.stack([one[name] for one in cut]) for name in cut[0]}


_WAKING_STEPS = 4


def _window(
    random: np.random.Generator, memory: Memory, steps: int
) -> dict[str, np.ndarray]:
    # Starts before the first step count as that: each episode's beginning, where the
    # model has least to go by, is seen more often than other steps.
    latest = max(1, len(memory.actions) - steps // 2)
    first = max(0, int(random.integers(-steps // 4, latest)))
    length = min(steps, len(memory.actions) - first)
    rows = np.minimum(np.arange(steps + 1), length) + first
    weight = np.zeros(steps, np.float32)
    weight[_WAKING_STEPS if first else 0 : length] = 1.0
    return {
        "states": memory.states[rows],
        "task": np.repeat(memory.task[None], steps, axis=0),
        "starts": np.zeros(steps, bool),
        "actions": memory.actions[np.minimum(rows[:-1], len(memory.actions) - 1)],
        "action_weight": weight,
        "next_weight": weight,
    }


_BODIES: list[Body] = []


def prepare(sizes: WaveCoreConfig, weights: Arrays, tasks: Sequence[str]) -> None:
    """Makes this process one that can run `successes`."""
    _BODIES[:] = [Body(sizes, weights, tasks)]


def successes(
    task: str, change: RobotChange, deltas: Deltas, first_seed: int, count: int
) -> int:
    """Episodes out of `count` in which the model succeeds."""
    seeds = range(first_seed, first_seed + count)
    return sum(_BODIES[0].drive(task, change, s, deltas).success for s in seeds)
