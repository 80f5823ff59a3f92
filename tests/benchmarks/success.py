"""Measures the success of one model on many tasks, against baselines, in closed loop.

    ./bazelw run //tests/benchmarks:success -- --suite=ten --json=ten.json

Suites: `ten` Meta-World tasks with 50 demonstrations each; `poor`, the same behind
poor sensors (`edge/robots/poor_sensors.py`); `fifty`, all tasks with 20 each. Every
model is trained by `cloud.train.fit.fit` on the same demonstrations for the same time:
a short run measures its speed, which gives the number of updates and so the cosine
schedule that ends the run. Compile time does not count. Then it controls 50 episodes of
each task, with seeds that no demonstration has. The scripted experts run the same
episodes.

Time is processor time divided by the number of processors: the time on a machine that
does nothing else, and the same on a shared machine. A model that leaves a processor
idle needs more time by the clock, which is printed too.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import dataclasses
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from flax import nnx

from base import command_line, durable_file
from cloud.console import open_console
from cloud.dataset import training_data
from cloud.evaluate import success_rate
from cloud.evaluate.success_rate import SuccessRate
from cloud.figure_table import FigureTable
from cloud.train import fit
from edge.robots import metaworld_robot
from model import normalisation
from model.config import WaveCoreConfig
from model.wavecore import WaveCore
from rlds.episode import Episode
from tests.benchmarks import closed_loop, commands, policies
from tests.benchmarks.demonstrations import Demonstrations, load_or_record

_SUITE = flags.DEFINE_enum("suite", "ten", ["ten", "poor", "fifty"], "suite of tasks")
_TASK = flags.DEFINE_multi_string(
    "task", [], "task of the suite; may be repeated; default: all"
)
_TRAIN_S = flags.DEFINE_float(
    "train_s", 300.0, "training time of each model, in seconds", 0.0
)
_DEMONSTRATIONS = flags.DEFINE_integer(
    "demonstrations", None, "demonstrations of each task; default: as in the suite", 1
)
_EPISODES = flags.DEFINE_integer("episodes", 50, "measured episodes of each task", 1)
_FIRST_SEED = flags.DEFINE_integer("first_seed", 10000, "seed of the first episode")
_SEED = flags.DEFINE_integer("seed", 0, "seed of initial parameters and batches")
_FOLDER = flags.DEFINE_string(
    "folder",
    str(Path.home() / ".cache" / "continuon" / "demonstrations"),
    "folder that keeps the recorded demonstrations",
)

_SPEED_UPDATES = 60
"""Updates of the run that measures the speed."""

_TEN = (
    "button-press-topdown-v3",
    "door-open-v3",
    "drawer-close-v3",
    "drawer-open-v3",
    "peg-insert-side-v3",
    "pick-place-v3",
    "push-v3",
    "reach-v3",
    "window-close-v3",
    "window-open-v3",
)

_ACTOR_NOISE = (0.1,)
"""Noise of every episode, so that demonstrations also show how to correct errors."""


@dataclasses.dataclass(frozen=True)
class Suite:
    """Tasks, and how a model is trained on them.

    Attributes:
        prefix: kind of robot, before the name of a task.
        demonstrations: episodes of each task.
        train: batches and windows of every model; the time gives the updates.
        wavecore: sizes of the measured WaveCore, besides those of the robot.
    """

    prefix: str
    demonstrations: int
    train: fit.TrainConfig
    wavecore: dict[str, int]

    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, sorted."""
        return metaworld_robot.task_names() if self.demonstrations < 50 else _TEN


_NEVER = 10**9

SUITES = {
    "ten": Suite(
        "metaworld:",
        50,
        fit.TrainConfig(checkpoint_period_updates=_NEVER),
        {"width": 128, "recurrence_size": 128, "hidden_size": 256},
    ),
    "poor": Suite(
        "metaworld-poor:",
        50,
        fit.TrainConfig(
            batch_size=16, sequence_length=64, checkpoint_period_updates=_NEVER
        ),
        {
            "width": 128,
            "recurrence_size": 128,
            "hidden_size": 256,
            "longest_memory_steps": 64,
        },
    ),
    "fifty": Suite(
        "metaworld:",
        20,
        fit.TrainConfig(checkpoint_period_updates=_NEVER),
        {"width": 192, "recurrence_size": 192, "hidden_size": 384},
    ),
}

BASELINES = {
    "lstm": ("lstm", 192, 2),
    "lstm 3M": ("lstm", 430, 2),
    "gru": ("gru", 192, 2),
    "mlp": ("mlp", 512, 3),
}
"""Name to kind, width and layers."""


