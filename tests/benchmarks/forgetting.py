"""Measures candidates against forgetting on the memories of a robot that has lived.

    ./bazelw run //tests/benchmarks:forgetting -- --allow_development_keys \\
        --home=HOMES/unseen-backlash-0 --change=unseen-backlash

The home is one that `//edge:life` or `//tests/benchmarks:adaptation --homes=HOMES` has
left, after a life of one night. For each candidate the night is spent once more on what
the robot remembered then, from no delta (`candidate_nights.py`); its delta is kept in a
copy of the home, and control drives with it, as changed and as unchanged. No guard
judges these deltas: the table is to show what each would do. `none` drives without one.

The night is library code, since candidates that do not ship are in no package; what
drives are the programs that ship.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import safetensors.numpy
from absl import flags

from base import command_line, path_flags
from base.digest import sha256_bytes
from base.errors import ContinuonError
from cloud.console import open_console
from cloud.dataset import split
from cloud.evaluate.success_rate import SuccessRate
from cloud.figure_table import FigureTable
from cloud.job.settings import DatasetSettings
from edge.control import local_delta
from edge.control.local_delta import DeltaRecord, Evaluation
from edge.loops import found as findings
from edge.loops import memory_arrays, night
from edge.loops.budgets import SLOW
from edge.loops.delta_store import CURRENT, DeltaStore
from edge.loops.memories import LocalMemories
from edge.loops.memory_arrays import MEMORIES, Arrays
from edge.loops.memory_choice import KNOWN
from edge.ota.state_folder import StateFolder
from edge.processes import robot_flags
from edge.processes.home import Home
from edge.processes.life_report import Day
from edge.robots import machine_name
from edge.robots.changed_robot import parse_change
from edge.runtime_version import EXPORT_TARGET
from model import config, step_function
from release.package import CANARY, WEIGHTS
from release.verification import IntactPackage, verify_integrity
from rlds import example_codec, reader, tfrecord
from rlds.spec import EpisodeSpec
from tests.benchmarks import commands, measured_robot, rehearsal_choice
from tests.benchmarks.candidate_nights import CANDIDATES, Nights

NONE: Final = "none"
"""The row without a delta."""
CHOSEN_PER_TASK: Final = 5
"""Demonstrations of each task that a forge would choose and ship: 25 of five tasks take
0.4 of the 3.0 MB of a package."""

_HOME = flags.DEFINE_string(
    "home", None, "folder of a robot that has lived one night", required=True
)
_CHANGE = flags.DEFINE_string(
    "change", None, "change of that robot, as --change of adaptation", required=True
)
_CANDIDATES = flags.DEFINE_multi_enum(
    "candidate",
    [NONE, *CANDIDATES],
    [NONE, *CANDIDATES],
    "candidate to measure; may be repeated; default: all",
)
_TASKS = flags.DEFINE_multi_string(
    "task", list(measured_robot.TASKS), "task of the robot; may be repeated"
)
_MEASURED = flags.DEFINE_integer(
    "measured_episodes", 20, "measured episodes of each task", lower_bound=1
)
_SEED = flags.DEFINE_integer(
    "seed", 90_000, "seed of the first measured episode of each task"
)
_DATASET = flags.DEFINE_string(
    "dataset",
    "",
    "folder or URI of the dataset that the package was trained on, of which `chosen` "
    "takes demonstrations; default: the simulated episodes that Bazel builds",
)
_ROBOT_ID = robot_flags.define_robot_id()
robot_flags.define_keys(robot_flags.KEYRING_FILE)
path_flags.folders("home")


@dataclass(frozen=True)
class Measured:
    """Successes with the delta of one candidate.

    Attributes:
        changed: on the changed robot.
        unchanged: on the unchanged one.
        found: what its night found, for people.
        night_s: processor time of its night, in seconds.
    """

    changed: SuccessRate
    unchanged: SuccessRate
    found: str = ""
    night_s: float = 0.0


def main(argv: list[str]) -> None:
    """Measures the candidates one by one, prints the table, writes the JSON.

    Raises:
        RobotChangeError: there is no such change.
        ContinuonError: the home is not of a robot that has lived.
    """
    del argv
    parse_change(_CHANGE.value)
    console = open_console()
    with tempfile.TemporaryDirectory() as scratch:
        robot = _Robot(Home(Path(_HOME.value).absolute()), Path(scratch))
        measured = {}
        for name in _CANDIDATES.value:
            measured[name] = robot.measure(name)
            console.print(f"{name}: {tell(measured[name])}")
    console.print(make_table(measured))
    commands.write_figures(list_figures(measured))


class _Robot:
    """A robot that has lived, and the nights it might have had."""

    def __init__(self, home: Home, scratch: Path) -> None:
        self._home, self._scratch = home, scratch
        state = StateFolder(home.packages)
        installed = state.read_installed()
        if installed is None:
            raise ContinuonError(home.root, "a robot with a package", "none")
        folder = state.package_folder(installed.digest)
        self._package = verify_integrity(folder, EXPORT_TARGET)
        count = count_before_night(home.root / "life.json")
        filled = _fill_memories(self._package, home, count, scratch)
        self._nights = _make_nights(self._package, *filled)

    def measure(self, name: str) -> Measured:
        """Success with the delta of a candidate's night, or without one."""
        copy = Home(self._scratch / name.replace(" ", "-"))
        shutil.copytree(self._home.packages, copy.packages)
        began_s, told = time.process_time(), ""
        if name != NONE:
            told = self._learn(name, copy)
        night_s = time.process_time() - began_s
        changed, unchanged = (
            measured_robot.measure(
                copy.root,
                measured_robot.name_robots(_TASKS.value, change),
                _MEASURED.value,
                _SEED.value,
                robot_flags.hand_on_keys(),
            )
            for change in (_CHANGE.value, None)
        )
        shutil.rmtree(copy.root)
        return Measured(changed, unchanged, told, night_s)

    def _learn(self, name: str, home: Home) -> str:
        """Keeps the delta of a candidate's night; returns what that found."""
        vectors, found = self._nights.spend(CANDIDATES[name])
        numbers = findings.collect(found)
        record = DeltaRecord(
            base_package=self._package.digest,
            parent=None,
            loop=SLOW,
            consolidations=1,
            created_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            tensors_sha256=sha256_bytes(local_delta.encode_vectors(vectors)),
            episodes=(),
            evaluation=Evaluation(0, 0.0, 0.0, 0.0),
            wall_s=0.0,
            processor_s=0.0,
            surfaces=local_delta.list_changed(vectors),
            found=numbers,
        )
        store = DeltaStore(home.deltas)
        store.point(CURRENT, store.keep(vectors, record))
        return findings.describe(numbers)


