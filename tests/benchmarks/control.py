"""Measures how control keeps time: late steps, the time of a step, and its jitter.

    ./bazelw run //tests/benchmarks:control -- --seconds=60 --busy=2

Drives at each control rate with the loop, the watchdog and the recorder of a robot and
the step of a package, in a process of its own. With --channel the robot's own programs
do it, on an arm of random numbers that counts as one that exists: control, with the
package of a channel, restated for the rate, and a delta; the recorder, which gets each
step through the ring; the learner, round after round; and the updater, which finds a
new release after three tenths of the steps; and, with --camera, cameras: two of 320x240
with 20 pictures per second are
`--camera=front=simulated --camera=left_wrist=simulated`, which threads of control
encode. --busy lets as many programs compute besides. What the system refused to it is
printed: the same command as another user may give other figures; and so is the time
that the host of a virtual machine took from it, which no program can prevent. One hour
at 50 Hz, for the growth of memory, is `--control_hz=50 --seconds=3600`.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from absl import app, flags

from base import command_line, path_flags
from base.errors import ContinuonError
from cloud.console import open_console
from cloud.figure_table import FigureTable
from edge import sense_flags
from edge.processes import robot_flags
from edge.processes.home import Home
from edge.testing.robot_home import RobotHome
from model import config
from release import run_summary
from release.verification import verify_integrity
from tests.benchmarks import (
    commands,
    control_engines,
    control_programs,
    process_usage,
    rated_package,
)
from tests.benchmarks.random_arm import STEPS
from tests.benchmarks.rated_package import RatedPackage

_CONTROL_HZ = flags.DEFINE_list(
    "control_hz", ["50", "200"], "control rates to drive at, in Hz"
)
_SECONDS = flags.DEFINE_float(
    "seconds", 30.0, "time to drive at each rate, in seconds", lower_bound=0.1
)
_CHANNEL = flags.DEFINE_string(
    "channel",
    None,
    "channel on this machine whose package drives, beside the robot's programs: "
    "STORE/channels/NAME.json (default: none, and control drives alone)",
)
_ROBOT = flags.DEFINE_string(
    "robot", "metaworld:reach-v3", "robot that the package of --channel must fit"
)
robot_flags.define_keys(robot_flags.KEYRING_FILE)
_BUSY = flags.DEFINE_integer(
    "busy", 0, "programs that compute meanwhile, at ordinary priority", lower_bound=0
)
_PRESET = flags.DEFINE_enum(
    "preset", "pi5", sorted(config.PRESETS), "model that drives, if no --package"
)
_PACKAGE = flags.DEFINE_string(
    "package", None, "folder of a package that drives (default: made from --preset)"
)
flags.adopt_module_key_flags(sense_flags)
path_flags.folders("package")

Found = Mapping[str, Any]
Sizes = Mapping[str, tuple[int, int]]
_WARM_SHARE = 0.1  # of the steps, as in `control_loop.py`
_UPDATE_SHARE = 0.3
_COMPUTE = "n = 0\nwhile True: n = (n * 3 + 1) % 1000003"
_TIMES = {"latency": "policy", "work": "whole step", "jitter": "jitter"}


def main(argv: list[str]) -> None:
    """Measures, prints the table, writes the JSON."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    if _CHANNEL.value and _PACKAGE.value:
        raise app.UsageError("expected one of --channel and --package")
    if sense_flags.hand_on() and not _CHANNEL.value:
        raise app.UsageError("expected --camera with --channel only")
    with tempfile.TemporaryDirectory() as name, _busy(_BUSY.value):
        drive = _drive_alone if _CHANNEL.value is None else _drive_beside_programs
        measured = {hz: drive(Path(name), hz) for hz in _CONTROL_HZ.value}
    console = open_console()
    any_found = next(iter(measured.values()))
    console.print(f"{os.cpu_count()} processors, {_BUSY.value} busy programs beside it")
    console.print(f"granted: {any_found['granted']}")
    for line in any_found["refused"]:
        console.print(line)
    console.print(_table(measured))
    commands.write_figures(_figures(measured))