_MODEL = flags.DEFINE_multi_string(
    "model",
    [],
    f"one of wavecore, {', '.join(BASELINES)}; may be repeated; default: all",
)


@dataclasses.dataclass(frozen=True)
class Measured:
    """Result of one model.

    Attributes:
        name: the model.
        parameters: its trained numbers.
        updates: updates in training.
        train_s: processor time of the updates, divided by the number of processors,
            without compiling.
        wall_s: the same by the clock.
        success: success rate by task.
    """

    name: str
    parameters: int
    updates: int
    train_s: float
    wall_s: float
    success: dict[str, SuccessRate]


def main(argv: list[str]) -> None:
    """Records, trains and evaluates each model, prints the table after each."""
    del argv
    suite = SUITES[_SUITE.value]
    tasks = tuple(_TASK.value) or suite.tasks()
    names = _MODEL.value or ["wavecore", *BASELINES]
    unknown = sorted(set(names) - {"wavecore", *BASELINES})
    if unknown or not set(tasks) <= set(suite.tasks()):
        raise flags.ValidationError(
            f"--model, --task: expected models of wavecore, {', '.join(BASELINES)} and"
            f" tasks of the suite, got {unknown or tasks}"
        )
    began = time.monotonic()
    episodes = _load_demonstrations(suite, tasks)
    steps = sum(episode.num_steps for episode in episodes)
    command_line.say(
        f"{len(episodes)} demonstrations, {steps} steps, recorded or read in"
        f" {time.monotonic() - began:.0f} s"
    )
    found = [_measure_expert(suite, tasks)]
    for name in names:
        found.append(_measure(name, suite, tasks, episodes))
        open_console().print(_table(found))
        commands.write_figures(_figures(found))


def _load_demonstrations(suite: Suite, tasks: tuple[str, ...]) -> list[Episode]:
    count = _DEMONSTRATIONS.value or suite.demonstrations
    wanted = [
        Demonstrations(suite.prefix + task, count, 0, _ACTOR_NOISE) for task in tasks
    ]
    return load_or_record(wanted, Path(_FOLDER.value))


def _measure_expert(suite: Suite, tasks: tuple[str, ...]) -> Measured:
    """The experts' success, which is also kept in the folder of demonstrations."""
    first, count = _FIRST_SEED.value, _EPISODES.value
    path = Path(_FOLDER.value) / f"expert-{first}-{count}.json"
    known = json.loads(path.read_bytes()) if path.exists() else {}
    missing = [task for task in tasks if task not in known]
    if missing:
        seeds = range(first, first + count)
        # Experts see the scene itself, so poor sensors do not affect them.
        rates = closed_loop.measure_expert_success(
            [f"metaworld:{t}" for t in missing], seeds
        )
        known |= {
            task: rate.successes
            for task, rate in zip(missing, rates.values(), strict=True)
        }
        durable_file.write(path, json.dumps(known, sort_keys=True).encode())
    success = {task: SuccessRate(known[task], count) for task in tasks}
    return Measured("scripted experts", 0, 0, 0.0, 0.0, success)


