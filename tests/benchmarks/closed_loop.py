"""Runs many episodes at once: processes step robots, one model decides for all.

Each worker process owns some of the tasks and one or more robots of each; the model
takes the observations of all robots of a worker as one batch. Meanwhile the other
worker steps. An episode ends at its first success or after its last step, as in
`edge.control.loop.run_episode`, and executed actions pass the same safety limits.
"""

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import connection

import numpy as np

from cloud.evaluate.success_rate import SuccessRate
from edge.control import loop
from edge.control.safety import DEFAULT_MAX_STEPS, config_for, safe_action
from edge.robots import clock, registry

Decide = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""States [b n], task indices [b], carry [b c] to actions [b a] and carry [b c]."""


def measure_success(
    robots: Sequence[str],
    seeds: Sequence[int],
    decide: Decide,
    carry_size: int,
    lanes_per_robot: int = 2,
    workers: int = 2,
) -> dict[str, SuccessRate]:
    """Runs every robot on every seed and returns the success rate of each robot.

    The task index i that `decide` gets belongs to `robots[i]`.
    """
    context = multiprocessing.get_context("spawn")
    pipes: dict[connection.Connection, tuple[np.ndarray, np.ndarray]] = {}
    processes = []
    for worker in range(min(workers, len(robots))):
        indices = np.arange(worker, len(robots), workers)
        here, there = context.Pipe()
        names = {int(i): robots[int(i)] for i in indices}
        process = context.Process(
            target=_work, args=(there, names, tuple(seeds), lanes_per_robot)
        )
        process.start()
        there.close()
        processes.append(process)
        tasks = np.repeat(indices, lanes_per_robot).astype(np.int32)
        pipes[here] = (tasks, np.zeros((len(tasks), carry_size), np.float32))
    successes = dict.fromkeys(robots, 0)
    while pipes:
        ready = connection.wait(list(pipes))
        for pipe in [x for x in pipes if x in ready]:
            message = pipe.recv()
            if isinstance(message, dict):
                for index, count in message.items():
                    successes[robots[index]] = count
                del pipes[pipe]
                continue
            states, begins = message
            tasks, carry = pipes[pipe]
            carry = np.where(begins[:, None], np.float32(0), carry)
            actions, carry = decide(states, tasks, carry)
            pipes[pipe] = (tasks, carry)
            pipe.send(actions)
    for process in processes:
        process.join()
    return {name: SuccessRate(count, len(seeds)) for name, count in successes.items()}


def measure_expert_success(
    robots: Sequence[str], seeds: Sequence[int], workers: int = 2
) -> dict[str, SuccessRate]:
    """Success rates of the robots' own experts, without noise."""
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        jobs = [(name, tuple(seeds)) for name in robots]
        counts = pool.map(_expert_successes, jobs, chunksize=1)
    return {
        name: SuccessRate(count, len(seeds))
        for name, count in zip(robots, counts, strict=True)
    }


def _expert_successes(job: tuple[str, Sequence[int]]) -> int:
    name, seeds = job
    robot = registry.open_robot(name, clock.SimulatedClock(0))
    expert, safety = registry.open_expert(name), config_for(robot.spec)
    count = 0
    for seed in seeds:
        result = loop.run_episode(
            robot, expert, safety, None, seed, DEFAULT_MAX_STEPS, loop.Pace.SIMULATED
        )
        count += bool(result.success)
    return count


class _Lane:
    """One robot and the seeds it shares with the other robots of its task."""

    def __init__(self, name: str, seeds: list[int]) -> None:
        self._robot = registry.open_robot(name, clock.SimulatedClock(0))
        self._safety = config_for(self._robot.spec)
        self._seeds = seeds
        self.successes = 0
        self.done = self.begins = False
        self.state = np.zeros(self._robot.spec.state_size, np.float32)
        self.begin()

    def begin(self) -> None:
        """Takes the next seed, or is done."""
        self._previous: np.ndarray | None = None
        self._steps = 0
        self.done = not self._seeds
        if not self.done:
            self.state = self._robot.reset(self._seeds.pop(0)).state
            self.begins = True

    def act(self, action: np.ndarray) -> None:
        """Acts for one control period; begins the next episode if this one ends."""
        safe = safe_action(self._safety, action, self._previous)
        seen = self._robot.act(safe.action)
        self._previous, self._steps = safe.action, self._steps + 1
        self.state, self.begins = seen.observation.state, False
        at_limit = self._steps == DEFAULT_MAX_STEPS
        if seen.success or seen.terminal or safe.violation or at_limit:
            self.successes += bool(seen.success)
            self.begin()


def _work(
    pipe: connection.Connection,
    names: Mapping[int, str],
    seeds: tuple[int, ...],
    lanes_per_robot: int,
) -> None:
    """Runs a worker: observations out, actions in, successes out at the end."""
    lanes: list[_Lane] = []
    lanes_of: dict[int, list[_Lane]] = {}
    for index, name in names.items():
        shared = list(seeds)
        lanes_of[index] = [_Lane(name, shared) for _ in range(lanes_per_robot)]
        lanes += lanes_of[index]
    while not all(lane.done for lane in lanes):
        states = np.stack([lane.state for lane in lanes])
        pipe.send((states, np.array([lane.begins for lane in lanes])))
        for lane, action in zip(lanes, pipe.recv(), strict=True):
            if not lane.done:
                lane.act(action)
    pipe.send({i: sum(lane.successes for lane in own) for i, own in lanes_of.items()})
