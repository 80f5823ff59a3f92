"""A whole robot on a desk: starts its processes, shows what they do, stops them all.

    ./bazelw run //edge:robot -- --robot=metaworld:reach-v3 \\
        --channel=STORE/channels/nightly.json

It drives episode after episode until Ctrl-C. Control, recorder, learner and updater are
programs of their own, the same that a robot runs as services. One that dies is started
again; what it was doing does not disturb the others.

Keys on a terminal: d drives, i lets the robot stay still and s lets it sleep, each when
its episode has ended; the space bar stops it at once, q quits. What a key says holds
until the next one, or until night next begins or ends (--night). A robot that was told
to stay still does not move before it is told to drive.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from absl import app, flags

from base import command_line
from edge.loops.mode import Mode
from edge.processes import process, robot_flags
from edge.processes.children import Family, Program
from edge.processes.process import Process
from edge.processes.view import KEYS, Screen, Seen, describe, summarize

NAME: Final = process.SUPERVISOR
HOME_FOLDER: Final = "~/.local/share/continuon/robot-home"
LOG_PERIOD_S: Final = 5.0
_WORD_PERIOD_S: Final = 0.5
_TICK_S: Final = 0.05
_STOP_KEY: Final = " "
_MODE_KEYS: Final = {
    "d": Mode.DRIVING,
    "i": Mode.IDLE,
    "s": Mode.ASLEEP,
    _STOP_KEY: Mode.IDLE,
}
_QUIT_KEY: Final = "q"

ROBOT = robot_flags.define_robot()
CHANNEL = flags.DEFINE_string(
    "channel",
    None,
    "channel to follow: STORE/channels/NAME.json, where STORE is a folder, "
    "file:///FOLDER or gs://BUCKET/PREFIX (default: none, the robot keeps its package)",
)
HOME = robot_flags.define_home(HOME_FOLDER)
robot_flags.define_keys(robot_flags.KEYRING_FILE)
robot_flags.define_mode_rules()
robot_flags.define_fast_loop()
PACE = flags.DEFINE_enum(
    "pace",
    None,
    ["realtime", "simulated"],
    "whether a simulated robot keeps its control rate or runs as fast as possible "
    "(default: realtime)",
)
ROBOT_ID = robot_flags.define_robot_id()
CONSENT = flags.DEFINE_bool(
    "consent", False, "whether the operator lets its episodes be uploaded"
)


def main(argv: list[str]) -> int:
    """Runs the robot until it is told to end."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    home = Path(HOME.value).expanduser().absolute()
    with process.open_process(home, NAME) as me:
        # Suspended, it would show nothing and hear nothing while the robot moves.
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)
        family = Family(_list_programs(home))
        screen = Screen()
        with _read_keys() as keys:
            try:
                return _Supervisor(me, family, screen, keys).run()
            finally:
                screen.say(["robot: stops"])
                for line in family.stop(first="control"):
                    screen.say([line])


def _list_programs(home: Path) -> list[Program]:
    """The table of programs; a runtime that lacks one lives without it."""
    own = (f"--home={home}",)
    keys = robot_flags.hand_on_keys()
    robot = f"--robot={ROBOT.value}"
    name = [f"--robot_id={ROBOT_ID.value}"] if ROBOT_ID.value else []
    pace = [f"--pace={PACE.value}"] if PACE.value else []
    consent = ["--consent"] if CONSENT.value else []
    rules = [*robot_flags.hand_on_mode_rules(), *robot_flags.hand_on_fast_loop()]
    programs = [
        Program(
            "control",
            "edge.processes.control",
            (*own, *keys, robot, *pace, *rules),
            10.0,
        ),
        # It shares the last episode first.
        Program("record", "edge.processes.record", (*own, *name, *consent), 30.0),
        Program("learn", "edge.processes.learn", (*own, *keys, *name), 5.0),
    ]
    if CHANNEL.value:
        channel = f"--channel={CHANNEL.value}"
        programs.append(
            Program(
                "update",
                "edge.processes.update",
                (*own, *keys, *name, robot, channel),
                5.0,
            )
        )
    return programs


