"""Shows a life of one robot: before a change, days and nights after it, and the end.

    ./bazelw run //edge:life -- --robot=metaworld-changed:push-v3@latency \\
        --nights=3 --channel=STORE/channels/nightly.json

The robot fetches its package from the channel and drives as it was made, so that it has
a past of its own. Then it changes: a sensor was remounted, a drive replaced. On each
day an actor, the scripted expert with a shaking hand, shows each task a few times,
and the robot drives by itself; each night it learns. At last it drives as changed and
as unchanged, with the same delta: what it has won back, and what it has forgotten.

All of it is done by the programs that a robot runs, as processes of their own: update,
control, record and learn. What they leave is in --home: packages, episodes, memories,
deltas, the picture `life.svg`, and its days in `life.json`. In simulated time a day
takes seconds.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from absl import app, flags

from base import command_line, durable_file, path_flags, text_forms
from edge.errors import LifeError
from edge.loops.delta_store import CURRENT, DeltaStore
from edge.loops.local_learning import AGAIN
from edge.loops.mode import Mode
from edge.ota import fetch
from edge.processes import life_report, process, robot_flags
from edge.processes.children import Family, Program
from edge.processes.home import Home
from edge.processes.life_report import Day
from edge.processes.process import SUPERVISOR_PID, Process
from edge.robots import registry
from release import run_summary

CHANGED: Final = "metaworld-changed:"
UNCHANGED: Final = "metaworld:"
_TICK_S: Final = 0.05
_SAID_AGAIN_S: Final = 0.5  # a mode that was lost is said again
_PATIENCE_S: Final = 60.0  # until the learner has what was recorded
_LONGEST_NIGHT_S: Final = 900.0
_NOTHING_S: Final = 15.0  # a learner that has not begun by then has nothing to learn
_SEE_ABOVE: Final = "see what its programs said above"
_ACTOR_NOISE: Final = 0.2  # docs/benchmarks.md, Adaptation

ROBOT = flags.DEFINE_multi_string(
    "robot",
    [f"{CHANGED}push-v3@latency"],
    "robot after its change: metaworld-changed:TASK, or metaworld-changed:TASK@CHANGE "
    "for one change of edge/robots/changed_robot.py, CHANGE:0.5 for half of it; give "
    "it again for more tasks",
)
NIGHTS = flags.DEFINE_integer("nights", 3, "nights on which it learns", lower_bound=1)
CHANNEL = flags.DEFINE_string(
    "channel",
    None,
    "channel that its package comes from: STORE/channels/NAME.json, where STORE is a "
    "folder, file:///FOLDER or gs://BUCKET/PREFIX",
    required=True,
)
UPDATE_CHANNEL = flags.DEFINE_string(
    "update_channel",
    None,
    "channel, as --channel, that the robot updates from before its last day: from then "
    "on it drives with another package, which judges the old delta on its next night; "
    "default: no update",
)
HOME = flags.DEFINE_string(
    "home",
    "~/.local/share/continuon/life",
    "folder of this robot; each life needs a new one",
)
robot_flags.define_keys(robot_flags.KEYRING_FILE)
OWN_EPISODES = flags.DEFINE_integer(
    "own_episodes", 20, "episodes of each task before the change", lower_bound=1
)
EPISODES = flags.DEFINE_integer(
    "episodes", 20, "episodes of each task on a day", lower_bound=1
)
MEASURED_EPISODES = flags.DEFINE_integer(
    "measured_episodes",
    None,
    "episodes of each task with which success is measured after the last night, as "
    "changed and as unchanged; default: those of a day",
    lower_bound=1,
)
SHOWN = flags.DEFINE_integer(
    "shown", 6, "episodes of each task that the expert shows a day", lower_bound=0
)
ACTOR_SPEED = flags.DEFINE_float(
    "actor_speed",
    0.5,
    "how fast the expert moves the robot, as a share of its own full speed; "
    "at full speed it overshoots where the arm answers late",
    lower_bound=0.0,
    upper_bound=1.0,
)
SEED = flags.DEFINE_integer(
    "seed",
    0,
    "seed of the first episode; all others follow from it",
    lower_bound=0,
    upper_bound=2**20,
)
path_flags.folders("home")
path_flags.places("channel", "update_channel")


@dataclass(frozen=True)
class _Driven:
    """What some episodes came to."""

    successes: int
    episodes: int


def main(argv: list[str]) -> int:
    """Lives one life and shows what it came to."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    for name in ROBOT.value:
        if not name.startswith(CHANGED):
            raise app.UsageError(f"expected --robot={CHANGED}TASK, got {name!r}")
        registry.require_known(name)
    robot_flags.read_keys(serves=False)
    fetch.require_form(CHANNEL.value)
    if UPDATE_CHANNEL.value:
        fetch.require_form(UPDATE_CHANNEL.value, "update_channel")
    home = Home(Path(HOME.value).absolute())
    if home.memories.exists() or home.deltas.exists():
        raise LifeError(
            home.root,
            "a robot that has not lived yet",
            "one with memories",
        )
    begin_s = time.monotonic()
    with process.open_process(home.root, process.SUPERVISOR) as me:
        life = _Life(me, home)
        try:
            days = life.live()
        finally:
            life.end()
    title = f"{', '.join(ROBOT.value)}: success per day"
    picture = home.root / "life.svg"
    durable_file.write(picture, life_report.draw(days, title).encode())
    durable_file.write(home.root / "life.json", life_report.encode(days))
    command_line.say("")
    command_line.say(life_report.format_table(days))
    command_line.say(life_report.summarize(days))
    command_line.say(
        f"{time.monotonic() - begin_s:.0f} s; deltas in {home.deltas}, picture "
        f"{picture}"
    )
    return 0


