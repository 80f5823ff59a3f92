"""Measures the input pipeline of training: control steps per second it delivers.

    ./bazelw run //tests/benchmarks:input_pipeline -- --json=input.json

Writes a cache of random episodes, opens it again, and cuts batches of windows [B, T+1]
from three sources: arrays in memory; the mapped cache while the system holds its pages;
and the mapped cache after the system was told to drop its pages before each batch, so
that every window comes from the disk without read-ahead, the worst case for data larger
than memory. Each figure is the median over batches, and is compared with what the
trainer consumes on two cores: 8,900 steps/s at 3.0 million parameters, 72,000 at 0.2
million.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from absl import flags

from base import command_line
from cloud.console import open_console
from cloud.dataset import mapped_steps
from cloud.dataset.mapped_steps import CacheSource
from cloud.dataset.step_stream import StepStream
from cloud.dataset.window_batches import Windows
from cloud.figure_table import FigureTable
from rlds.episode import Episode
from rlds.spec import EpisodeSpec
from tests.benchmarks import commands

_EPISODES = flags.DEFINE_integer(
    "episodes", 4000, "episodes in the cache", lower_bound=1
)
_LENGTH = flags.DEFINE_integer("steps", 250, "steps per episode", lower_bound=1)
_BATCHES = flags.DEFINE_integer(
    "batches", 200, "batches per source and shape", lower_bound=2
)
_STATE_SIZE = flags.DEFINE_integer("state_size", 39, "numbers in a state")
_ACTION_SIZE = flags.DEFINE_integer("action_size", 4, "numbers in an action")
_FOLDER = flags.DEFINE_string(
    "folder", None, "folder for the cache; default: a temporary one"
)

_TASK = "benchmark"
_FAR = 10**12
_TAKEN = {
    (16, 128): ("3.0 M", 8_900),
    (32, 32): ("0.2 M", 72_000),
}
"""Batch and sequence length to the model's size and what it consumes, in steps/s."""


def main(argv: list[str]) -> None:
    """Measures, prints the table, writes the JSON."""
    del argv
    with tempfile.TemporaryDirectory(dir=_FOLDER.value) as name:
        figures = list(_measure(Path(name)))
    console = open_console()
    console.print(f"{os.cpu_count()} cores, {_EPISODES.value * _LENGTH.value:,} steps")
    console.print(_table(figures))
    commands.write_figures(figures)


def _measure(folder: Path) -> Iterator[commands.Figure]:
    source = CacheSource(
        "0" * 64,
        "train",
        (_TASK,),
        _STATE_SIZE.value,
        _ACTION_SIZE.value,
        _EPISODES.value * _LENGTH.value,
    )
    made = [_episode(number) for number in range(min(_EPISODES.value, 100))]
    episodes = (made[k % len(made)] for k in range(_EPISODES.value))
    write_s = _seconds(lambda: mapped_steps.open_data(folder, source, episodes))
    yield commands.figure("write cache", source.num_steps / write_s, "steps/s")
    open_s = _seconds(lambda: mapped_steps.open_data(folder, source, ()))
    yield commands.figure("open cache", open_s * 1e6, "us")
    yield from _measure_sources(folder, source)


def _measure_sources(folder: Path, source: CacheSource) -> Iterator[commands.Figure]:
    files = [path for path in (folder / source.identity).iterdir() if path.is_file()]

    def mapped() -> StepStream:
        return mapped_steps.open_data(folder, source, ()).steps

    def dropped() -> StepStream:
        _drop(files)
        return mapped()

    for size, length in _TAKEN:
        memory = StepStream._make(None if c is None else np.array(c) for c in mapped())
        for kind, open_, reopens in (
            ("memory", lambda memory=memory: memory, False),
            ("mapped", mapped, False),
            ("mapped, dropped", dropped, True),
        ):
            name = f"{kind}, B={size} T={length}"
            yield from _batches(name, size, length, open_, reopens)


def _batches(
    name: str,
    size: int,
    length: int,
    open_: Callable[[], StepStream],
    reopens: bool,
) -> Iterator[commands.Figure]:
    """Figures of one source; `reopens` releases the mapping before each batch."""
    windows = Windows(open_(), size, length, seed=0)
    windows.batch(0)
    seconds = []
    for step in range(_BATCHES.value):
        if reopens:
            del windows  # mapped pages cannot be dropped
            windows = Windows(open_(), size, length, seed=0)
        seconds.append(_seconds(functools.partial(windows.batch, step)))
    median_s = statistics.median(seconds)
    delivered = windows.batch_size * windows.sequence_length / median_s
    vs, taken = _TAKEN[windows.batch_size, windows.sequence_length]
    compared = (f"training, {vs}", delivered / taken)
    yield commands.figure(name, delivered, "steps/s", *compared)
    yield commands.figure(
        f"{name}, windows", windows.batch_size / median_s, "windows/s"
    )
    far_s = statistics.median(
        _seconds(functools.partial(windows.batch, _FAR + k)) for k in range(9)
    )
    yield commands.figure(f"{name}, step {_FAR:.0e}", far_s * 1e6, "us")


def _drop(files: list[Path]) -> None:
    """Tells the system to drop the files from memory; clean pages go at once."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _seconds(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def _table(figures: list[commands.Figure]) -> FigureTable:
    table = FigureTable(
        *("figure", "value", "unit", "vs", "ratio"),
        names=("figure", "unit", "vs"),
        title="Input pipeline",
    )
    for one in figures:
        ratio = "" if one["ratio"] is None else f"{one['ratio']:,.1f}"
        table.add_row(
            str(one["name"]),
            f"{one['value']:,.0f}",
            str(one["unit"]),
            str(one["vs"] or ""),
            ratio,
        )
    return table


def _episode(number: int) -> Episode:
    random = np.random.default_rng(number)
    length = _LENGTH.value
    spec = EpisodeSpec(_STATE_SIZE.value, _ACTION_SIZE.value)

    def draw(size: int) -> np.ndarray:
        return random.standard_normal((length, size), dtype=np.float32)

    index = np.arange(length)
    action = draw(spec.action_size)
    steps = {
        "observation/state": draw(spec.state_size),
        "action": action,
        "proposed_action": action,
        "reward": np.zeros(length, np.float32),
        "discount": np.ones(length, np.float32),
        "is_first": index == 0,
        "is_last": index == length - 1,
        "is_terminal": index == length - 1,
        "t_monotonic_ns": index * 12_500_000,
        "deadline_missed": np.zeros(length, bool),
        "safety_violation": np.zeros(length, bool),
    }
    return Episode(spec, commands.make_metadata(number), steps)


if __name__ == "__main__":
    command_line.run(main)
