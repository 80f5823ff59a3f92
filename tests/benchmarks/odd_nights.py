"""Spends nights that go wrong with the learner that ships, on the package that ships.

    ./bazelw run //tests/benchmarks:odd_nights -- --allow_development_keys \\
        --home=HOMES/latency-0 --nights=100

The home is one that `//edge:life` or `//tests/benchmarks:adaptation --homes=HOMES` has
left; the nights are spent in a copy. Before each, odd episodes are handed to
`//edge:learn`, made of the robot's own: sensors that say nothing, enormous numbers or
NaN, commands turned around, steps in another order, another robot's name, files cut
short. Then `//edge:learn --once` runs to its end, is killed at a random instant, or
finds a full disk. After each night the package must have every byte that it had, the
pointers must name deltas within their bounds or none, and `//edge/processes:control`
must drive an episode.

`//edge/loops:nights_test` spends thousands of nights within one process, with functions
made for tests; these are few, because each has the whole cost of a night.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import collections
import contextlib
import dataclasses
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from absl import flags

from base import command_line, path_flags, text_forms
from base.digest import sha256_bytes
from base.errors import ContinuonError
from cloud.console import open_console
from cloud.figure_table import FigureTable
from edge.loops.delta_store import CURRENT, LAST_GOOD, DeltaStore
from edge.ota.state_folder import StateFolder
from edge.processes import robot_flags
from edge.processes.home import Home
from edge.testing.no_budgets import NO_BUDGETS
from release.verification import IntactPackage, verify_integrity
from rlds import example_codec, reader, tfrecord
from tests.benchmarks import commands, measured_robot

_HOME = flags.DEFINE_string(
    "home", None, "folder of a robot that has lived", required=True
)
_NIGHTS = flags.DEFINE_integer("nights", 100, "nights to spend", lower_bound=1)
_ROBOTS = flags.DEFINE_multi_string(
    "robot",
    measured_robot.name_robots(measured_robot.TASKS, None),
    "robot, one of which drives an episode after each night; may be repeated",
)
_SEED = flags.DEFINE_integer("seed", 0, "decides what goes wrong", lower_bound=0)
robot_flags.define_robot_id()
robot_flags.define_keys(robot_flags.KEYRING_FILE)
path_flags.folders("home")

WHOLE: Final = "ran to its end"
KILLED: Final = "killed"
FULL: Final = "full disk"
FATES: Final = (WHOLE, WHOLE, KILLED, FULL)
"""What becomes of nights, in turn."""
_MOST_ODD: Final = 6
"""Odd episodes before a night."""
_KILLED_WITHIN_S: Final = 30.0
"""About as long as a night of the default package takes."""
_FULL_BYTES: Final = (0, 1000, 30_000, 300_000)
"""Sizes beyond which no file grows on a full disk; a delta has about 300 KB."""
_HUGE: Final = 1e30
_SLACK: Final = 1.0001
"""A bound is held in f32."""


class NightError(ContinuonError):
    """A night left something that no night may leave."""


@dataclasses.dataclass(frozen=True)
class Night:
    """What became of one night.

    Attributes:
        fate: one of `FATES`.
        ended: how the learner ended: an outcome, or the first word of its error.
        delta: digest of the delta that control drives with from then on, or "".
        share_of_bound: of the surface that is nearest to its bound; 0 without a delta.
        seconds: of the learner.
    """

    fate: str
    ended: str
    delta: str
    share_of_bound: float
    seconds: float


def main(argv: list[str]) -> None:
    """Spends the nights, prints the table, writes the JSON.

    Raises:
        ContinuonError: the home is not of a robot that has lived.
        NightError: a night left a package, a delta or a robot that it may not leave.
    """
    del argv
    console = open_console()
    with tempfile.TemporaryDirectory() as scratch:
        robot = OddRobot(Home(Path(_HOME.value).absolute()), Path(scratch))
        nights = []
        for number in range(_NIGHTS.value):
            nights.append(robot.spend(_SEED.value + number))
            console.print(f"night {number + 1}: {tell(nights[-1])}")
    console.print(make_table(nights))
    commands.write_figures(list_figures(nights))


class OddRobot:
    """A copy of a robot that has lived, and its odd nights."""

    def __init__(self, home: Home, scratch: Path) -> None:
        """Copies what nights read and write.

        Raises:
            ContinuonError: there is no package, or nothing to learn from.
        """
        self._home = Home(scratch / "home")
        installed = StateFolder(home.packages).read_installed()
        own = sorted(home.memories.glob("*-learn-*.tfrecord"))
        if installed is None or not own:
            raise ContinuonError(
                home.root, "a robot with a package and memories", "none"
            )
        for folder in (home.packages, home.memories, home.deltas):
            if folder.exists():
                shutil.copytree(folder, self._home.root / folder.name)
        self._own = [reader.read_episode(path) for path in own]
        folder = StateFolder(self._home.packages).package_folder(installed.digest)
        self._package = verify_integrity(folder)
        self._before = read_tree(folder)
        self._made = 0

    def spend(self, seed: int) -> Night:
        """Lets one night go wrong, and looks at what it left.

        Raises:
            NightError: something that no night may leave.
        """
        random = np.random.default_rng(seed)
        new = self._home.new_memories
        new.mkdir(parents=True, exist_ok=True)
        for _ in range(random.integers(1, _MOST_ODD + 1)):
            self._made += 1
            path = new / f"odd-{seed:06d}-{self._made:06d}.tfrecord"
            path.write_bytes(self._draw_episode(random))
        fate = FATES[seed % len(FATES)]
        began_s = time.monotonic()
        ended = self._learn(fate, random)
        seconds = time.monotonic() - began_s
        delta, share = self._require_whole(seed)
        self._require_drivable(seed, str(random.choice(_ROBOTS.value)))
        return Night(fate, ended, delta, share, seconds)

    def _draw_episode(self, random: np.random.Generator) -> bytes:
        """The file of one odd episode, made of one of the robot's own."""
        one = self._own[random.integers(len(self._own))]
        steps: dict[str, Any] = {n: np.array(v) for n, v in one.steps.items()}
        state, count = steps["observation/state"], one.num_steps
        channels = random.random(state.shape[1]) < 0.3
        robot_hash = one.metadata.robot_hash
        match random.integers(8):
            case 0:
                state[:] = 0.0
            case 1:
                state[:, channels] = _HUGE
            case 2:
                state[count // 2 :, channels] = np.nan  # never made by a recorder
            case 3:
                state[:, channels] = state[0, channels]  # a sensor that stands still
            case 4:
                steps["action"] = -steps["action"]  # contradicts what was shown
            case 5:
                steps["observation/state"] = state[random.permutation(count)]
            case 6:
                robot_hash = "another-robot"
            case _:
                state += random.normal(0.0, 1.0, state.shape[1]).astype(np.float32)
        number = time.time_ns() // 1_000_000
        metadata = dataclasses.replace(
            one.metadata,
            episode_id=text_forms.format_uuid7(number, random.bytes(10)),
            robot_hash=robot_hash,
            success=[True, True, False, None][random.integers(4)],
        )
        record = example_codec.encode_parts(one.spec, metadata, steps)
        raw = bytes(tfrecord.frame(record))
        return raw[: random.integers(len(raw))] if random.integers(10) == 0 else raw

    def _learn(self, fate: str, random: np.random.Generator) -> str:
        """Runs the learner; returns how it ended."""
        limit = int(random.choice(_FULL_BYTES))
        module = "edge.processes.learn"
        with subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", module, f"--home={self._home.root}"),
                *(*robot_flags.hand_on_keys(), *robot_flags.hand_on("robot_id")),
                *("--once", "--learner_threads=0", *NO_BUDGETS),
            ],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as running:
            if fate == FULL:  # long before it writes
                resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (limit, limit))
            if fate == KILLED:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    running.wait(float(random.uniform(0.0, _KILLED_WITHIN_S)))
                running.send_signal(signal.SIGKILL)
            said = running.communicate()[0]
        if "Traceback" in said:
            raise NightError(module, "one line for what went wrong", said)
        if running.returncode < 0:
            return "killed"
        lines = said.strip().splitlines() or ["said nothing"]
        for outcome in ("accepted", "refused", "nothing"):
            if outcome in lines[-1]:
                return outcome
        return lines[-1].partition(":")[0] if running.returncode else lines[-1]

    def _require_whole(self, seed: int) -> tuple[str, float]:
        """Checks the package and the deltas; returns that of control, and its share."""
        where = f"night of seed {seed}"
        folder = self._package.folder
        if read_tree(folder) != self._before:
            raise NightError(where, "a package that no night changes", "another")
        _, last_good = find_delta(self._home, self._package, LAST_GOOD)
        digest, share = find_delta(self._home, self._package, CURRENT)
        for one in (last_good, share):
            if not one <= _SLACK:  # nor is what is not a number
                raise NightError(
                    where, "a delta within its bounds", f"{one:.3f} of one"
                )
        return digest, share

    def _require_drivable(self, seed: int, robot: str) -> None:
        keys = robot_flags.hand_on_keys()
        try:
            measured_robot.measure(self._home.root, [robot], 1, seed, keys)
        except ContinuonError as e:
            raise NightError(
                f"night of seed {seed}", f"a robot that drives {robot}", e
            ) from e


