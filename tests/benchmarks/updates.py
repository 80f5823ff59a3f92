"""Measures the updates that a robot runs, through their exported functions.

    ./bazelw run //tests/benchmarks:updates -- --json=updates.json

Each update is exported to StableHLO, serialised, read back and compiled, as by a
learner on a robot with a package. The consolidation is one gradient step here; that of
a package takes fifty, on windows of 256 steps. Two choices make it fast, and a learner
makes them too: the weights stay on the device, so that a call copies only deltas and
data, and the fast update has its own process and core, because products of a few rows
take less time than waking another thread and waiting for it. Every call gets the deltas
that the last one returned.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags

from base import command_line
from cloud.console import open_console
from cloud.figure_table import FigureTable
from model import config, step_function, surfaces
from model.learn import updates
from model.wavecore import WaveCore
from tests.benchmarks import commands, sequence_models

_PRESETS = flags.DEFINE_multi_enum(
    "preset", ["pi5", "seed"], sorted(config.PRESETS), "model; may be repeated"
)
_CALLS = flags.DEFINE_integer("calls", 1000, "measured fast updates", lower_bound=2)
_REPLAYS = flags.DEFINE_integer("replays", 20, "consolidations", lower_bound=2)
_WINDOW = flags.DEFINE_integer("window", 8, "steps of a fast update", lower_bound=1)
_WINDOWS = flags.DEFINE_integer("windows", 32, "windows of a replay", lower_bound=1)
_STEPS = flags.DEFINE_integer(
    "steps", 32, "steps per window of a replay", lower_bound=1
)

Update = Callable[..., dict[str, Any]]


class Measured(NamedTuple):
    """One update of one preset.

    Attributes:
        name: preset and update.
        p50_ms: duration of the median call.
        p99_ms: 99th percentile of the durations.
        steps_per_s: control steps used per second, at the median.
        cpu_ms: processor time of all threads per call, which other load on the machine
            changes little.
    """

    name: str
    p50_ms: float
    p99_ms: float
    steps_per_s: float
    cpu_ms: float


def main(argv: list[str]) -> None:
    """Measures what the flags name, prints the table, writes the JSON."""
    del argv
    console = open_console()
    load = os.getloadavg()[0]
    console.print(f"{os.cpu_count()} cores, load {load:.1f}")
    measured = [one for preset in _PRESETS.value for one in _measure(preset)]
    console.print(_table(measured))
    commands.write_figures(_figures(measured))


def _measure(preset: str) -> Iterator[Measured]:
    alone = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, alone, _keep_to_one_core) as pool:
        job = pool.submit(_fast_update, preset, _WINDOW.value, _CALLS.value)
        yield job.result()
    model = sequence_models.wavecore(preset)
    weights, deltas = _arrays(model)
    inputs = updates.consolidate_inputs(model, _WINDOWS.value, _STEPS.value)
    consolidate = _export_and_load(updates.make_consolidate(model), inputs)
    name, steps = f"{preset} consolidate_update", _WINDOWS.value * _STEPS.value
    memories = _make_data(inputs[-1])

    def call_consolidate(now: dict[str, Any]) -> dict[str, Any]:
        return consolidate(weights, now, deltas, memories)

    yield _measure_calls(name, steps, _REPLAYS.value, call_consolidate, deltas)


def _keep_to_one_core() -> None:
    """Called before JAX starts its threads, so that it starts only one."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _fast_update(preset: str, window: int, calls: int) -> Measured:
    model = sequence_models.wavecore(preset)
    weights, deltas = _arrays(model)
    inputs = updates.fast_inputs(model, window)
    fast = _export_and_load(updates.make_fast(model), inputs)
    data = _make_data(inputs[-1])

    def call_fast(now: dict[str, Any]) -> dict[str, Any]:
        return fast(weights, now, data)

    return _measure_calls(f"{preset} fast_update", window, calls, call_fast, deltas)


def _arrays(model: WaveCore) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights on the device, and a delta of zeros for every surface."""
    weights = jax.device_put(step_function.weights(model))
    prefix = step_function.SURFACE_PREFIX
    return weights, {n: np.zeros_like(weights[prefix + n]) for n in surfaces.SURFACES}


def _export_and_load(update: Update, inputs: Any) -> Update:  # noqa: ANN401 - a tree of shapes
    content = jax.export.export(jax.jit(update))(*inputs).serialize()
    # Without `jit`, an exported function would be rebuilt at every call.
    return jax.jit(jax.export.deserialize(content).call)


def _make_data(shapes: dict[str, jax.ShapeDtypeStruct]) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    data = {}
    for name, x in shapes.items():
        if name.endswith("weight"):
            data[name] = np.ones(x.shape, x.dtype)
        elif x.dtype != np.float32:
            data[name] = np.zeros(x.shape, x.dtype)
        else:
            data[name] = random.standard_normal(x.shape, np.float32)
    return data


def _measure_calls(
    name: str,
    steps: int,
    calls: int,
    update: Callable[[dict[str, Any]], dict[str, Any]],
    deltas: dict[str, Any],
) -> Measured:
    """Times the calls after the first, each until the deltas are on the host."""
    seconds, cpu_began = [], 0.0
    for call in range(calls + 1):
        if call == 1:
            cpu_began = time.process_time()
        began = time.perf_counter()
        result = jax.device_get(update(deltas))
        seconds.append(time.perf_counter() - began)
        if result["refused"]:
            raise AssertionError(f"{name}: an update with finite data was refused")
        deltas = {**deltas, **result["deltas"]}
    cpu_s = time.process_time() - cpu_began
    p50, p99 = np.percentile(seconds[1:], [50, 99])
    return Measured(name, 1e3 * p50, 1e3 * p99, steps / p50, 1e3 * cpu_s / calls)


def _table(measured: list[Measured]) -> FigureTable:
    table = FigureTable(
        *("update", "p50", "p99", "steps/s", "processor time"),
        names=("update",),
        title="Updates on the robot",
    )
    for one in measured:
        table.add_row(
            one.name,
            f"{one.p50_ms:.2f} ms",
            f"{one.p99_ms:.2f} ms",
            f"{one.steps_per_s:,.0f}",
            f"{one.cpu_ms:.2f} ms",
        )
    return table


def _figures(measured: list[Measured]) -> Iterator[commands.Figure]:
    for one in measured:
        yield commands.figure(f"{one.name} p50", one.p50_ms, "ms")
        yield commands.figure(f"{one.name} p99", one.p99_ms, "ms")
        yield commands.figure(f"{one.name} speed", one.steps_per_s, "steps/s")
        yield commands.figure(f"{one.name} processor time", one.cpu_ms, "ms")


if __name__ == "__main__":
    command_line.run(main)