def _name_unchanged(robot: str) -> str:
    """The robot string of the same task before the change."""
    return UNCHANGED + robot.removeprefix(CHANGED).partition("@")[0]


class _Life:
    """One robot, the programs that serve it, and the days it has had."""

    def __init__(self, me: Process, home: Home) -> None:
        self._me, self._home = me, home
        self._own = (f"--home={home.root}",)
        self._keys = robot_flags.hand_on_keys()
        self._family = Family(self._list_servants())
        self._learner: Mapping[str, object] = {}  # its last status
        self._seed = SEED.value
        self._delta = ""

    def live(self) -> list[Day]:
        """Lives all days and nights; returns the days."""
        before = [_name_unchanged(name) for name in ROBOT.value]
        self._fetch_package(CHANNEL.value, before)
        days = [self._drive_day("before", "unchanged", before, OWN_EPISODES.value)]
        for number in range(1, NIGHTS.value + 1):
            self._tell(f"day {number}")
            if UPDATE_CHANNEL.value and number == NIGHTS.value:
                self._fetch_package(UPDATE_CHANNEL.value, ROBOT.value)
                self._tell("the robot has updated")
                self._delta = ""  # control does not drive with one of another package
            delta = self._delta
            driven = self._drive_day(
                f"day {number}", "changed", ROBOT.value, EPISODES.value
            )
            shown = self._show_tasks()
            night = self._sleep()
            days.append(
                Day(
                    driven.name,
                    driven.robot,
                    delta,
                    driven.successes,
                    driven.episodes,
                    shown,
                    night,
                )
            )
        measured = MEASURED_EPISODES.value or EPISODES.value
        for name, robot, robots in (
            ("after", "changed", ROBOT.value),
            ("again", "unchanged", before),
        ):
            days.append(self._drive_day(name, robot, robots, measured))
        return days

    def end(self) -> None:
        """Ends the programs that serve the robot."""
        for line in self._family.stop(first="learn"):
            self._tell(line)

    def _list_servants(self) -> list[Program]:
        learn = (
            *self._own,
            *self._keys,
            # Its days are minutes long, and it has the machine for itself.
            f"--learning_nights_per_day={NIGHTS.value}",
            "--learning_load=1000",
            "--learner_threads=0",
        )
        return [
            Program("record", "edge.processes.record", self._own, 30.0),
            Program("learn", "edge.processes.learn", learn, 5.0),
        ]

    def _fetch_package(self, channel: str, robots: Sequence[str]) -> None:
        self._run(
            "edge.processes.update",
            "--once",
            f"--channel={channel}",
            *(f"--robot={name}" for name in robots[:1]),
        )

    def _drive_day(
        self, name: str, robot: str, robots: Sequence[str], episodes: int
    ) -> Day:
        """Lets the package drive each task."""
        driven = [self._drive(one, episodes) for one in robots]
        day = Day(
            name,
            robot,
            self._delta,
            sum(one.successes for one in driven),
            sum(one.episodes for one in driven),
        )
        self._tell(f"{name}: {day.successes} of {day.episodes} episodes succeeded")
        return day

    def _show_tasks(self) -> int:
        """Lets the expert show each task; returns how many episodes that were."""
        if not SHOWN.value:
            return 0
        for name in ROBOT.value:
            self._drive(
                name,
                SHOWN.value,
                "--actor=expert",
                f"--actor_noise={_ACTOR_NOISE}",
                f"--actor_speed={ACTOR_SPEED.value}",
            )
        return SHOWN.value * len(ROBOT.value)

    def _drive(self, robot: str, episodes: int, *flags_: str) -> _Driven:
        """Runs control for some episodes of one task."""
        path = self._home.run / "summary.json"
        path.unlink(missing_ok=True)
        self._run(
            "edge.processes.control",
            f"--robot={robot}",
            f"--episodes={episodes}",
            f"--seed={self._seed}",
            f"--summary_json={path}",
            "--pace=simulated",
            *flags_,
        )
        self._seed += episodes
        outcomes = run_summary.read(path).tasks.values()
        return _Driven(
            sum(one.successes or 0 for one in outcomes),
            sum(one.episodes for one in outcomes),
        )

    def _sleep(self) -> str:
        """Lets the robot sleep until it has learned; returns what came of it."""
        self._wait_for_memories()
        before, begin_s = self._learner.get("receipt", ""), time.monotonic()
        busy_s, is_idle, judged = begin_s, False, ""
        for _ in self._tell_mode(Mode.ASLEEP, _LONGEST_NIGHT_S):
            receipt = str(self._learner.get("receipt", ""))
            if receipt != before:
                if not receipt.startswith(f"{AGAIN}:"):
                    break
                # What it learned before the update was judged; now it learns.
                before, busy_s, judged = receipt, time.monotonic(), f"{receipt}; "
            if self._learner.get("loop") is not None:
                busy_s = time.monotonic()
            elif time.monotonic() - busy_s > _NOTHING_S:
                receipt = f"nothing: {self._learner.get('reason', '')}"
                is_idle = True
                break
        else:
            raise LifeError(
                "the night",
                f"to end within {_LONGEST_NIGHT_S:.0f} s",
                str(self._learner.get("reason", "a learner that says nothing")),
                _SEE_ABOVE,
            )
        self._delta = self._read_delta()
        for _ in self._tell_mode(Mode.DRIVING, 1.0):
            pass
        # What came of it, the learner has said.
        text = f"the night took {time.monotonic() - begin_s:.0f} s"
        self._tell(f"{text}: {receipt}" if is_idle else text)
        return judged + receipt

    def _read_delta(self) -> str:
        return DeltaStore(self._home.deltas).named(CURRENT) or ""

    def _wait_for_memories(self) -> None:
        """Waits until the learner has taken in all that was recorded."""
        new = self._home.new_memories
        journals = self._home.private
        for _ in self._tell_mode(Mode.DRIVING, _PATIENCE_S):
            waiting = [*journals.glob("*.journal"), *new.glob("*.tfrecord")]
            if not waiting and self._learner:
                return
        raise LifeError(
            self._home.root,
            f"recorder and learner to be done within {_PATIENCE_S:.0f} s",
            f"{text_forms.count(len(waiting), 'episode')} not yet taken in",
            _SEE_ABOVE,
        )

    def _tell_mode(self, mode: Mode, longest_s: float) -> Iterator[None]:
        """Says the mode again and again, and looks after the programs meanwhile."""
        begin_s = time.monotonic()
        said_s = -_SAID_AGAIN_S
        while (now_s := time.monotonic()) - begin_s < longest_s:
            if self._me.is_stopped():
                raise KeyboardInterrupt
            if now_s - said_s >= _SAID_AGAIN_S:
                said_s = now_s
                self._me.mailbox.send("learn", "mode", {"mode": mode.value})
            self._look_after()
            yield
            self._me.rest(_TICK_S)

    def _look_after(self) -> None:
        for line in self._family.tick(time.monotonic()):
            self._tell(line)
        for message in self._me.receive():
            if message.kind == "status" and message.sender == "learn":
                if self._learner.get("progress") != message.fields.get("progress"):
                    self._show_progress(str(message.fields.get("progress", "")))
                self._learner = message.fields

    def _show_progress(self, text: str) -> None:
        if text and sys.stderr.isatty():
            sys.stderr.write(f"\r{text:<60}\r")
            sys.stderr.flush()

    def _run(self, module: str, *arguments: str) -> None:
        """Runs a program to its end, and looks after the others meanwhile.

        Raises:
            LifeError: it failed.
        """
        environment = {
            **os.environ,
            SUPERVISOR_PID: str(os.getpid()),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        with subprocess.Popen(
            [sys.executable, "-m", module, *self._own, *self._keys, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
        ) as running:
            assert running.stderr is not None
            os.set_blocking(running.stderr.fileno(), False)
            said = b""
            try:
                while running.poll() is None:
                    said = (said + (running.stderr.read() or b""))[-65536:]
                    self._look_after()
                    if self._me.is_stopped():
                        raise KeyboardInterrupt
                    self._me.rest(_TICK_S)
            finally:
                running.terminate()
            said += running.stderr.read() or b""
        if running.returncode:
            lines = said.decode(errors="replace").strip().splitlines()
            raise LifeError(
                module.rpartition(".")[2],
                "to end well",
                lines[-1] if lines else f"exit code {running.returncode}",
                _SEE_ABOVE,
            )

    def _tell(self, line: str) -> None:
        sys.stderr.write(f"life: {line}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    command_line.run(main)
