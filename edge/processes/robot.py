"""A whole robot on a desk: starts its processes, shows what they do, stops them all.

    ./bazelw run //edge:robot -- --robot=metaworld:reach-v3 \\
        --channel=STORE/channels/nightly.json

It drives episode after episode until Ctrl-C. Control, recorder, learner and updater are
programs of their own, the same that a robot runs as services. One that dies is started
again; what it was doing does not disturb the others.

Keys on a terminal: d drives, i lets the robot idle, s lets it sleep, the space bar
stops it at once, q quits.
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

from base import command_line, path_flags
from edge.loops.decide import Mode
from edge.processes import process
from edge.processes.children import Family, Program
from edge.processes.process import Process
from edge.processes.view import KEYS, Screen, Seen, describe, summarize

NAME: Final = process.SUPERVISOR
HOME_FOLDER: Final = "~/.local/share/continuon/robot-home"
KEYRING_FILE: Final = "~/.local/share/continuon/keys/keyring.json"
LOG_PERIOD_S: Final = 5.0
_MODE_PERIOD_S: Final = 0.5  # a mode that was lost is said again
_TICK_S: Final = 0.05
_MODE_KEYS: Final = {"d": Mode.DRIVING, "i": Mode.IDLE, "s": Mode.ASLEEP}
_STOP_KEY: Final = " "
_QUIT_KEY: Final = "q"

ROBOT = flags.DEFINE_string(
    "robot",
    None,
    "robot: metaworld:TASK, metaworld-poor:TASK, metaworld-changed:TASK, or replay:PATH"
    " of an episode",
    required=True,
)
CHANNEL = flags.DEFINE_string(
    "channel",
    None,
    "channel to follow: STORE/channels/NAME.json, where STORE is a folder, "
    "file:///FOLDER or gs://BUCKET/PREFIX (default: none, the robot keeps its package)",
)
HOME = flags.DEFINE_string(
    "home", HOME_FOLDER, "folder of this robot, made when absent"
)
KEYRING = flags.DEFINE_string(
    "keyring",
    KEYRING_FILE,
    "file of the public keys that may sign channels and packages",
)
ALLOW_DEVELOPMENT_KEYS = flags.DEFINE_bool(
    "allow_development_keys", False, "accept signatures by development keys"
)
PACE = flags.DEFINE_enum(
    "pace",
    None,
    ["realtime", "simulated"],
    "whether a simulated robot keeps its control rate or runs as fast as possible "
    "(default: realtime)",
)
ROBOT_ID = flags.DEFINE_string(
    "robot_id",
    None,
    "name of this robot; leaves it only as a keyed hash (default: derived from this"
    " machine's id)",
)
CONSENT = flags.DEFINE_bool(
    "consent", False, "whether the operator lets its episodes be uploaded"
)
path_flags.folders("home")
path_flags.files("keyring")


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
    keys = [f"--keyring={Path(KEYRING.value).expanduser().absolute()}"]
    if ALLOW_DEVELOPMENT_KEYS.value:
        keys.append("--allow_development_keys")
    robot = f"--robot={ROBOT.value}"
    name = [f"--robot_id={ROBOT_ID.value}"] if ROBOT_ID.value else []
    pace = [f"--pace={PACE.value}"] if PACE.value else []
    consent = ["--consent"] if CONSENT.value else []
    programs = [
        Program("control", "edge.processes.control", (*own, *keys, robot, *pace), 10.0),
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
        self._mode = Mode.DRIVING
        self._seen = {child.program.name: Seen() for child in family.children}
        self._told_s = self._shown_s = -LOG_PERIOD_S
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
            self._tell_mode(now_s)
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

    def _tell_mode(self, now_s: float) -> None:
        if now_s - self._told_s >= _MODE_PERIOD_S:
            self._told_s = now_s
            for name in self._seen:
                if name in ("control", "learn"):
                    self._me.mailbox.send(name, "mode", {"mode": self._mode.value})
            self._me.show_now({"doing": f"looks after {len(self._seen)} processes"})

    def _show(self, now_s: float) -> None:
        period_s = process.STATUS_PERIOD_S if self._screen.is_live else LOG_PERIOD_S
        if now_s - self._shown_s < period_s:
            return
        self._shown_s = now_s
        mode = self._mode.value
        if self._screen.is_live:
            self._screen.draw([*describe(mode, self._seen, now_s), KEYS])
        else:
            self._screen.say([f"robot: {summarize(mode, self._seen, now_s)}"])

    def _press(self, pressed: str) -> bool:
        """Does what the keys say; True to quit."""
        for key in pressed:
            if key == _QUIT_KEY:
                return True
            if key == _STOP_KEY:
                self._me.mailbox.send("control", "stop_key", {})
                self._mode = Mode.IDLE
            self._mode = _MODE_KEYS.get(key, self._mode)
            self._told_s = -LOG_PERIOD_S
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
