"""Measures what a model wins back on a robot that has changed.

    ./bazelw run //tests/benchmarks:adaptation -- --json=adaptation.json

Trains the default model on the demo dataset. For each change of the robot it measures
success on the robot as it was and as it is, lets the robot live `--episodes` there,
and measures both again with one and the same delta. Between episodes the robot
consolidates over what it has lived so far and, in equal parts, over the demonstrations
of the package, which hold what must not be forgotten.

Who drives in these episodes is `--driver`: an `operator`, who shows each task on the
changed robot and sees the world as it is, while the model sees and learns through the
changed sensors; or the `model`, which then imitates those of its own episodes that
succeeded. With `--fast` there is a fast update after each of their control steps.

Recovered is (after - before) / (unchanged - before), forgotten is what the unchanged
robot has lost, both in success over all tasks.
"""

import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags
from rich.console import Console
from rich.table import Table

from cloud import dataset, programs, training, training_data
from cloud.success_rate import SuccessRate
from edge.robots.changed_robot import RobotChange
from edge.robots.metaworld_changes import CHANGES, NO_CHANGE
from model import config, step_function, surfaces, updates
from model.wavecore import WaveCore
from release import command_line
from tests.benchmarks import adaptation_life as life

_DATASET = flags.DEFINE_string(
    "dataset", None, "Folder with the demonstrations; default: those Bazel records."
)
_PRESET = flags.DEFINE_enum("preset", "pi5", sorted(config.PRESETS), "Model.")
_TRAINING = flags.DEFINE_integer("training_steps", 2000, "Steps.", lower_bound=1)
_CHANGES = flags.DEFINE_multi_enum("change", list(CHANGES), list(CHANGES), "Changes.")
_DRIVER = flags.DEFINE_enum(
    "driver", "operator", ["operator", "model"], "Who drives while the robot learns."
)
_FAST = flags.DEFINE_boolean("fast", False, "Whether there are fast updates as well.")
_EPISODES = flags.DEFINE_integer("episodes", 20, "Episodes lived.", lower_bound=1)
_UPDATES = flags.DEFINE_integer(
    "updates", 200, "Gradient steps of replay after each episode.", lower_bound=1
)
_SEEDS = flags.DEFINE_integer("seeds", 50, "Episodes per task.", lower_bound=1)
_WORKERS = flags.DEFINE_integer("workers", 2, "Processes.", lower_bound=1)
_JSON = flags.DEFINE_string(
    "json", None, "File for the figures, a list of name, value, unit, vs and ratio."
)

_FIRST_MEASURED_SEED = 10_000
_FIRST_LIVED_SEED = 50_000
_BATCH, _STEPS = 32, 32
"""Windows per gradient step and steps per window, as in training."""
_FAST_WINDOW = 8
_FIRST_CONSOLIDATION = 5
"""Episodes lived before the first consolidation: one of each task."""


class Adapted(NamedTuple):
    """What one change cost and what came back; rates over all tasks.

    Attributes:
        name: of the change.
        unchanged: success on the robot as it was.
        before: on the changed robot, without a delta.
        after: on the changed robot, with the delta.
        kept: on the robot as it was, with the same delta.
        seconds: of the life between, episodes and updates.
    """

    name: str
    unchanged: SuccessRate
    before: SuccessRate
    after: SuccessRate
    kept: SuccessRate
    seconds: float

    @property
    def recovered(self) -> float:
        """Share of the lost success that came back; not a number if none was lost."""
        lost = self.unchanged.rate - self.before.rate
        return (self.after.rate - self.before.rate) / lost if lost else float("nan")

    @property
    def forgotten(self) -> float:
        """Success that the unchanged robot has lost, in points."""
        return 100 * (self.unchanged.rate - self.kept.rate)


def main(argv: list[str]) -> None:
    """Measures what the flags name, prints the table, writes the JSON."""
    del argv
    console = Console()
    folder = _DATASET.value or programs.locate("cloud/demo/dataset")
    demonstrations = dataset.load(folder, "train").episodes
    tasks = sorted({episode.metadata.task for episode in demonstrations})
    model = _trained(demonstrations, tasks)
    known = [life.remembered(episode, tasks) for episode in demonstrations]
    weights = step_function.weights(model)
    learner = _Learner(model, weights, tasks, known)
    context = multiprocessing.get_context("spawn")
    prepared = (model.config, weights, tasks)
    with ProcessPoolExecutor(_WORKERS.value, context, life.prepare, prepared) as pool:
        nothing = learner.no_deltas()
        unchanged = _success(pool, tasks, NO_CHANGE, nothing)
        console.print(f"unchanged robot: {_percent(unchanged)}")
        measured = []
        for name in _CHANGES.value:
            change = CHANGES[name]
            before = _success(pool, tasks, change, nothing)
            began = time.monotonic()
            deltas = learner.live(change)
            seconds = time.monotonic() - began
            after = _success(pool, tasks, change, deltas)
            kept = _success(pool, tasks, NO_CHANGE, deltas)
            measured.append(Adapted(name, unchanged, before, after, kept, seconds))
            console.print(_row(measured[-1]))
    console.print(_table(measured))
    if _JSON.value:
        figures = list(_figures(measured))
        Path(_JSON.value).write_text(json.dumps(figures, indent=1) + "\n")