def find_delta(home: Home, package: IntactPackage, pointer: str) -> tuple[str, float]:
    """The delta that a pointer names, and its nearest surface as a share of its bound.

    Where it names none, "" and 0.

    Raises:
        DeltaError: the pointer or its delta is torn, of another package or out of
            bounds: no night may leave it so, though control would drive without.
    """
    delta = DeltaStore(home.deltas).read(pointer, package.manifest)
    if delta is None:
        return "", 0.0
    surfaces = package.manifest.surfaces
    shares = [
        float(np.linalg.norm(vector)) / surfaces[name].bound
        for name, vector in delta.vectors.items()
    ]
    return delta.digest, float(np.max(shares, initial=0.0))


def read_tree(folder: Path) -> str:
    """One digest of every file below a folder."""
    return sha256_bytes(
        "\n".join(
            f"{path.relative_to(folder)} {sha256_bytes(path.read_bytes())}"
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ).encode()
    )


def tell(night: Night) -> str:
    """One line about a night."""
    delta = f"delta {night.delta[:12]}" if night.delta else "no delta"
    return (
        f"{night.fate}: {night.ended} after {night.seconds:.0f} s; then {delta}, "
        f"{night.share_of_bound:.2f} of its nearest bound; the robot drives"
    )


def make_table(nights: list[Night]) -> FigureTable:
    """A line for each fate and end."""
    table = FigureTable(
        *("night", "learner", "nights", "with a delta after", "largest share of bound"),
        names=("night", "learner"),
        title=f"{len(nights)} odd nights: the package is whole and the robot drives",
    )
    for (fate, ended), some in group(nights):
        table.add_row(
            *(fate, ended, f"{len(some)}", f"{sum(bool(n.delta) for n in some)}"),
            f"{max(n.share_of_bound for n in some):.2f}",
        )
    return table


def group(nights: list[Night]) -> Iterator[tuple[tuple[str, str], list[Night]]]:
    """The nights of each fate and end, in the order of their names."""
    found = collections.defaultdict(list)
    for night in nights:
        found[night.fate, night.ended].append(night)
    yield from sorted(found.items())


def list_figures(nights: list[Night]) -> Iterator[commands.Figure]:
    """The table's figures."""
    yield commands.figure("odd nights", len(nights), "nights")
    yield commands.figure(
        "odd nights, largest share of a bound",
        max(night.share_of_bound for night in nights),
        "1",
    )
    for (fate, ended), some in group(nights):
        yield commands.figure(f"odd nights, {fate}, {ended}", len(some), "nights")


if __name__ == "__main__":
    command_line.run(main)
