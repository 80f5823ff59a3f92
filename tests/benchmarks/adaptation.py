"""Measures what a model wins back on a robot that has changed.

    ./bazelw run //tests/benchmarks:adaptation -- --json=adaptation.json

Trains the default model on the demo dataset. For each change of the robot it measures
success on the robot as it was and as it is, lets the robot live `--episodes` there,
and measures both again with one and the same delta. After every fifth episode the robot
rests: it looks for its calibration and for what its commands do, may imagine the
demonstrations of the package on the robot it has become, and consolidates over what it
has lived and what it knows (`adaptation_learner.py`).

Who drives in these episodes is `--driver`: an `operator`, who shows each task on the
changed robot and sees the world as it is, while the model sees and learns through the
changed sensors; or the `model`, which then imitates those of its own episodes that
succeeded. With `--fast` there is a fast update after each of their control steps.

Recovered is (after - before) / (unchanged - before), forgotten is what the unchanged
robot has lost, both in success over all tasks. What 20 episodes show is luck as well,
so each change is lived `--lives` times from the beginning, in other episodes and with
the same measured seeds, and the table has the mean. A life of every change takes ten
minutes.
"""

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
from tests.benchmarks import adaptation_replay as replay
from tests.benchmarks import commands
from tests.benchmarks.adaptation_learner import UPDATES, Learner, Settings

_DATASET = flags.DEFINE_string(
    "dataset", None, "Folder with the demonstrations; default: those Bazel records."
)
_PRESET = flags.DEFINE_enum("preset", "pi5", sorted(config.PRESETS), "Model.")
_TRAINING = flags.DEFINE_integer(
    "training_steps", 2000, "Optimiser steps of the model.", lower_bound=1
)
_CHECKPOINTS = flags.DEFINE_string(
    "checkpoints", None, "Folder where the trained model stays for the next run."
)
_CHANGES = flags.DEFINE_multi_enum(
    "change", list(CHANGES), list(CHANGES), "Changes measured; may be repeated."
)
_DRIVER = flags.DEFINE_enum(
    "driver",
    Settings.driver,
    get_args(life.Driver),
    "Who drives while the robot learns.",
)
_FAST = flags.DEFINE_boolean("fast", False, "Whether there are fast updates as well.")
_EPISODES = flags.DEFINE_integer(
    "episodes", Settings.episodes, "Episodes lived.", lower_bound=1
)
_LIVES = flags.DEFINE_integer(
    "lives", 3, "Lives of each change, whose mean is taken.", lower_bound=1
)
_UPDATES = flags.DEFINE_integer(
    "updates", UPDATES, "Gradient steps of one consolidation.", lower_bound=1
)
_SEEDS = flags.DEFINE_integer("seeds", 50, "Episodes per task.", lower_bound=1)
_WORKERS = flags.DEFINE_integer(
    "workers", 2, "Processes that measure success.", lower_bound=1
)

_FIRST_MEASURED_SEED = 10_000


class Adapted(NamedTuple):
    """What one change cost and what came back in one life; rates over all tasks.

    Attributes:
        unchanged: success on the robot as it was.
        before: on the changed robot, without a delta.
        after: on the changed robot, with the delta.
        kept: on the robot as it was, with the same delta.
        seconds: of the life between, episodes and updates.
    """

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
    console = open_console()
    folder = _DATASET.value or programs.locate("cloud/demo/dataset")
    with tempfile.TemporaryDirectory() as offsets:
        opened = split.open_split(folder, "train", Path(offsets))
        demonstrations = list(opened.episodes)
    tasks = sorted({episode.metadata.task for episode in demonstrations})
    model = _trained(demonstrations, tasks)
    known = [replay.make_memory(episode, tasks) for episode in demonstrations]
    learner = Learner(model, tasks, known, _UPDATES.value)
    settings = Settings(
        episodes=_EPISODES.value, driver=_DRIVER.value, fast=_FAST.value
    )
    context = multiprocessing.get_context("spawn")
    prepared = (model.config, step_function.weights(model), tasks)
    with ProcessPoolExecutor(_WORKERS.value, context, life.prepare, prepared) as pool:
        nothing = learner.no_deltas()
        unchanged = _success(pool, tasks, NO_CHANGE, nothing)
        console.print(f"unchanged robot: {_percent(unchanged)}")
        measured: dict[str, list[Adapted]] = {}
        for name in _CHANGES.value:
            change, lives = CHANGES[name], measured.setdefault(name, [])
            before = _success(pool, tasks, change, nothing)
            for number in range(_LIVES.value):
                began = time.monotonic()
                deltas = learner.live(change, settings, number)
                seconds = time.monotonic() - began
                after = _success(pool, tasks, change, deltas)
                kept = _success(pool, tasks, NO_CHANGE, deltas)
                lives.append(Adapted(unchanged, before, after, kept, seconds))
                console.print(f"{name}, life {number + 1}: {_row(lives[-1])}")
    console.print(_table(measured))
    commands.write_figures(_figures(measured))


def _trained(demonstrations: Sequence[Any], tasks: Sequence[str]) -> WaveCore:
    settings = fit.TrainConfig(steps=_TRAINING.value, preset=_PRESET.value)
    with tempfile.TemporaryDirectory() as folder:
        data = training_data.join_episodes(demonstrations, tasks)
        kept = Path(_CHECKPOINTS.value or folder)
        fitted = fit.fit(data, None, settings, kept, lambda progress: None)
    return fitted.model


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
            jobs.append(
                pool.submit(life.count_successes, task, change, deltas, first, share)
            )
            first += share
    return SuccessRate(sum(job.result() for job in jobs), len(tasks) * _SEEDS.value)


def _percent(rate: SuccessRate) -> str:
    return f"{100 * rate.rate:.1f} %"


def _row(one: Adapted) -> str:
    return (
        f"{_percent(one.before)} before, {_percent(one.after)} after,"
        f" recovered {one.recovered:.0%}, forgotten {one.forgotten:.1f} points"
    )


def _table(measured: Mapping[str, Sequence[Adapted]]) -> FigureTable:
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


def _figures(measured: Mapping[str, Sequence[Adapted]]) -> Iterator[commands.Figure]:
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