def count_before_night(path: Path) -> int:
    """How many episodes a robot had before its first night, by its `life.json`.

    A life that ended before it was measured has none: then every episode counts.
    """
    if not path.exists():
        return sys.maxsize
    days = [Day(**day) for day in json.loads(path.read_bytes())["days"]]
    return sum(day.episodes + day.shown for day in days[:2])


def _fill_memories(
    package: IntactPackage, home: Home, count: int, scratch: Path
) -> tuple[Arrays, Arrays, Arrays]:
    """What the robot would learn from in its first night, and what a forge has for it.

    The latter are the episodes that the package ships, and the demonstrations that it
    might ship. What was measured after the night lies among the memories too, and is
    left out.
    """
    kept = scratch / "memories"
    kept.mkdir()
    for path in home.memories.glob("*.tfrecord"):
        if int(path.name.partition("-")[0]) < count:
            shutil.copyfile(path, kept / path.name)
    name = _ROBOT_ID.value or machine_name.derive_name()
    memories = LocalMemories(kept, name)
    while not memories.is_whole:
        memories.read()
    store = DeltaStore(scratch / "no deltas")
    job = night.plan_round(package, SLOW, store, memories, scratch).job
    manifest = package.manifest
    assert manifest.learning is not None  # or no night could be planned
    functions = [entry.function for entry in manifest.learning.loops[SLOW]]
    shapes = memory_arrays.find_shapes(manifest, functions, MEMORIES)
    own = [(reader.read_episode(path), kind) for path, kind in job.memories]
    records = tfrecord.read_records(package.path(CANARY), reader.LIMIT_BYTES)
    shipped = [(example_codec.decode(record), KNOWN) for record in records]
    demonstrations = split.open_split(
        DatasetSettings(_DATASET.value).uri, "train", scratch
    )
    chosen = rehearsal_choice.choose(demonstrations.episodes, CHOSEN_PER_TASK)
    rehearsed = [(episode, KNOWN) for episode in chosen]
    filled = (
        memory_arrays.fill(shapes, episodes, manifest.robot.tasks)
        for episodes in (own, shipped, rehearsed)
    )
    return next(filled), next(filled), next(filled)


def _make_nights(
    package: IntactPackage, own: Arrays, shipped: Arrays, chosen: Arrays
) -> Nights:
    """The nights of a package whose robots have no senses beside their state."""
    manifest = package.manifest
    assert manifest.learning is not None  # or no night could be planned
    (state_size,) = manifest.robot.observation["state"].shape
    (action_size,) = manifest.robot.action.shape
    sizes = config.fit_preset(
        str(manifest.metadata.training_config["preset"]),
        EpisodeSpec(state_size, action_size),
        len(manifest.robot.tasks),
    )
    weights = safetensors.numpy.load_file(package.path(WEIGHTS))
    model = step_function.from_weights(sizes, weights)
    return Nights(model, manifest.learning.loops[SLOW], own, shipped, chosen)


def tell(one: Measured) -> str:
    """One line about a candidate."""
    rates = (
        f"{rate.successes} of {rate.episodes} {robot}"
        for robot, rate in (("changed", one.changed), ("unchanged", one.unchanged))
    )
    about = f"; found: {one.found}" if one.found else ""
    return f"{', '.join(rates)}, {one.night_s:.0f} s of the processor{about}"


def make_table(measured: Mapping[str, Measured]) -> FigureTable:
    """A line for each candidate."""
    table = FigureTable(
        *("in the place of known", "changed robot", "unchanged robot", "night"),
        names=("in the place of known",),
        title="Successes with the delta of one night",
    )
    for name, one in measured.items():
        rates = (f"{x.successes} of {x.episodes}" for x in (one.changed, one.unchanged))
        table.add_row(name, *rates, f"{one.night_s:.0f} s")
    return table


def list_figures(measured: Mapping[str, Measured]) -> Iterator[commands.Figure]:
    """The table's figures."""
    for name, one in measured.items():
        yield commands.figure(f"{name}, changed", 100 * one.changed.rate, "%")
        yield commands.figure(f"{name}, unchanged", 100 * one.unchanged.rate, "%")
        yield commands.figure(f"{name}, night", one.night_s, "s")


if __name__ == "__main__":
    command_line.run(main)