def _measure(
    name: str, suite: Suite, tasks: tuple[str, ...], episodes: list[Episode]
) -> Measured:
    make = _maker(name, suite)
    config = dataclasses.replace(suite.train, seed=_SEED.value)
    speed = _speed(episodes, tasks, config, make)
    updates = max(_SPEED_UPDATES, round(_TRAIN_S.value * speed))
    command_line.say(f"{name}: {speed:.1f} updates/s, {updates} updates")
    whole = dataclasses.replace(
        config, updates=updates, report_period_updates=min(500, max(1, updates // 3))
    )
    watch = _Watch(name)
    result = _fit(episodes, tasks, whole, make, watch)
    robots = [suite.prefix + task for task in tasks]
    first = _FIRST_SEED.value
    success = closed_loop.measure_success(
        robots,
        range(first, first + _EPISODES.value),
        _decide(result.model, len(tasks)),
        result.model.config.carry_size,
        lanes_per_robot=1 if len(tasks) > len(_TEN) else 2,
    )
    return Measured(
        name=name,
        parameters=_trained_numbers(result.model),
        updates=updates,
        train_s=watch.processor_s * updates / max(1, updates - watch.first),
        wall_s=result.seconds - result.compile_s,
        success=dict(zip(tasks, success.values(), strict=True)),
    )


def _speed(
    episodes: list[Episode],
    tasks: tuple[str, ...],
    config: fit.TrainConfig,
    make: fit.MakeModel,
) -> float:
    """Updates per second on a machine that does nothing else."""
    short = dataclasses.replace(
        config, updates=_SPEED_UPDATES, report_period_updates=_SPEED_UPDATES // 3
    )
    watch = _Watch(None)
    _fit(episodes, tasks, short, make, watch)
    return (watch.last - watch.first) / watch.processor_s


class _Watch:
    """Measures the processor time from the first report of a training to its last."""

    def __init__(self, name: str | None) -> None:
        self._name = name
        self._began_s = 0.0
        self.first = self.last = 0
        self.processor_s = 0.0

    def __call__(self, progress: fit.Progress) -> None:
        """Takes a report, and prints it if the training has a name."""
        spent_s = time.process_time() / (os.cpu_count() or 1)
        if not self.first:
            self.first, self._began_s = progress.update, spent_s
        self.last, self.processor_s = progress.update, spent_s - self._began_s
        if self._name:
            command_line.say(
                f"{self._name}: update {progress.update} of {progress.updates}, action"
                f" {progress.action_loss:.4f}, next {progress.next_loss:.4f}"
            )


def _fit(
    episodes: list[Episode],
    tasks: tuple[str, ...],
    config: fit.TrainConfig,
    make: fit.MakeModel,
    watch: "_Watch",
) -> fit.FitResult:
    with tempfile.TemporaryDirectory() as folder:
        return fit.fit(
            training_data.join_episodes(episodes, tasks),
            None,
            config,
            Path(folder) / "checkpoints",
            watch,
            make_model=make,
        )


def _maker(name: str, suite: Suite) -> fit.MakeModel:
    if name != "wavecore":
        return policies.maker(*BASELINES[name])

    def make(
        state_size: int,
        action_size: int,
        task_count: int,
        statistics: normalisation.Statistics,
        random: np.random.Generator,
    ) -> WaveCore:
        sizes: dict[str, Any] = suite.wavecore
        config = WaveCoreConfig(state_size, action_size, task_count, **sizes)
        return WaveCore(config, statistics, random)

    return make


def _decide(model: nnx.Module, task_count: int) -> closed_loop.Decide:
    graph, arrays = nnx.split(model)

    @jax.jit
    def step(
        arrays: nnx.State, states: jax.Array, tasks: jax.Array, carry: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        task = jax.nn.one_hot(tasks, task_count)
        prediction = nnx.merge(graph, arrays).step(states, task, carry)
        return prediction.action, prediction.carry

    def decide(
        states: np.ndarray, tasks: np.ndarray, carry: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        action, carry = step(arrays, states, tasks, carry)
        return np.asarray(action), np.asarray(carry)

    return decide


def _trained_numbers(model: nnx.Module) -> int:
    return sum(x.size for x in jax.tree.leaves(nnx.state(model)))


def _table(found: list[Measured]) -> FigureTable:
    table = FigureTable("task", *(one.name for one in found), names=("task",))
    for task in found[0].success:
        table.add_row(task, *(f"{100 * one.success[task].rate:.0f}" for one in found))
    overall = [success_rate.pool(list(one.success.values())) for one in found]
    table.add_section()
    table.add_row("mean, %", *(f"{100 * rate.rate:.1f}" for rate in overall))
    table.add_row(
        "95 % interval",
        *("{:.1f} to {:.1f}".format(*(100 * x for x in r.interval())) for r in overall),
    )
    for label, field in (("parameters", "parameters"), ("updates", "updates")):
        table.add_row(label, *(f"{getattr(one, field):,}" for one in found))
    table.add_row("training, s", *(f"{one.train_s:.0f}" for one in found))
    table.add_row("by the clock, s", *(f"{one.wall_s:.0f}" for one in found))
    return table


def _figures(found: list[Measured]) -> list[commands.Figure]:
    """Rows as `//tests/benchmarks:model` writes them, compared with the experts."""
    overall = [success_rate.pool(list(one.success.values())) for one in found]
    rows: list[commands.Figure] = []
    for one, rate in zip(found, overall, strict=True):
        rows.append(
            {
                **commands.figure(
                    f"success {_SUITE.value} {one.name}",
                    rate.rate,
                    "share of episodes",
                    f"success {_SUITE.value} {found[0].name}",
                    rate.rate / overall[0].rate if overall[0].successes else None,
                ),
                "interval_95": rate.interval(),
                "parameters": one.parameters,
                "updates": one.updates,
                "train_s": one.train_s,
                "wall_s": one.wall_s,
                "tasks": {task: rate.rate for task, rate in one.success.items()},
            }
        )
    return rows


if __name__ == "__main__":
    command_line.run(main)
