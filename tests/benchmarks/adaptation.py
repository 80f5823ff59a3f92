"""Measures how much success a robot wins back after a change, and what it forgets.

    ./bazelw run //tests/benchmarks:adaptation -- --allow_development_keys \\
        --channel=STORE/channels/nightly.json --json=adaptation.json

Everything is done by the programs that ship, on what their user has: a published
package, and what this robot records. For each change and each life, `//edge:life` lets
the package drive as it was made, then on the changed robot; an expert who sees what
the robot sees shows each task; the robot sleeps, and is measured with the delta that
counts then, as changed and as unchanged.

Recovered is (after - before) / (unchanged - before); forgotten is what the unchanged
robot has lost; both are in success over all tasks. `before` and `unchanged` are
measured once, without a delta. A robot that answers late is shown at half speed, which
is what a careful expert does.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from absl import app, flags

from base import command_line, path_flags
from cloud.console import open_console
from cloud.evaluate.success_rate import SuccessRate
from cloud.figure_table import FigureTable
from edge.processes.life_report import Day
from edge.robots.changed_robot import CHANGES, parse_change
from tests.benchmarks import commands, measured_robot
from tests.benchmarks.idle_life import IdleLife
from tests.benchmarks.measured_robot import ProgramFailedError

_CHANNEL = flags.DEFINE_string(
    "channel",
    None,
    "channel that packages come from: STORE/channels/NAME.json",
)
_SEED_PACKAGE = flags.DEFINE_string(
    "seed_package",
    None,
    "package that is installed by hand, in place of --channel: then the robot learns "
    "while it is idle, --nights rounds of the medium loop; folder or tar",
)
_UPDATE_CHANNEL = flags.DEFINE_string(
    "update_channel",
    None,
    "channel of a later package, which every robot takes before its last day and whose "
    "success without a delta counts as before; default: no update",
)
_KEYRING = flags.DEFINE_string(
    "keyring",
    "~/.local/share/continuon/keys/keyring.json",
    "file of the public keys that may sign channels and packages",
)
_DEVELOPMENT_KEYS = flags.DEFINE_bool(
    "allow_development_keys", False, "accept signatures by development keys"
)
_CHANGES = flags.DEFINE_multi_string(
    "change",
    list(CHANGES),
    "change to measure, behind a colon how much of it: latency:0.5; may be repeated",
)
_TASKS = flags.DEFINE_multi_string(
    "task",
    list(measured_robot.TASKS),
    "task of the robot; may be repeated",
)
_LIVES = flags.DEFINE_integer("lives", 3, "lives of each change", lower_bound=1)
_OWN = flags.DEFINE_integer(
    "own_episodes", 10, "episodes of each task before the change", lower_bound=1
)
_EPISODES = flags.DEFINE_integer(
    "episodes", 2, "episodes of each task after it that the package drives"
)
_SHOWN = flags.DEFINE_integer(
    "shown", 2, "episodes of each task after it that the expert shows", lower_bound=0
)
_NIGHTS = flags.DEFINE_integer("nights", 1, "days after the change", lower_bound=1)
_MEASURED = flags.DEFINE_integer(
    "measured_episodes", 20, "measured episodes of each task", lower_bound=1
)
_FIRST_SEED = flags.DEFINE_integer(
    "first_seed", 60_000, "seed of the first life; the next begins 1000 later"
)
_HOMES = flags.DEFINE_string(
    "homes", None, "new folder that keeps what each robot has; default: none is kept"
)
_WORKERS = flags.DEFINE_integer("workers", 2, "lives at a time", lower_bound=1)
path_flags.folders("homes")
path_flags.files("keyring")
path_flags.places("channel", "update_channel", "seed_package")

_SEEDS_OF_A_LIFE: Final = 1000
_MEASURED_SEED: Final = 10_000
_CAREFUL, _FULL = 0.5, 1.0


@dataclasses.dataclass(frozen=True)
class Life:
    """What one life came to, as success over all tasks.

    Attributes:
        after: on the changed robot, with the last delta.
        again: on the unchanged robot, with the same delta.
        night: what the last night came to.
        seconds: how long it took.
    """

    after: SuccessRate
    again: SuccessRate
    night: str
    seconds: float


@dataclasses.dataclass(frozen=True)
class Measured:
    """One change: success without a delta, and its lives."""

    unchanged: SuccessRate
    before: SuccessRate
    lives: tuple[Life, ...]

    def lost(self) -> tuple[float, float, float]:
        """Points of success that the change costs, and their 95 % interval.

        Where the interval holds 0, what is recovered may be chance.
        """
        low, high = self.unchanged.subtract(self.before)
        return 100 * (self.unchanged.rate - self.before.rate), 100 * low, 100 * high

    def recovered(self) -> list[float]:
        """Share of the lost success that each life won back; empty if none was lost."""
        lost = self.unchanged.rate - self.before.rate
        if lost <= 0:
            return []
        return [(life.after.rate - self.before.rate) / lost for life in self.lives]

    def forgotten(self) -> list[float]:
        """Success that the unchanged robot of each life has lost, in points."""
        return [100 * (self.unchanged.rate - life.again.rate) for life in self.lives]


def main(argv: list[str]) -> int:
    """Measures what the flags name, prints the table, writes the JSON.

    Lives that failed are said, and are not in the table; then the exit code is 1.

    Raises:
        RobotChangeError: there is no change of that name.
    """
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    if (_CHANNEL.value is None) == (_SEED_PACKAGE.value is None):
        raise app.UsageError("expected --channel or --seed_package, one of them")
    if _SEED_PACKAGE.value and _UPDATE_CHANNEL.value:
        raise app.UsageError("expected --update_channel with --channel alone")
    for change in _CHANGES.value:
        parse_change(change)
    console = open_console()
    with (
        tempfile.TemporaryDirectory() as scratch,
        ThreadPoolExecutor(_WORKERS.value) as pool,
    ):
        homes = Path(_HOMES.value or scratch).absolute()
        homes.mkdir(parents=True, exist_ok=True)
        unchanged = pool.submit(_measure, homes / "unchanged", None)
        begun = {
            name: (
                pool.submit(_measure, homes / measured_robot.join_words(name), name),
                [pool.submit(_live, homes, name, i) for i in range(_LIVES.value)],
            )
            for name in _CHANGES.value
        }
        measured, failed = {}, False
        for name, (before, lives) in begun.items():
            done = []
            for life in lives:
                try:
                    done.append(life.result())
                except ProgramFailedError as e:
                    # Hours of other lives are not lost with one that a busy machine
                    # would not let begin.
                    failed = True
                    console.print(f"{name}: a life failed: {e}")
            if done:
                one = Measured(unchanged.result(), before.result(), tuple(done))
                measured[name] = one
                console.print(f"{name}: {'; '.join(tell(one))}")
    console.print(make_table(measured))
    commands.write_figures(list_figures(measured))
    return command_line.EXIT_FAILED if failed else 0


def _measure(home: Path, change: str | None) -> SuccessRate:
    """Success of the package without a delta."""
    _fetch_package(home)
    return _drive_measured(home, change)


def _fetch_package(home: Path) -> None:
    """Gives a robot the package that it is measured with."""
    package, channel = _SEED_PACKAGE.value, _UPDATE_CHANNEL.value or _CHANNEL.value
    source = (
        [f"--seed_package={package}"] if package else ["--once", f"--channel={channel}"]
    )
    _run("update", home, *source, f"--robot={_name_robots(None)[0]}")


def _drive_measured(home: Path, change: str | None) -> SuccessRate:
    return measured_robot.measure(
        home, _name_robots(change), _MEASURED.value, _MEASURED_SEED, _list_keys()
    )


def _live(homes: Path, change: str, number: int) -> Life:
    """One life of the programs that ship."""
    began_s = time.monotonic()
    home = homes / f"{measured_robot.join_words(change)}-{number}"
    late = parse_change(change).latency_steps > 0
    speed = _CAREFUL if late else _FULL
    seed = _FIRST_SEED.value + _SEEDS_OF_A_LIFE * number
    live = _live_idle if _SEED_PACKAGE.value else _live_asleep
    after, again, night = live(home, change, speed, seed)
    return Life(after, again, night, time.monotonic() - began_s)


def _live_idle(
    home: Path, change: str, speed: float, seed: int
) -> tuple[SuccessRate, SuccessRate, str]:
    """Learns by the medium loop; returns success as changed and not, and its end."""
    _fetch_package(home)
    life = IdleLife(
        home,
        _list_keys(),
        _OWN.value,
        _EPISODES.value,
        _SHOWN.value,
        speed,
        _NIGHTS.value,
    )
    last = life.live(_name_robots(None), _name_robots(change), seed)
    return _drive_measured(home, change), _drive_measured(home, None), last


def _live_asleep(
    home: Path, change: str, speed: float, seed: int
) -> tuple[SuccessRate, SuccessRate, str]:
    """Learns by the slow loop, as `//edge:life` lives; returns as `_live_idle`."""
    update = _UPDATE_CHANNEL.value
    _run(
        "life",
        home,
        f"--channel={_CHANNEL.value}",
        *(f"--robot={robot}" for robot in _name_robots(change)),
        *([f"--update_channel={update}"] if update else []),
        f"--nights={_NIGHTS.value}",
        f"--own_episodes={_OWN.value}",
        f"--episodes={_EPISODES.value}",
        f"--shown={_SHOWN.value}",
        f"--measured_episodes={_MEASURED.value}",
        f"--actor_speed={speed}",
        f"--seed={seed}",
    )
    found = json.loads((home / "life.json").read_bytes())["days"]
    days = [Day(**day) for day in found]
    after, again = (SuccessRate(day.successes, day.episodes) for day in days[-2:])
    return after, again, days[-3].night


def _run(program: str, home: Path, *arguments: str) -> None:
    measured_robot.run(program, home, _list_keys(), *arguments)


def _name_robots(change: str | None) -> list[str]:
    return measured_robot.name_robots(_TASKS.value, change)


def _list_keys() -> list[str]:
    keys = [f"--keyring={Path(_KEYRING.value).absolute()}"]
    return keys + ["--allow_development_keys"] * bool(_DEVELOPMENT_KEYS.value)


def tell(one: Measured) -> Iterator[str]:
    """A line for what the change costs, and one for each life."""
    shares = one.recovered()
    lost, low, high = one.lost()
    yield f"{lost:.1f} points lost, 95 % interval {low:.1f} to {high:.1f}"
    for number, (life, forgotten) in enumerate(
        zip(one.lives, one.forgotten(), strict=True)
    ):
        won = f"recovered {shares[number]:.0%}" if shares else "nothing was lost"
        yield (
            f"{_percent(one.before)} before, {_percent(life.after)} after, {won}, "
            f"forgotten {forgotten:.1f} points, {life.night}"
        )


def make_table(measured: Mapping[str, Measured]) -> FigureTable:
    """A line for each change: means over its lives, and what each came to."""
    columns = ("unchanged", "before", "after", "recovered", "each", "forgotten")
    title = f"{_LIVES.value} lives of each change, mean"
    table = FigureTable("change", *columns, "life", names=("change",), title=title)
    for name, one in measured.items():
        shares = one.recovered()
        each = ", ".join(f"{100 * x:.0f}" for x in shares)
        table.add_row(
            name,
            _percent(one.unchanged),
            _percent(one.before),
            f"{_mean(one, lambda life: 100 * life.after.rate):.1f} %",
            f"{100 * statistics.mean(shares):.0f} %" if shares else "none lost",
            each,
            f"{statistics.mean(one.forgotten()):.1f}",
            f"{_mean(one, lambda life: life.seconds):.0f} s",
        )
    return table


def list_figures(measured: Mapping[str, Measured]) -> Iterator[commands.Figure]:
    """The means of the table, and the least that a life won back."""
    for name, one in measured.items():
        after = _mean(one, lambda life: 100 * life.after.rate)
        recovered = [100 * share for share in one.recovered()]
        forgotten = statistics.mean(one.forgotten())
        yield commands.figure(f"{name} unchanged", 100 * one.unchanged.rate, "%")
        yield commands.figure(f"{name} before", 100 * one.before.rate, "%")
        yield commands.figure(f"{name} lost at least", one.lost()[1], "points")
        yield commands.figure(f"{name} after", after, "%")
        if recovered:
            mean = statistics.mean(recovered)
            yield commands.figure(f"{name} recovered", mean, "% of the lost")
            yield commands.figure(f"{name} recovered at least", min(recovered), "%")
        yield commands.figure(f"{name} forgotten", forgotten, "points")


def _mean(one: Measured, read: Callable[[Life], float]) -> float:
    return statistics.mean(read(life) for life in one.lives)


def _percent(rate: SuccessRate) -> str:
    return f"{100 * rate.rate:.1f} %"


if __name__ == "__main__":
    command_line.run(main)
