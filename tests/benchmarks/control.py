"""Measures how control keeps time: late steps, the time of a step, and its jitter.

    ./bazelw run //tests/benchmarks:control -- --seconds=60 --busy=2

Drives at each control rate with the loop, the watchdog and the recorder of a robot and
the step of a package, in a process of its own. `--busy` lets as many programs compute
beside it, as a learner and an updater do. What the system refused to it is printed: the
same command as another user may give other figures. One hour at 50 Hz, for the growth
of memory, is `--control_hz=50 --seconds=3600`.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from absl import flags

from base import command_line, path_flags
from cloud.console import open_console
from cloud.figure_table import FigureTable
from model import config
from release.verification import verify_integrity
from tests.benchmarks import commands, control_engines

_CONTROL_HZ = flags.DEFINE_list(
    "control_hz", ["50", "200"], "control rates to drive at, in Hz"
)
_SECONDS = flags.DEFINE_float(
    "seconds", 30.0, "time to drive at each rate, in seconds", lower_bound=0.1
)
_BUSY = flags.DEFINE_integer(
    "busy", 0, "programs that compute meanwhile, at ordinary priority", lower_bound=0
)
_PRESET = flags.DEFINE_enum(
    "preset", "pi5", sorted(config.PRESETS), "model that drives, if no --package"
)
_PACKAGE = flags.DEFINE_string(
    "package", None, "folder of a package that drives (default: made from --preset)"
)
path_flags.folders("package")

Found = Mapping[str, Any]
_COMPUTE = "n = 0\nwhile True: n = (n * 3 + 1) % 1000003"
_TIMES = {"latency": "policy", "work": "whole step", "jitter": "jitter"}


def main(argv: list[str]) -> None:
    """Measures, prints the table, writes the JSON."""
    del argv
    with tempfile.TemporaryDirectory() as name:
        folder = Path(_PACKAGE.value or Path(name) / "package")
        if not _PACKAGE.value:
            control_engines.write_package(Path(name), _PRESET.value)
        verify_integrity(folder, "pi5-cpu")
        with _busy(_BUSY.value):
            measured = {hz: _drive(folder, hz) for hz in _CONTROL_HZ.value}
    console = open_console()
    any_found = next(iter(measured.values()))
    console.print(f"{os.cpu_count()} processors, {_BUSY.value} busy programs beside it")
    console.print(f"granted: {any_found['granted']}")
    for line in any_found["refused"]:
        console.print(line)
    console.print(_table(measured))
    commands.write_figures(_figures(measured))


def _drive(folder: Path, control_hz: str) -> Found:
    program = [sys.executable, "-m", "tests.benchmarks.control_loop"]
    done = subprocess.run(
        [*program, str(folder), control_hz, str(_SECONDS.value)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        check=True,
        stdout=subprocess.PIPE,
    )
    found: Found = json.loads(done.stdout)
    return found


@contextlib.contextmanager
def _busy(count: int) -> Iterator[None]:
    """Lets as many programs compute while the block runs."""
    programs = [
        subprocess.Popen([sys.executable, "-c", _COMPUTE]) for _ in range(count)
    ]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def _table(measured: Mapping[str, Found]) -> FigureTable:
    table = FigureTable("figure", *(f"{hz} Hz" for hz in measured), names=["figure"])
    for name in _rows(next(iter(measured.values()))):
        table.add_row(name, *(_rows(found)[name] for found in measured.values()))
    return table


def _rows(found: Found) -> dict[str, str]:
    return {
        "steps, recorded": f"{found['steps']:,}, {found['recorded']:,}",
        "episodes, stopped": f"{found['episodes']:,}, {found['stops']:,}",
        "missed deadlines": f"{found['missed'] / found['steps']:.3%}",
        **{
            f"{text}, p50, p99, worst": ", ".join(
                f"{found['times_us'][name][key]:,.0f}"
                for key in ("p50", "p99", "worst")
            )
            + " us"
            for name, text in _TIMES.items()
        },
        "share of a processor": f"{found['processor_share']:.1%}",
        "growth of memory": f"{_growth(found, 'memory_kb'):,} KB",
        "growth of open files": f"{_growth(found, 'files')}",
    }


def _growth(found: Found, name: str) -> int:
    before, after = found[name]
    return int(after - before)


def _figures(measured: Mapping[str, Found]) -> Iterator[commands.Figure]:
    for hz, found in measured.items():
        share = 100.0 * found["missed"] / found["steps"]
        yield commands.figure(f"control, {hz} Hz, missed deadlines", share, "%")
        for name, text in _TIMES.items():
            for key, value in found["times_us"][name].items():
                yield commands.figure(f"control, {hz} Hz, {text}, {key}", value, "us")
        memory = _growth(found, "memory_kb")
        yield commands.figure(f"control, {hz} Hz, growth of memory", memory, "KB")
        files = _growth(found, "files")
        yield commands.figure(f"control, {hz} Hz, growth of open files", files, "files")


if __name__ == "__main__":
    command_line.run(main)
