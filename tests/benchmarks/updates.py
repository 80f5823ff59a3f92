"""Measures the updates that a robot runs, through their exported functions.

    ./bazelw run //tests/benchmarks:updates -- --json=updates.json

Each update is exported to StableHLO, serialised, read back and compiled, as by a
learner on a robot with a package: the fast update, and one gradient step of a
consolidation, which a robot calls hundreds of times while it rests. Two choices make it
fast, and a learner makes them too: weights and memories stay on the device, so that a
call copies only what changes, and the fast update has its own process and core, because
products of a few rows take less time than waking another thread and waiting for it.
Every call gets what the last one returned.
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
from model.export import functions, stablehlo
from model.export.functions import Function
from model.learn import fast_update
from model.wavecore import WaveCore
from tests.benchmarks import commands, sequence_models

_PRESETS = flags.DEFINE_multi_enum(
    "preset", ["pi5", "seed"], sorted(config.PRESETS), "model; may be repeated"
)
_CALLS = flags.DEFINE_integer("calls", 1000, "measured fast updates", lower_bound=2)
_REPLAYS = flags.DEFINE_integer(
    "replays", 50, "measured steps of a consolidation", lower_bound=2
)
_WINDOW = flags.DEFINE_integer("window", 8, "steps of a fast update", lower_bound=1)
Call = Callable[[dict[str, Any]], dict[str, Any]]
"""What the last call returned, to what this one returns."""


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
    learning = functions.learning(model)
    memories = jax.device_put(_remember(learning["consolidate_begin"]))
    begin, step = (_load(learning[f"consolidate_{n}"]) for n in ("begin", "step"))
    begun = begin(
        deltas=deltas,
        last_good=deltas,
        memories=memories,
        consolidations=np.int32(0),
        seed=np.int32(0),
    )
    name = f"{preset} consolidate_step"
    steps = functions.BATCH.windows * functions.BATCH.steps

    def call_step(last: dict[str, Any]) -> dict[str, Any]:
        given = {"memories": memories, "calls": np.int32(_REPLAYS.value)}
        found: dict[str, Any] = step(weights=weights, state=last["state"], **given)
        jax.block_until_ready(found)
        if found["state"]["refused"]:
            raise AssertionError(f"{name}: a step with finite data was refused")
        return found

    yield _measure_calls(name, steps, _REPLAYS.value, call_step, begun)


def _keep_to_one_core() -> None:
    """Called before JAX starts its threads, so that it starts only one."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _fast_update(preset: str, window: int, calls: int) -> Measured:
    model = sequence_models.wavecore(preset)
    weights, deltas = _arrays(model)
    function = Function(
        fast_update.make(model),
        dict(
            zip(
                ("weights", "deltas", "window"),
                fast_update.inputs(model, window),
                strict=True,
            )
        ),
    )
    fast, data = _load(function), _make_data(function.inputs["window"])
    name = f"{preset} fast_update"

    def call_fast(last: dict[str, Any]) -> dict[str, Any]:
        found = jax.device_get(fast(weights=weights, deltas=last, window=data))
        if found["refused"]:
            raise AssertionError(f"{name}: an update with finite data was refused")
        return {**last, **found["deltas"]}

    return _measure_calls(name, window, calls, call_fast, deltas)


def _arrays(model: WaveCore) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights on the device, and a delta of zeros for every surface."""
    weights = jax.device_put(step_function.weights(model))
    prefix = step_function.SURFACE_PREFIX
    return weights, {n: np.zeros_like(weights[prefix + n]) for n in surfaces.SURFACES}


def _load(function: Function) -> Any:  # noqa: ANN401 - what jax.jit returns has no public type
    return stablehlo.load(stablehlo.encode(function, ("cpu",)))


def _remember(function: Function) -> dict[str, np.ndarray]:
    """Random memories that fill the shapes, half of them lived."""
    data = _make_data(function.inputs["memories"])
    data["length"] = np.full_like(data["length"], data["actions"].shape[1])
    data["kind"] = np.arange(len(data["kind"]), dtype=np.int32) % 2
    return data


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
    name: str, steps: int, calls: int, call: Call, begun: dict[str, Any]
) -> Measured:
    """Times the calls after the first, each until its result is there."""
    seconds, cpu_began, last = [], 0.0, begun
    for number in range(calls + 1):
        if number == 1:
            cpu_began = time.process_time()
        began = time.perf_counter()
        last = call(last)
        seconds.append(time.perf_counter() - began)
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
