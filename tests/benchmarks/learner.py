"""Measures the robot's learner on packages: memory, first gradient step, stops.

    ./bazelw run //tests/benchmarks:learner -- --package=FOLDER

It starts `edge.loops.learner` as `//edge:learn` does: once for each function, to
compile it; then for a slow round, whose memories and judges are the package's own
canary episodes, since what a round costs depends on the sizes of the package and not on
what an episode holds; then again and again, to stop it at a random instant of its first
seconds, while it learns and while it compiles. Memory is `VmHWM` of a child, of which
`RssAnon`, looked at every 20 ms, is what the system cannot read again from its files.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

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
from edge.loops import night
from edge.loops.learner_process import LearnerProcess
from edge.loops.learning_job import Job, Progress
from edge.loops.memory_choice import LIVED
from edge.runtime_version import EXPORT_TARGET
from release.package import CANARY
from release.verification import IntactPackage, verify_integrity
from rlds import reader, tfrecord
from tests.benchmarks import commands, process_usage

_PACKAGE = flags.DEFINE_multi_string(
    "package", [], "folder of an unpacked package; may be given several times"
)
_STOPS = flags.DEFINE_integer("stops", 20, "stops at random instants", lower_bound=1)
_THREADS = flags.DEFINE_integer(
    "threads",
    1,
    "processors for the learner, as `--learner_threads` of //edge:robot; 0 for all",
    lower_bound=0,
)
_LONGEST_S = flags.DEFINE_float(
    "longest_s", 10.0, "latest instant of a stop after the start, seconds"
)

_LOOP = "slow"
_GOALS = {
    "compiling, peak memory": "400 MB",
    "round, peak memory": "400 MB",
    "round, first gradient step": "8 s",
    "longest stop": "200 ms",
}


@dataclass(frozen=True)
class Run:
    """One job to its end.

    Attributes:
        first_s: from the start to the report of the first gradient step, seconds. A
            report may be up to 0.25 s late.
        peak_mb: peak memory of the whole life, megabytes.
        private_mb: most of it that is of no file, megabytes.
        whole_s: from the start to the end, seconds.
        processor_s: of the processor, to the last look, seconds.
    """

    first_s: float
    peak_mb: float
    private_mb: float
    whole_s: float
    processor_s: float


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
            measured[title] = _measure(package, Path(folder))
    table = FigureTable("figure", "goal", *measured, names=["figure"])
    for row in next(iter(measured.values())):
        cells = (f"{found[row]:,.1f} {_find_unit(row)}" for found in measured.values())
        table.add_row(row, _GOALS.get(row, ""), *cells)
    open_console().print(table)
    commands.write_figures(_figures(measured))


def _measure(package: IntactPackage, folder: Path) -> dict[str, float]:
    job = _make_job(package.folder, folder)
    compiled = folder / "compiled"
    to_compile = [
        Job.to_compile(package.folder, name, compiled, job.threads)
        for name in night.list_to_prepare(package, [_LOOP])
    ]
    runs = [_run(one, folder) for one in to_compile]
    learned = _run(job, folder, _count_before_steps(package))
    stopped = [job, *to_compile[:1]]
    stops_ms = sorted(
        _stop(stopped[number % len(stopped)], folder, number)
        for number in range(_STOPS.value)
    )
    return {
        "compiling, peak memory": max((run.peak_mb for run in runs), default=0),
        "compiling, memory of no file": max(
            (run.private_mb for run in runs), default=0
        ),
        "compiling, time": sum(run.whole_s for run in runs),
        "compiling, processor": sum(run.processor_s for run in runs),
        "round, peak memory": learned.peak_mb,
        "round, memory of no file": learned.private_mb,
        "round, first gradient step": learned.first_s,
        "round, end": learned.whole_s,
        "round, processor": learned.processor_s,
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
        output=folder / "learned.safetensors",
        cache=folder / "compiled",
        threads=_THREADS.value,
    )


def _count_before_steps(package: IntactPackage) -> int:
    """Calls of the loop before its first gradient step."""
    assert package.manifest.learning is not None  # it has functions to prepare
    names = [one.function for one in package.manifest.learning.loops[_LOOP]]
    first = next(i for i, name in enumerate(names) if name.endswith("_step"))
    return sum(one.calls for one in package.manifest.learning.loops[_LOOP][:first])


def _run(job: Job, folder: Path, before_steps: int = 0) -> Run:
    """One job to its end; raises a LearningError if it fails."""
    learner = LearnerProcess(job, folder)
    first_s = peak_mb = private_mb = processor_s = 0.0
    try:
        while learner.running:
            reports = learner.poll(0.02)
            peak_mb = max(peak_mb, _read_mb(learner.pid, "VmHWM"))
            private_mb = max(private_mb, _read_mb(learner.pid, "RssAnon"))
            processor_s = max(processor_s, process_usage.processor_s(learner.pid))
            progress = [r for r in reports if isinstance(r, Progress)]
            steps = [r for r in progress if r.done > before_steps]
            if steps and not first_s:
                first_s = time.monotonic() - learner.started_s
    finally:
        if learner.running:
            learner.stop()
    if learner.failure is not None:
        raise LearningError(job.package, "a job to its end", learner.failure)
    whole_s = time.monotonic() - learner.started_s
    return Run(first_s, peak_mb, private_mb, whole_s, processor_s)


def _stop(job: Job, folder: Path, number: int) -> float:
    """Milliseconds to stop at a random instant before its end."""
    learner = LearnerProcess(job, folder)
    end_s = learner.started_s + random.Random(number).uniform(0, _LONGEST_S.value)
    try:
        while learner.running and time.monotonic() < end_s:
            learner.poll(0.02)
    finally:
        failure = learner.failure
        stop_ms = learner.stop() * 1000
    if failure is not None:
        raise LearningError(job.package, "a job that can be stopped", failure)
    return stop_ms


def _read_mb(pid: int, name: str) -> float:
    """One kind of memory of a process in megabytes; 0 if it has ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
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
