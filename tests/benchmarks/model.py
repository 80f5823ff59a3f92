"""Measures how fast WaveCore trains and acts, against its peers, in one run.

    ./bazelw run //tests/benchmarks:model -- --json=model.json
    ./bazelw run //tests/benchmarks:model -- --part=control --control_steps=1000000

Training: control steps per second of a whole update (forward, backward, clipped
gradient, AdamW) on batches [16, T], for WaveCore in each form of its recurrence and
for an LSTM, a GRU and a causal transformer from flax.nnx with 3.0 million
parameters each, in f32 and with matrices and activations in bfloat16, as the trainer
does on devices with instructions for that. WaveCore computes a long batch in parts, as
the trainer does on a CPU; the others are faster without parts. Utilisation is 6 FLOP
per parameter and step, divided by the speed of a matrix product [2048, 512] x
[512, 1536] in the dtype that the model computes in, measured before each update. Best
and median of `--repeats`; memory is what the compiled update holds at once. An update
that needs more memory than is available, such as attention over long sequences, is
compiled but not run.

Control: the step in each engine, in its own process on one thread
(`control_engines.py`); memory is that of the process. A million steps show whether it
grows.

Shared machines are noisy, so compare figures of one run only.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import gc
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags
from flax import nnx
from rich.console import Console

from base import command_line
from cloud.console import open_console
from cloud.figure_table import FigureTable
from cloud.train import config as train_config
from cloud.train import feasible
from model import config, recurrence, surfaces
from tests.benchmarks import commands, control_engines, sequence_models
from tests.benchmarks.control_process import ENGINES
from tests.benchmarks.sequence_models import ACTION_SIZE, STATE_SIZE, TASK_COUNT

_PARTS = ("training", "control")
_PART = flags.DEFINE_multi_enum(
    "part", _PARTS, _PARTS, "part to measure; may be repeated"
)
_LENGTHS = flags.DEFINE_multi_integer(
    "length", [128, 512, 2048], "steps per sequence; may be repeated", lower_bound=2
)
_BATCH = flags.DEFINE_integer("batch_size", 16, "sequences per update", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 5, "measured updates", lower_bound=1)
_PRESET = flags.DEFINE_enum(
    "preset", "seed", sorted(config.PRESETS), "size of WaveCore"
)
_NAMES = (
    *(f"wavecore {form}" for form in recurrence.FORMS),
    *sequence_models.BASELINES,
)
_MODELS = flags.DEFINE_multi_enum(
    "model", _NAMES, _NAMES, "model to measure; may be repeated"
)
_DTYPES = flags.DEFINE_multi_enum(
    "dtype",
    ["float32", "bfloat16"],
    ["float32", "bfloat16"],
    "type of matrices and activations in training; may be repeated",
)
_ENGINES = flags.DEFINE_multi_enum(
    "engine", ENGINES, ENGINES, "engine to measure; may be repeated"
)
_CONTROL_STEPS = flags.DEFINE_integer(
    "control_steps", 100_000, "control steps per engine", lower_bound=100
)

_FLOP_PER_PARAMETER = 6
"""Two for the forward product, four backward; Kaplan et al. 2020, arXiv:2001.08361."""
_PEAK_SHAPE = (2048, 512, 1536)

type Parameters = nnx.State
Loss = Callable[[Parameters, tuple[jax.Array, ...]], jax.Array]


class TrainingSpeed(NamedTuple):
    """How fast one model trains.

    Attributes:
        name: model, form of its recurrence, and bfloat16 if it computes in that.
        dtype: type of its matrices and activations.
        length: steps per sequence.
        parameters: numbers that an update changes.
        best: control steps per second of the fastest update; 0 if memory is too small.
        median: control steps per second of the median update.
        utilisation: share of the matrix peak in `dtype`, median over updates.
        memory_mb: parameters, moments, batch and everything kept between forward and
            backward pass, as the compiler has planned it.
        compile_s: time to compile the update.
    """

    name: str
    dtype: str
    length: int
    parameters: int
    best: float
    median: float
    utilisation: float
    memory_mb: float
    compile_s: float


def main(argv: list[str]) -> None:
    """Measures what the flags name, prints the tables, writes the JSON."""
    del argv
    console = open_console()
    console.print(f"{os.cpu_count()} cores, {jax.devices()[0].device_kind}")
    peaks = {dtype: _matrix_peak(dtype) for dtype in dict.fromkeys(_DTYPES.value)}
    trained = (
        list(_measure_training(console, peaks)) if "training" in _PART.value else []
    )
    engines = _measure_engines(console) if "control" in _PART.value else {}
    if trained:
        console.print(_training_table(trained, peaks))
    if engines:
        console.print(_control_table(engines))
    commands.write_figures(
        [*_figures(trained, peaks), *control_engines.figures(engines)]
    )


def _measure_training(
    console: Console, peaks: dict[str, float]
) -> Iterator[TrainingSpeed]:
    """Measures each model; `peaks` keeps the highest matrix peak of each dtype."""
    for length, dtype in itertools.product(
        sorted(set(_LENGTHS.value)), dict.fromkeys(_DTYPES.value)
    ):
        for name, (parameters, loss) in _models(length):
            told = name if dtype == "float32" else f"{name} {dtype}"
            computed = _compute_in(dtype, loss)
            one = _train(told, dtype, length, parameters, computed, peaks)
            console.print(
                f"{one.name} at T={length}: {one.median:,.0f} steps/s,"
                f" utilisation {one.utilisation:.2f}"
            )
            yield one
            gc.collect()


def _measure_engines(console: Console) -> dict[str, control_engines.Figures]:
    found: dict[str, control_engines.Figures] = {}
    with tempfile.TemporaryDirectory() as name:
        console.print(f"exporting the {_PRESET.value} preset")
        control_engines.write(Path(name), _PRESET.value)
        for engine in dict.fromkeys(_ENGINES.value):
            found[engine] = control_engines.run(
                engine, Path(name), _CONTROL_STEPS.value
            )
            load = os.getloadavg()[0]
            console.print(f"{engine}: load of the machine {load:.1f}")
    return found


def _models(length: int) -> Iterator[tuple[str, tuple[Parameters, Loss]]]:
    """The models to measure, each made only when it is its turn."""
    for name in _MODELS.value:
        if name in sequence_models.BASELINES:
            yield name, _baseline(sequence_models.BASELINES[name](length))
        else:
            yield name, _wavecore(name.removeprefix("wavecore "))


def _wavecore(form: str) -> tuple[Parameters, Loss]:
    model = sequence_models.wavecore(_PRESET.value)
    graph, constant, trained, rest = nnx.split(
        model,
        surfaces.Normalisation,
        nnx.Any(surfaces.Backbone, surfaces.Head),
        ...,
    )

    def loss(parameters: Parameters, batch: tuple[jax.Array, ...]) -> jax.Array:
        states, task, actions, following = batch
        starts = jnp.zeros(states.shape[:2], bool)
        carry = jnp.zeros((len(states), model.config.carry_size))
        prediction = nnx.merge(graph, constant, parameters, rest).sequence(
            states, task, starts, carry, form
        )
        return _error(
            prediction.action, prediction.next_observation, actions, following
        )

    return trained, loss


def _compute_in(dtype: str, loss: Loss) -> Loss:
    """The loss with matrices and inputs in a dtype; updated parameters stay f32."""

    def narrow(parameters: Parameters, batch: tuple[jax.Array, ...]) -> jax.Array:
        parameters = jax.tree.map(
            lambda x: x.astype(dtype) if x.ndim > 1 else x, parameters
        )
        return loss(parameters, batch)

    return narrow


def _baseline(model: nnx.Module) -> tuple[Parameters, Loss]:
    graph, parameters, rest = nnx.split(model, nnx.Param, ...)

    def loss(parameters: Parameters, batch: tuple[jax.Array, ...]) -> jax.Array:
        states, task, actions, following = batch
        # Layers of flax compute in the widest dtype of their inputs.
        dtype = next(x.dtype for x in jax.tree.leaves(parameters) if x.ndim > 1)
        narrow = jax.tree.map(lambda x: x.astype(dtype), parameters)
        prediction = nnx.merge(graph, narrow, rest)(
            states.astype(dtype), task.astype(dtype)
        )
        action, next_observation = prediction
        return _error(action, next_observation, actions, following)

    return parameters, loss


def _error(
    action: jax.Array, following: jax.Array, actions: jax.Array, next_: jax.Array
) -> jax.Array:
    return jnp.mean(jnp.abs(action - actions)) + jnp.mean(jnp.abs(following - next_))


def _train(
    name: str,
    dtype: str,
    length: int,
    parameters: Parameters,
    loss: Loss,
    peaks: dict[str, float],
) -> TrainingSpeed:
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
    batch = _batch(length)
    parts = 1
    if name.startswith("wavecore"):
        parts = train_config.parts_on_cpu(_BATCH.value, length)

    def update(
        state: tuple[Parameters, Parameters], batch: tuple[jax.Array, ...]
    ) -> tuple[Parameters, Parameters]:
        parameters, moments = state
        gradients = _gradients(loss, parameters, batch, parts)
        change, moments = optimizer.update(gradients, moments, parameters)
        return optax.apply_updates(parameters, change), moments

    count = sum(x.size for x in jax.tree.leaves(parameters))
    began = time.perf_counter()
    state = (parameters, optimizer.init(parameters))
    step = jax.jit(update, donate_argnums=0).lower(state, batch).compile()
    compile_s, memory_mb = time.perf_counter() - began, _memory_mb(step)
    if 1e6 * memory_mb > feasible.available_bytes(jax.devices()[0])[0]:
        return TrainingSpeed(
            name, dtype, length, count, 0.0, 0.0, 0.0, memory_mb, compile_s
        )
    state = step(state, batch)
    jax.block_until_ready(state)
    seconds, used = [], []
    for _ in range(_REPEATS.value):
        peak = _matrix_peak(dtype)
        peaks[dtype] = max(peak, peaks[dtype])
        began = time.perf_counter()
        state = step(state, batch)
        jax.block_until_ready(state)
        seconds.append(time.perf_counter() - began)
        steps = _BATCH.value * length
        used.append(_FLOP_PER_PARAMETER * count * steps / seconds[-1] / peak)
    return TrainingSpeed(
        name,
        dtype,
        length,
        count,
        _BATCH.value * length / min(seconds),
        _BATCH.value * length / statistics.median(seconds),
        statistics.median(used),
        memory_mb,
        compile_s,
    )


def _gradients(
    loss: Loss, parameters: Parameters, batch: tuple[jax.Array, ...], parts: int
) -> Parameters:
    """Mean over the parts of a batch, computed one after the other."""
    if parts == 1:
        return jax.grad(loss)(parameters, batch)
    cut = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), batch)

    def add(so_far: Parameters, part: tuple[jax.Array, ...]) -> tuple[Parameters, None]:
        return jax.tree.map(jnp.add, so_far, jax.grad(loss)(parameters, part)), None

    summed, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, parameters), cut)
    return jax.tree.map(lambda x: x / parts, summed)


def _memory_mb(compiled: jax.stages.Compiled) -> float:
    laid_out = compiled.memory_analysis()
    held = (
        laid_out.argument_size_in_bytes
        + laid_out.output_size_in_bytes
        + laid_out.temp_size_in_bytes
        - laid_out.alias_size_in_bytes
    )
    return held / 1e6


def _batch(length: int) -> tuple[jax.Array, ...]:
    random = np.random.default_rng(1)

    def draw(size: int) -> jax.Array:
        shape = (_BATCH.value, length, size)
        return jnp.asarray(random.standard_normal(shape, np.float32))

    task = jnp.zeros((_BATCH.value, length), jnp.int32)
    return (
        draw(STATE_SIZE),
        jax.nn.one_hot(task, TASK_COUNT),
        draw(ACTION_SIZE),
        draw(STATE_SIZE),
    )


def _matrix_peak(dtype: str) -> float:
    """FLOP/s of one large product in a dtype, the fastest of ten."""
    m, k, n = _PEAK_SHAPE
    left, right = jnp.ones((m, k), dtype), jnp.ones((k, n), dtype)
    seconds = []
    for _ in range(10):
        began = time.perf_counter()
        jax.block_until_ready(_product(left, right))
        seconds.append(time.perf_counter() - began)
    return 2 * m * k * n / min(seconds)


_product = jax.jit(jnp.matmul)


def _training_table(
    trained: Sequence[TrainingSpeed], peaks: Mapping[str, float]
) -> FigureTable:
    told = ", ".join(f"{x / 1e9:.0f} GFLOP/s in {dtype}" for dtype, x in peaks.items())
    speeds = ("steps/s", "best", "of LSTM", "util.")
    table = FigureTable(
        *("model", "T", *speeds, "compile, s", "memory, MB"),
        names=("model",),
        identifying=2,
        title=f"Training of WaveCore {_PRESET.value}, matrix peak {told}",
        caption="util. is of the matrix peak in the dtype of the row",
    )
    lstm = _lstm(trained)
    for one in trained:
        table.add_row(
            one.name,
            f"{one.length}",
            *_speeds(one, lstm.get(one.length)),
            f"{one.compile_s:.1f}",
            f"{one.memory_mb:,.0f}",
        )
    return table


def _control_table(engines: Mapping[str, control_engines.Figures]) -> FigureTable:
    columns = ("p50, us", "p99, us", "start, s", "growth, KB", "memory, MB")
    table = FigureTable(
        *("engine", *columns),
        names=("engine",),
        title=f"Control step of WaveCore {_PRESET.value}",
    )
    for engine, found in engines.items():
        table.add_row(
            engine,
            f"{found['p50']:.0f}",
            f"{found['p99']:.0f}",
            f"{found['start']:.2f}",
            f"{found['growth']:.0f}",
            f"{found['memory']:.0f}",
        )
    return table


def _speeds(one: TrainingSpeed, lstm: float | None) -> tuple[str, ...]:
    if not one.best:
        return "no room", "", "", ""
    beside = f"{one.median / lstm:.2f} x" if lstm else ""
    return f"{one.median:,.0f}", f"{one.best:,.0f}", beside, f"{one.utilisation:.2f}"


def _lstm(trained: Sequence[TrainingSpeed]) -> dict[int, float]:
    """Speed of the LSTM by length, if it was measured."""
    return {one.length: one.median for one in trained if one.name == "lstm"}


def _figures(
    trained: list[TrainingSpeed], peaks: Mapping[str, float]
) -> Iterator[commands.Figure]:
    """Each speed compared with the LSTM at the same length, if that was measured."""
    lstm = _lstm(trained)
    for dtype, peak in peaks.items():
        yield commands.figure(_peak_name(dtype), peak / 1e9, "GFLOP/s")
    for one in trained:
        name = f"train {one.name} T={one.length}"
        base = lstm.get(one.length)
        yield commands.figure(f"{name} memory", one.memory_mb, "MB")
        if not one.best:
            continue
        vs = None if base is None else f"train lstm T={one.length}"
        ratio = None if base is None else one.median / base
        yield commands.figure(name, one.median, "steps/s", vs, ratio)
        yield commands.figure(f"{name} parameters", one.parameters, "parameters")
        unit = f"of {_peak_name(one.dtype)}"
        yield commands.figure(f"{name} utilisation", one.utilisation, unit)


def _peak_name(dtype: str) -> str:
    return f"matrix peak {dtype}"


if __name__ == "__main__":
    command_line.run(main)
