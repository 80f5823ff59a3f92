"""Measures the fast update as control calls it: between two steps of a real loop.

    ./bazelw run //tests/benchmarks:fast_update -- --runs=10

Each run is a process of its own, which drives with the loop, the watchdog and the step
of a package, and calls `fast_update_litert` after each step, as with --fast_loop. What
is measured is a call, by the clock and of the processor; how many of them would fit
into what a period leaves, at the 99th percentile of both; and how many steps found no
time for a call. //tests/benchmarks:updates measures the form that needs jax.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from base import command_line, path_flags
from cloud.console import open_console
from cloud.figure_table import FigureTable
from edge.control.fast_loop import RESERVE_NS
from edge.control.fast_update import find_function
from edge.errors import LearningError
from edge.runtime_version import EXPORT_TARGET
from model import config
from release.verification import verify_integrity
from tests.benchmarks import commands, control_engines

_RUNS = flags.DEFINE_integer("runs", 10, "runs, each in a process", lower_bound=1)
_CALLS = flags.DEFINE_integer(
    "calls", 1000, "calls of the fast update in a run", lower_bound=2
)
_CONTROL_HZ = flags.DEFINE_float(
    "control_hz", 80.0, "control rate, in Hz", lower_bound=1.0
)
_PRESET = flags.DEFINE_enum(
    "preset", "seed", sorted(config.PRESETS), "model that drives, if no --package"
)
_PACKAGE = flags.DEFINE_string(
    "package",
    None,
    "folder of a package that drives (default: made from --preset, not trained)",
)
path_flags.folders("package")

GOAL_MS = 5.0
"""99th percentile of a call, in each run, for the preset `seed`."""

Found = Mapping[str, Any]


def main(argv: list[str]) -> None:
    """Measures, prints the table, writes the JSON."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    console = open_console()
    console.print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        package = Path(_PACKAGE.value or Path(name) / "package")
        if not _PACKAGE.value:
            control_engines.write_package(Path(name), _PRESET.value, learns=True)
        _check(package)
        runs = [_run(package) for _ in range(_RUNS.value)]
    console.print(f"granted: {runs[0]['granted']}")
    for line in dict.fromkeys(line for run in runs for line in run["refused"]):
        console.print(line)
    console.print(_table(runs))
    within = sum(run["call_ms"][1] <= GOAL_MS for run in runs)
    console.print(
        f"p99 of a call within {GOAL_MS:g} ms in {within} of {len(runs)} runs"
    )
    commands.write_figures(_figures(runs))


def _check(folder: Path) -> None:
    package = verify_integrity(folder, EXPORT_TARGET)
    if find_function(package.manifest) is None:
        raise LearningError(folder, "a fast update for control", "none")


def count_steps_that_fit(period_ms: float, work_ms: float, call_ms: float) -> int:
    """How many calls fit between a step and the next one.

    Args:
        period_ms: length of a control period.
        work_ms: what a step takes without them.
        call_ms: what a call takes.
    """
    left_ms = period_ms - work_ms - RESERVE_NS / 1e6
    return max(0, int(left_ms / call_ms)) if call_ms > 0 else 0


def _run(package: Path) -> Found:
    program = [sys.executable, "-P", "-m", "tests.benchmarks.fast_update_loop"]
    done = subprocess.run(
        [*program, str(package), str(_CONTROL_HZ.value), str(_CALLS.value)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    period_ms = 1000.0 / _CONTROL_HZ.value
    found["fit"] = count_steps_that_fit(
        period_ms, found["work_ms"][1], found["call_ms"][1]
    )
    return found


def _table(runs: Sequence[Found]) -> FigureTable:
    table = FigureTable(
        "run",
        "call, p50",
        "p99",
        "longest",
        "processor, p50",
        "calls that fit",
        "calls",
        "without time",
        "late steps",
        names=["run"],
    )
    for number, run in enumerate(runs, 1):
        chances = run["calls"] + run["skipped"]
        table.add_row(
            f"{number}",
            *(f"{one:.2f} ms" for one in run["call_ms"]),
            f"{run['processor_ms'][0]:.2f} ms",
            f"{run['fit']}",
            f"{run['calls']:,}",
            f"{run['skipped'] / max(1, chances):.1%}",
            f"{run['missed']:,} of {run['steps']:,}",
        )
    return table


def _figures(runs: Sequence[Found]) -> Iterator[commands.Figure]:
    for number, run in enumerate(runs, 1):
        name = f"fast update, run {number}"
        spread = zip(("p50", "p99", "longest"), run["call_ms"], strict=True)
        for which, value in spread:
            yield commands.figure(f"{name}, {which}", value, "ms")
        yield commands.figure(f"{name}, calls that fit", run["fit"], "calls")
        yield commands.figure(f"{name}, without time", run["skipped"], "steps")
        yield commands.figure(f"{name}, late", run["missed"], "steps")


if __name__ == "__main__":
    command_line.run(main)
