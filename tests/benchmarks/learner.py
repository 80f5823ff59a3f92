"""Measures the robot's learner on published packages: memory, first step, stops.

    ./bazelw run //tests/benchmarks:learner -- --package=FOLDER

It starts `edge.loops.learner` as `//edge:learn` does, with one slow round, whose
memories and judges are the package's own canary episodes: what a round costs depends
on the sizes of the package and not on what an episode holds. First with nothing
compiled, then with what the first round left, then again and again, to stop it at a
random instant of its first seconds. Memory is `VmHWM` of the child.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import dataclasses
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from absl import flags

from base import command_line
from cloud.console import open_console
from cloud.figure_table import FigureTable
from edge.errors import LearningError
from edge.loops.learner_process import LearnerProcess
from edge.loops.learning_job import Job, Progress
from edge.loops.memory_choice import LIVED
from edge.runtime_version import EXPORT_TARGET
from release.package import CANARY
from release.verification import verify_integrity
from rlds import reader, tfrecord
from tests.benchmarks import commands

_PACKAGE = flags.DEFINE_multi_string(
    "package", [], "folder of an unpacked package; may be given several times"
)
_STOPS = flags.DEFINE_integer("stops", 20, "stops at random instants", lower_bound=1)
_THREADS = flags.DEFINE_integer(
    "threads", 0, "processors for the learner, 0 for all", lower_bound=0
)
_LONGEST_S = flags.DEFINE_float(
    "longest_s", 10.0, "latest instant of a stop after the start, seconds"
)

_LOOP = "slow"
_GOALS = {
    "cold, peak memory": "400 MB",
    "cold, first gradient step": "8 s",
    "compiled before, peak memory": "400 MB",
    "compiled before, first gradient step": "8 s",
    "longest stop": "200 ms",
}


@dataclass(frozen=True)
class Run:
    """One whole round.

    Attributes:
        first_s: from the start to the second call's report, seconds. The first call
            makes the state; the second is a gradient step. A report may be up to
            0.25 s late.
        first_mb: peak memory until then, megabytes.
        peak_mb: peak memory of the whole life, megabytes.
        whole_s: from the start to the end, seconds.
    """

    first_s: float
    first_mb: float
    peak_mb: float
    whole_s: float


def main(argv: list[str]) -> None:
    """Measures each package, then prints the table."""
    del argv
    if not _PACKAGE.value:
        raise LearningError("--package", "a folder of a package", "none")
    measured = {}
    for name in _PACKAGE.value:
        package = verify_integrity(Path(name), EXPORT_TARGET)
        title = f"{package.manifest.family} {package.digest[:12]}"
        with tempfile.TemporaryDirectory() as folder:
            measured[title] = _measure(Path(name), Path(folder))
    table = FigureTable("figure", "goal", *measured, names=["figure"])
    for row in next(iter(measured.values())):
        cells = (f"{found[row]:,.1f} {_find_unit(row)}" for found in measured.values())
        table.add_row(row, _GOALS.get(row, ""), *cells)
    open_console().print(table)
    commands.write_figures(_figures(measured))


def _measure(package: Path, folder: Path) -> dict[str, float]:
    job = _make_job(package, folder)
    cold = _run(job, folder)
    again = _run(job, folder)
    stops_ms = sorted(_stop(job, folder, number) for number in range(_STOPS.value))
    return {
        "cold, peak memory": cold.peak_mb,
        "cold, first gradient step": cold.first_s,
        "cold, memory until then": cold.first_mb,
        "cold, end of the round": cold.whole_s,
        "compiled before, peak memory": again.peak_mb,
        "compiled before, first gradient step": again.first_s,
        "compiled before, memory until then": again.first_mb,
        "compiled before, end of the round": again.whole_s,
        "median stop": stops_ms[len(stops_ms) // 2],
        "longest stop": stops_ms[-1],
    }


def _make_job(package: Path, folder: Path) -> Job:
    """A slow round on the package's own episodes."""
    paths = []
    records = tfrecord.read_records(package / CANARY, reader.LIMIT_BYTES)
    for number, record in enumerate(records):
        path = folder / f"{number}.tfrecord"
        path.write_bytes(tfrecord.frame(record))
        paths.append(path)
    return Job(
        package=package,
        loop=_LOOP,
        memories=tuple((path, LIVED) for path in paths),
        judges=tuple(paths),
        unmeasured=(),
        start=None,
        last_good=None,
        candidate=None,
        consolidations=0,
        seed=0,
        output=folder / "learned.safetensors",
        cache=folder / "compiled",
        threads=_THREADS.value,
    )


def _run(job: Job, folder: Path) -> Run:
    """One round to its end; raises a LearningError if it fails."""
    learner = LearnerProcess(job, folder)
    first_s = first_mb = peak_mb = 0.0
    try:
        while learner.running:
            reports = learner.poll(0.02)
            peak_mb = max(peak_mb, _read_peak_mb(learner.pid))
            steps = [r for r in reports if isinstance(r, Progress) and r.done > 1]
            if steps and not first_s:
                first_s, first_mb = time.monotonic() - learner.started_s, peak_mb
    finally:
        if learner.running:
            learner.stop()
    if learner.judged is None:
        raise LearningError(job.package, "a round to its end", learner.failure or "")
    return Run(first_s, first_mb, peak_mb, time.monotonic() - learner.started_s)


def _stop(job: Job, folder: Path, number: int) -> float:
    """Milliseconds to stop at a random instant; every other one compiles then."""
    cold = dataclasses.replace(job, cache=None)
    learner = LearnerProcess(cold if number % 2 else job, folder)
    end_s = learner.started_s + random.Random(number).uniform(0, _LONGEST_S.value)
    try:
        while learner.running and time.monotonic() < end_s:
            learner.poll(0.02)
    finally:
        failure = learner.failure
        stop_ms = learner.stop() * 1000
    if failure is not None:
        raise LearningError(job.package, "a round that can be stopped", failure)
    return stop_ms


def _read_peak_mb(pid: int) -> float:
    """`VmHWM` of a process in megabytes; 0 if it has ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        return 0.0
    return 0.0


def _figures(measured: dict[str, dict[str, float]]) -> Iterator[commands.Figure]:
    for title, found in measured.items():
        for row, value in found.items():
            name = f"learner, {title}, {row}"
            yield commands.figure(name, value, _find_unit(row))


def _find_unit(row: str) -> str:
    if "stop" in row:
        return "ms"
    return "MB" if "memory" in row else "s"


if __name__ == "__main__":
    command_line.run(main)