class _Supervisor:
    """Looks after the children, the keys and the view."""

    def __init__(
        self, me: Process, family: Family, screen: Screen, keys: "_Keys"
    ) -> None:
        self._me = me
        self._family = family
        self._screen = screen
        self._keys = keys
        self._told: Mode | None = None  # by a person
        self._told_s = 0.0
        self._seen = {child.program.name: Seen() for child in family.children}
        self._sent_s = self._shown_s = -LOG_PERIOD_S
        self._reasons: dict[str, tuple[int, str]] = {}

    def run(self) -> int:
        """Runs until it is told to end, or until control was started wrongly."""
        self._me.say_ready()
        for name in self._family.absent:
            self._screen.say([f"robot: this runtime has no program {name!r}"])
        while not self._me.is_stopped():
            now_s = time.monotonic()
            self._screen.say(self._family.tick(now_s))
            for child in self._family.children:
                if child.given_up is not None and child.program.name == "control":
                    return child.given_up
            self._note_deaths(now_s)
            self._read_messages(now_s)
            self._hand_on_word(now_s)
            self._show(now_s)
            files = [self._me.mailbox.fileno(), *self._keys.files]
            select.select(files, [], [], _TICK_S)
            if self._press(self._keys.read()):
                break
        return 0

    def _note_deaths(self, now_s: float) -> None:
        for child in self._family.children:
            name, seen = child.program.name, self._seen[child.program.name]
            seen.trouble = ""
            if child.given_up is not None:
                seen.trouble = f"{child.reason}; not started again"
            elif (pause_s := child.pause_left_s(now_s)) is not None:
                seen.trouble = f"{child.reason}; again in {pause_s:.0f} s"
                seen.status = {}
            if child.is_gone and child.reason:
                what = (child.starts, child.reason)
                if self._reasons.get(name) != what:
                    self._reasons[name] = what
                    self._screen.say([f"robot: {name} {seen.trouble or child.reason}"])

    def _read_messages(self, now_s: float) -> None:
        for message in self._me.receive():
            if message.kind == "status" and message.sender in self._seen:
                seen = self._seen[message.sender]
                seen.status, seen.at_s = message.fields, now_s

    def _hand_on_word(self, now_s: float) -> None:
        """Says again what a person said: control may have been started meanwhile."""
        if now_s - self._sent_s >= _WORD_PERIOD_S:
            self._sent_s = now_s
            said = "" if self._told is None else self._told.value
            word = {"mode": said, "at_s": self._told_s}
            self._me.mailbox.send("control", "told", word)
            self._me.show_now({"doing": f"looks after {len(self._seen)} processes"})

    def _show(self, now_s: float) -> None:
        period_s = process.STATUS_PERIOD_S if self._screen.is_live else LOG_PERIOD_S
        if now_s - self._shown_s < period_s:
            return
        self._shown_s = now_s
        if self._screen.is_live:
            self._screen.draw([*describe(self._seen, now_s), KEYS])
        else:
            self._screen.say([f"robot: {summarize(self._seen, now_s)}"])

    def _press(self, pressed: str) -> bool:
        """Does what the keys say; True to quit."""
        for key in pressed:
            if key == _QUIT_KEY:
                return True
            if key == _STOP_KEY:
                self._me.mailbox.send("control", "stop_key", {})
            if (mode := _MODE_KEYS.get(key)) is not None:
                self._told, self._told_s = mode, time.monotonic()
                self._sent_s = -LOG_PERIOD_S
        return False


class _Keys:
    """What is typed, where there is a terminal."""

    def __init__(self, file: int | None) -> None:
        self._file = file

    @property
    def files(self) -> list[int]:
        """What to wait on."""
        return [] if self._file is None else [self._file]

    def read(self) -> str:
        """The keys pressed since the last call."""
        if self._file is None or not select.select([self._file], [], [], 0.0)[0]:
            return ""
        try:
            raw = os.read(self._file, 64)
        except OSError:
            raw = b""
        if not raw:  # the terminal is gone
            self._file = None
        return raw.decode(errors="ignore")


@contextlib.contextmanager
def _read_keys() -> Iterator[_Keys]:
    """Reads single keys where a person types, and leaves the terminal as it was."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        yield _Keys(None)
        return
    file = sys.stdin.fileno()
    before = termios.tcgetattr(file)
    try:
        tty.setcbreak(file)
        yield _Keys(file)
    finally:
        termios.tcsetattr(file, termios.TCSADRAIN, before)


if __name__ == "__main__":
    command_line.run(main)
