"""Measures how much success a model recovers on a robot that has changed.

    ./bazelw run //tests/benchmarks:adaptation -- --json=adaptation.json

Trains the default model on the demo dataset. For each change of the robot it measures
success on the unchanged and on the changed robot, lets the changed robot learn for
`--episodes`, and measures both again with the same delta. After every fifth episode the
robot rests: it estimates its calibration and the effect of its commands, may project
the demonstrations of the package onto the changed robot, and consolidates over its new
episodes and the demonstrations (`adaptation_learner.py`).

`--driver` says who drives in these episodes: an `operator`, who shows each task on the
changed robot and sees the world as it is, while the model sees and learns through the
changed sensors; or the `model`, which then imitates those of its own episodes that
succeeded. With `--fast` there is also a fast update after each control step.

Recovered is (after - before) / (unchanged - before); forgotten is what the unchanged
robot has lost; both are in success over all tasks. The result of 20 episodes depends on
chance, so each change is repeated for `--lives` lives, with other episodes but the same
measured seeds, and the table has the mean. One life of every change takes ten minutes.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import multiprocessing
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, get_args

import jax
import numpy as np
from absl import flags

from base import command_line
from cloud import programs
from cloud.console import open_console
from cloud.dataset import split, training_data
from cloud.evaluate.success_rate import SuccessRate
from cloud.figure_table import FigureTable
from cloud.train import fit
from edge.robots.changed_robot import CHANGES, NO_CHANGE, RobotChange
from model import config, step_function
from model.wavecore import WaveCore
from tests.benchmarks import adaptation_life as life
from tests.benchmarks import commands
from tests.benchmarks.adaptation_learner import Learner, Settings

_DATASET = flags.DEFINE_string(
    "dataset", None, "folder with the demonstrations; default: those Bazel records"
)
_PRESET = flags.DEFINE_enum("preset", "pi5", sorted(config.PRESETS), "model to train")
_TRAINING = flags.DEFINE_integer(
    "training_steps", 2000, "updates of the model in training", lower_bound=1
)
_CHECKPOINTS = flags.DEFINE_string(
    "checkpoints", None, "folder that keeps the trained model for the next run"
)
_CHANGES = flags.DEFINE_multi_enum(
    "change", list(CHANGES), list(CHANGES), "change to measure; may be repeated"
)
_DRIVER = flags.DEFINE_enum(
    "driver",
    Settings.driver,
    get_args(life.Driver),
    "who drives while the robot learns",
)
_FAST = flags.DEFINE_boolean("fast", False, "also make fast updates")
_EPISODES = flags.DEFINE_integer(
    "episodes", Settings.episodes, "episodes of one life", lower_bound=1
)
_LIVES = flags.DEFINE_integer(
    "lives", 3, "lives of each change; the figures are their means", lower_bound=1
)
_OWN = flags.DEFINE_integer(
    "own_episodes",
    0,
    "what must not be forgotten: this many episodes that the model drove itself before "
    "the change; 0 for the demonstrations that it was trained on",
    lower_bound=0,
)
_SEEDS = flags.DEFINE_integer("seeds", 50, "measured episodes per task", lower_bound=1)
_WORKERS = flags.DEFINE_integer(
    "workers", 2, "processes that measure success", lower_bound=1
)

_FIRST_MEASURED_SEED = 10_000


class LifeResult(NamedTuple):
    """What one change cost and what one life recovered; rates over all tasks.

    Attributes:
        unchanged: success on the unchanged robot, without a delta.
        before: success on the changed robot, without a delta.
        after: success on the changed robot, with the delta.
        kept: success on the unchanged robot, with the same delta.
        seconds: duration of the life, episodes and updates.
    """

    unchanged: SuccessRate
    before: SuccessRate
    after: SuccessRate
    kept: SuccessRate
    seconds: float

    @property
    def recovered(self) -> float:
        """Share of the lost success that was recovered; NaN if none was lost."""
        lost = self.unchanged.rate - self.before.rate
        return (self.after.rate - self.before.rate) / lost if lost else float("nan")

    @property
    def forgotten(self) -> float:
        """Success that the unchanged robot has lost, in points."""
        return 100 * (self.unchanged.rate - self.kept.rate)


def main(argv: list[str]) -> None:
    """Measures what the flags name, prints the table, writes the JSON."""
    del argv
    console = open_console()
    folder = _DATASET.value or programs.locate("cloud/demo/dataset")
    with tempfile.TemporaryDirectory() as offsets:
        opened = split.open_split(folder, "train", Path(offsets))
        demonstrations = list(opened.episodes)
    tasks = sorted({episode.metadata.task for episode in demonstrations})
    model = _train_model(demonstrations, tasks)
    known = [life.make_memory(episode, tasks) for episode in demonstrations]
    learner = Learner(model, tasks, known)
    if _OWN.value:
        learner.remember_own(_OWN.value)
    settings = Settings(
        episodes=_EPISODES.value, driver=_DRIVER.value, fast=_FAST.value
    )
    context = multiprocessing.get_context("spawn")
    prepared = (model.config, step_function.weights(model), tasks)
    with ProcessPoolExecutor(_WORKERS.value, context, life.prepare, prepared) as pool:
        nothing = learner.no_deltas()
        unchanged = _measure_success(pool, tasks, NO_CHANGE, nothing)
        console.print(f"unchanged robot: {_percent(unchanged)}")
        measured: dict[str, list[LifeResult]] = {}
        for name in _CHANGES.value:
            change, lives = CHANGES[name], measured.setdefault(name, [])
            before = _measure_success(pool, tasks, change, nothing)
            for number in range(_LIVES.value):
                began = time.monotonic()
                deltas = learner.live(change, settings, number)
                seconds = time.monotonic() - began
                after = _measure_success(pool, tasks, change, deltas)
                kept = _measure_success(pool, tasks, NO_CHANGE, deltas)
                lives.append(LifeResult(unchanged, before, after, kept, seconds))
                console.print(f"{name}, life {number + 1}: {_row(lives[-1])}")
    console.print(_table(measured))
    commands.write_figures(_figures(measured))


def _train_model(demonstrations: Sequence[Any], tasks: Sequence[str]) -> WaveCore:
    settings = fit.TrainConfig(steps=_TRAINING.value, preset=_PRESET.value)
    with tempfile.TemporaryDirectory() as folder:
        data = training_data.join_episodes(demonstrations, tasks)
        kept = Path(_CHECKPOINTS.value or folder)
        fitted = fit.fit(data, None, settings, kept, lambda progress: None)
    return fitted.model


def _measure_success(
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
            jobs.append(
                pool.submit(life.count_successes, task, change, deltas, first, share)
            )
            first += share
    return SuccessRate(sum(job.result() for job in jobs), len(tasks) * _SEEDS.value)


def _percent(rate: SuccessRate) -> str:
    return f"{100 * rate.rate:.1f} %"


def _row(one: LifeResult) -> str:
    return (
        f"{_percent(one.before)} before, {_percent(one.after)} after,"
        f" recovered {one.recovered:.0%}, forgotten {one.forgotten:.1f} points"
    )


def _table(measured: Mapping[str, Sequence[LifeResult]]) -> FigureTable:
    title = (
        f"{_EPISODES.value} episodes, driven by the {_DRIVER.value},"
        f" mean of {_LIVES.value} lives"
    )
    columns = ("unchanged", "before", "after", "recovered", "forgotten", "life")
    table = FigureTable("change", *columns, names=("change",), title=title)
    for name, lives in measured.items():
        table.add_row(
            name,
            _percent(lives[0].unchanged),
            _percent(lives[0].before),
            f"{100 * _mean(one.after.rate for one in lives):.1f} %",
            f"{_mean(one.recovered for one in lives):.0%}",
            f"{_mean(one.forgotten for one in lives):.1f}",
            f"{_mean(one.seconds for one in lives):.0f} s",
        )
    return table


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _figures(measured: Mapping[str, Sequence[LifeResult]]) -> Iterator[commands.Figure]:
    for name, lives in measured.items():
        after = _mean(one.after.rate for one in lives)
        recovered = _mean(one.recovered for one in lives)
        forgotten = _mean(one.forgotten for one in lives)
        yield commands.figure(f"{name} unchanged", 100 * lives[0].unchanged.rate, "%")
        yield commands.figure(f"{name} before", 100 * lives[0].before.rate, "%")
        yield commands.figure(f"{name} after", 100 * after, "%")
        yield commands.figure(f"{name} recovered", 100 * recovered, "% of the lost")
        yield commands.figure(f"{name} forgotten", forgotten, "points")


if __name__ == "__main__":
    command_line.run(main)