def _trained(demonstrations: Sequence[Any], tasks: Sequence[str]) -> WaveCore:
    settings = training.TrainConfig(steps=_TRAINING.value, preset=_PRESET.value)
    with tempfile.TemporaryDirectory() as folder:
        data = training_data.of_episodes(demonstrations, tasks)
        fitted = training.fit(data, None, settings, Path(folder), lambda progress: None)
    return fitted.model


class _Learner:
    """What a robot does to learn, with the functions of its package."""

    def __init__(
        self,
        model: WaveCore,
        weights: life.Arrays,
        tasks: Sequence[str],
        known: Sequence[life.Memory],
    ) -> None:
        self._tasks, self._known = tasks, known
        self._body = life.Body(model.config, weights, tasks)
        self._weights = jax.device_put(weights)
        self._carry = weights["carry"]
        self._fast = jax.jit(updates.make_fast(model))
        self._consolidate = jax.jit(updates.make_consolidate(model, _UPDATES.value))

    def no_deltas(self) -> life.Deltas:
        """A delta of zeros for every surface."""
        prefix = step_function.SURFACE_PREFIX
        return {
            name: np.zeros(self._weights[prefix + name].shape, np.float32)
            for name in surfaces.SURFACES
        }

    def live(self, change: RobotChange) -> life.Deltas:
        """Twenty episodes or what the flags say, and what was learned in them."""
        random = np.random.default_rng(0)
        deltas = self.no_deltas()
        lived: list[life.Memory] = []
        operated = _DRIVER.value == "operator"
        for number in range(_EPISODES.value):
            task = self._tasks[number % len(self._tasks)]
            episode = self._body.drive(
                task,
                change,
                _FIRST_LIVED_SEED + number,
                deltas,
                self._learn if _FAST.value else None,
                operated=operated,
            )
            deltas = episode.deltas
            if episode.success:
                lived.append(episode.memory)
            if lived and number + 1 >= _FIRST_CONSOLIDATION:
                rested = number + 1 - _FIRST_CONSOLIDATION
                deltas = self._rest(random, lived, deltas, rested)
        return deltas

    def _learn(
        self, deltas: life.Deltas, states: Sequence[np.ndarray], task: np.ndarray
    ) -> life.Deltas:
        """A fast update over the last steps."""
        if len(states) <= _FAST_WINDOW:
            return deltas
        recent = {
            "states": np.stack(states[-_FAST_WINDOW - 1 :]),
            "task": np.repeat(task[None], _FAST_WINDOW, axis=0),
            "starts": np.zeros(_FAST_WINDOW, bool),
            "weight": np.ones(_FAST_WINDOW, np.float32),
            "carry": self._carry,
        }
        return {**deltas, **self._fast(self._weights, deltas, recent)["deltas"]}

    def _rest(
        self,
        random: np.random.Generator,
        lived: Sequence[life.Memory],
        deltas: life.Deltas,
        rested: int,
    ) -> life.Deltas:
        """The consolidation after `rested` others, pulled towards where it begins."""
        count = _UPDATES.value * _BATCH
        replay = life.windows(random, lived, self._known, count, _STEPS)
        replay = {**replay, "update_index": np.int32(rested)}
        result = self._consolidate(self._weights, deltas, deltas, replay)
        return {**deltas, **result["deltas"]}


def _success(
    pool: ProcessPoolExecutor,
    tasks: Sequence[str],
    change: RobotChange,
    deltas: life.Deltas,
) -> SuccessRate:
    """Success over all tasks, their seeds split among the workers."""
    deltas = jax.device_get(deltas)
    shares = [len(part) for part in np.array_split(range(_SEEDS.value), 5)]
    jobs = []
    for task in tasks:
        first = _FIRST_MEASURED_SEED
        for share in shares:
            jobs.append(pool.submit(life.successes, task, change, deltas, first, share))
            first += share
    return SuccessRate(sum(job.result() for job in jobs), len(tasks) * _SEEDS.value)


def _percent(rate: SuccessRate) -> str:
    return f"{100 * rate.rate:.1f} %"


def _row(one: Adapted) -> str:
    return (
        f"{one.name}: {_percent(one.before)} before, {_percent(one.after)} after,"
        f" recovered {one.recovered:.0%}, forgotten {one.forgotten:.1f} points"
    )


def _table(measured: Sequence[Adapted]) -> Table:
    table = Table(title=f"{_EPISODES.value} episodes, driven by the {_DRIVER.value}")
    columns = ("change", "unchanged", "before", "after", "recovered", "forgotten")
    for column in (*columns, "life"):
        table.add_column(column, justify="left" if column == "change" else "right")
    for one in measured:
        table.add_row(
            one.name,
            _percent(one.unchanged),
            _percent(one.before),
            _percent(one.after),
            f"{one.recovered:.0%}",
            f"{one.forgotten:.1f}",
            f"{one.seconds:.0f} s",
        )
    return table


def _figures(measured: Sequence[Adapted]) -> Iterator[dict[str, object]]:
    for one in measured:
        yield _figure(f"{one.name} unchanged", 100 * one.unchanged.rate, "%")
        yield _figure(f"{one.name} before", 100 * one.before.rate, "%")
        yield _figure(f"{one.name} after", 100 * one.after.rate, "%")
        yield _figure(f"{one.name} recovered", 100 * one.recovered, "% of the lost")
        yield _figure(f"{one.name} forgotten", one.forgotten, "points")


def _figure(name: str, value: float, unit: str) -> dict[str, object]:
    return {"name": name, "value": value, "unit": unit, "vs": None, "ratio": None}


if __name__ == "__main__":
    command_line.run(main)