def _drive_beside_programs(folder: Path, control_hz: str) -> Found:
    """The control program drives, and the robot's other programs are at work."""
    home, summary = Home(folder / f"robot at {control_hz} Hz"), folder / "summary.json"
    episodes = max(1, round(float(control_hz) * _SECONDS.value / STEPS))
    source = rated_package.fetch(
        folder / f"source for {control_hz} Hz",
        str(_CHANNEL.value),
        _ROBOT.value,
        robot_flags.hand_on_keys(),
    )
    rated = RatedPackage(
        folder / f"store at {control_hz} Hz", source, float(control_hz)
    )
    arm = Path(__file__).parent / "random_arm.py"
    robot = f"{arm}:RandomArm:{control_hz}:{rated.release()}"
    with control_programs.run(home, robot, rated.publisher) as programs:
        programs.await_package()
        RobotHome(home, rated.publisher, folder).keep_delta(programs.active)
        warm: Sizes | None = None
        last: Sizes = {}
        updated = False
        used_s = programs.read_processor_s()
        senses = sense_flags.hand_on()
        driving = programs.drive(episodes, STEPS, summary, senses)
        with driving, _stolen() as stolen:
            while driving.poll() is None:
                programs.tick()
                with contextlib.suppress(OSError):  # it has just ended
                    last = programs.read_sizes(driving)
                share = programs.steps / (episodes * STEPS)
                if warm is None and share >= _WARM_SHARE:
                    warm = last
                if not updated and share >= _UPDATE_SHARE:
                    updated = bool(rated.release())
            assert driving.stderr is not None
            said = driving.stderr.read().splitlines()
        used_s = {
            name: seconds - used_s.get(name, 0.0)
            for name, seconds in programs.read_processor_s().items()
        }
        account = programs.stop()
    if driving.returncode:
        raise ContinuonError("control", "it to drive", said[-1:], "see its flags")
    driven = run_summary.read(summary)
    warm = warm or last
    return {
        **stolen,
        "granted": programs.status.get("granted"),
        "refused": said,  # with what else control said
        "drove": [list(one) for one in programs.drove],
        "episodes": sum(one.episodes for one in driven.tasks.values()),
        "stops": sum(driven.stop_rules.values()),
        "steps": driven.steps,
        "recorded": driven.steps - account.missing.total,
        "missing": account.missing.total,
        "missed": driven.missed_deadlines,
        "times_us": {
            name: {"p50": one.p50_us, "p99": one.p99_us, "worst": one.worst_us}
            for name, one in driven.timing.items()
        },
        "memory_kb": [warm["control"][0], last["control"][0]],
        "files": [warm["control"][1], last["control"][1]],
        "programs": {
            "processor_s": used_s,
            "rounds": programs.rounds,
            "deaths": programs.deaths,
            "lines": programs.lines,
            "memory_kb": [warm["record"][0], last["record"][0]],
            "files": [warm["record"][1], last["record"][1]],
        },
    }


def _drive_alone(folder: Path, control_hz: str) -> Found:
    """The loop of the robot records by itself, in a process of its own."""
    package = Path(_PACKAGE.value or folder / "package")
    if not package.exists() and not _PACKAGE.value:
        control_engines.write_package(folder, _PRESET.value)
    verify_integrity(package, "pi5-cpu")
    program = [sys.executable, "-m", "tests.benchmarks.control_loop"]
    with _stolen() as stolen:
        raw = subprocess.run(
            [*program, str(package), control_hz, str(_SECONDS.value)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
    return {**json.loads(raw), **stolen}


@contextlib.contextmanager
def _stolen() -> Iterator[dict[str, float]]:
    """The time of the block in seconds, and the share that the host took from it."""
    found: dict[str, float] = {}
    began_s, stolen_s = time.monotonic(), process_usage.stolen_s()
    yield found
    found["seconds"] = seconds = time.monotonic() - began_s
    stolen_s = process_usage.stolen_s() - stolen_s
    found["stolen_share"] = stolen_s / seconds / (os.cpu_count() or 1)


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
    programs = found.get("programs")
    return {
        "steps, recorded, missing": f"{found['steps']:,}, {found['recorded']:,}, "
        f"{found.get('missing', 0):,}",
        **({} if programs is None else {"drove with": _tell_drives(found["drove"])}),
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
        **(
            {}
            if programs is not None
            else {"share of a processor": f"{found['processor_share']:.1%}"}
        ),
        "stolen by the host": f"{found['stolen_share']:.2%}",
        "growth of memory": f"{_growth(found, 'memory_kb'):,} KB",
        "growth of open files": f"{_growth(found, 'files')}",
        **({} if programs is None else _program_rows(programs, found["seconds"])),
    }


def _tell_drives(drove: list[list[str | None]]) -> str:
    """How many packages it drove with, and how many deltas."""
    packages, deltas = ({one[i] for one in drove} - {None} for i in (0, 1))
    return f"packages {len(packages)}, deltas {len(deltas)}"


def _program_rows(programs: Found, seconds: float) -> dict[str, str]:
    shares = {
        f"{name}, share of a processor": f"{used / seconds:.1%}"
        for name, used in programs["processor_s"].items()
    }
    return {
        **shares,
        "rounds of the learner": f"{programs['rounds']}",
        "restarts": f"{programs['deaths']}",
        "record, growth of memory": f"{_growth(programs, 'memory_kb'):,} KB",
        "record, growth of open files": f"{_growth(programs, 'files')}",
    }


def _growth(found: Found, name: str) -> int:
    before, after = found[name]
    return int(after - before)


def _figures(measured: Mapping[str, Found]) -> Iterator[commands.Figure]:
    for hz, found in measured.items():
        at = f"control, {hz} Hz"
        share = 100.0 * found["missed"] / found["steps"]
        yield commands.figure(f"{at}, missed deadlines", share, "%")
        stolen = 100.0 * found["stolen_share"]
        yield commands.figure(f"{at}, stolen by the host", stolen, "%")
        missing = found["steps"] - found["recorded"]
        yield commands.figure(f"{at}, steps not recorded", missing, "steps")
        for name, text in _TIMES.items():
            for key, value in found["times_us"][name].items():
                yield commands.figure(f"{at}, {text}, {key}", value, "us")
        for name, one in (("", found), (", record", found.get("programs"))):
            if one is not None:
                memory = _growth(one, "memory_kb")
                yield commands.figure(f"{at}{name}, growth of memory", memory, "KB")
                files = _growth(one, "files")
                yield commands.figure(
                    f"{at}{name}, growth of open files", files, "files"
                )


if __name__ == "__main__":
    command_line.run(main)
