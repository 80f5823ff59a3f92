"""Measures the forms of the recurrence by length and width, for their table.

    ./bazelw run //tests/benchmarks:recurrence_forms

Forward and backward pass of one whole block on batches of `--steps` control steps, so
that time that a form hides behind the matrix products around it is hidden here too. The
forms take turns, and the fastest of `--repeats` counts. `model.recurrence` holds the
table of the fastest forms; on a device that is not in it, run this and add a row.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import time
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from flax import nnx

from base import command_line
from cloud.console import open_console
from cloud.figure_table import FigureTable
from model import config, recurrence
from model.wavecore import Block
from tests.benchmarks import sequence_models

_LENGTHS = flags.DEFINE_multi_integer(
    "length",
    [8, 32, 128, 512, 2048],
    "steps per sequence; may be repeated",
    lower_bound=1,
)
_PRESETS = flags.DEFINE_multi_enum(
    "preset",
    ["tiny", "pi5", "seed"],
    list(config.PRESETS),
    "preset whose width is measured; may be repeated",
)
_STEPS = flags.DEFINE_integer("steps", 2048, "steps per batch", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 15, "runs of each form", lower_bound=1)

Gradient = Callable[[nnx.State], nnx.State]


def main(argv: list[str]) -> None:
    """Measures every form at every length and width, and prints one table."""
    del argv
    title = f"Forward and backward of one block, ms, {jax.devices()[0].device_kind}"
    rows = [
        _measure(preset, length)
        for preset in _PRESETS.value
        for length in _LENGTHS.value
    ]
    open_console().print(_table(title, rows))


def _table(title: str, rows: Iterable[tuple[str, ...]]) -> FigureTable:
    keys, choices = ("preset", "channels", "batch", "T"), ("fastest", "used")
    table = FigureTable(
        *(*keys, *recurrence.FORMS, *choices),
        names=("preset", *choices),
        identifying=len(keys),
        title=title,
    )
    for row in rows:
        table.add_row(*row)
    return table


def _measure(preset: str, length: int) -> tuple[str, ...]:
    model = sequence_models.wavecore(preset)
    sizes, block = model.config, model.blocks[0]
    batch = max(1, _STEPS.value // length)
    _, state = nnx.split(block)
    runs = {f: _gradient(block, sizes, batch, length, f) for f in recurrence.FORMS}
    seconds: dict[str, list[float]] = {form: [] for form in runs}
    for turn in range(_REPEATS.value + 1):
        for form, run in runs.items():
            began = time.perf_counter()
            jax.block_until_ready(run(state))
            # The first turn compiles.
            if turn:
                seconds[form].append(time.perf_counter() - began)
    best = {form: 1e3 * min(times) for form, times in seconds.items()}
    channels = sizes.recurrence_size
    used = recurrence.fastest_form(jax.default_backend(), length, channels)
    return (
        *(preset, f"{channels}", f"{batch}", f"{length}"),
        *(f"{ms:.2f}" for ms in best.values()),
        min(best, key=best.__getitem__),
        used,
    )


def _gradient(
    block: Block, sizes: config.WaveCoreConfig, batch: int, length: int, form: str
) -> Gradient:
    """The compiled gradient of a block by its parameters and input."""
    graph, _ = nnx.split(block)
    random = np.random.default_rng(1)
    drawn = random.standard_normal((length * batch, sizes.width), np.float32)
    starts = jnp.zeros((length, batch), bool)
    carry = jnp.zeros((batch, sizes.recurrence_size))

    def objective(state: nnx.State, x: jax.Array) -> jax.Array:
        out, _ = nnx.merge(graph, state).sequence(x, starts, carry, form)
        return jnp.mean(jnp.square(out))

    compiled = jax.jit(jax.grad(objective, argnums=(0, 1)))
    x = jnp.asarray(drawn)
    return lambda state: compiled(state, x)


if __name__ == "__main__":
    command_line.run(main)
