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

With --page=local a browser of this machine shows the robot and its episodes, and asks
for consent (//edge:page); with --page=network one of the local network does.

With --actor=keyboard a person may act: Tab gives the keys to the actor, and back. A
key that moves takes over from the package, h hands back, y and n end the episode with
success or failure, x stops the robot. With --actor=gamepad the buttons do the same,
with --actor=page the sticks and keys of a browser at the page. t lets the actor, a
person or the scripted expert, demonstrate episode after episode until the next of these
keys.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import contextlib
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from absl import app, flags

from base import command_line, path_flags, text_forms
from base.errors import one_line
from edge import actor_flags, sense_flags, word_flags
from edge.actors import keyboard
from edge.actors.registry import uses_keys
from edge.actors.terminal import Terminal
from edge.errors import ReplayError
from edge.loops.mode import Mode
from edge.ota import fetch
from edge.processes import control_flags, page_flags, process, robot_flags
from edge.processes.acting import STOP_KEY
from edge.processes.children import Family, Program
from edge.processes.last_word import LastWord, StopKey
from edge.processes.mailbox import Message
from edge.processes.person_keys import PersonKeys, Said
from edge.processes.process import Process
from edge.processes.view import Screen, Seen, describe, summarize
from edge.robots import registry
from rlds import spool_flags

NAME: Final = process.SUPERVISOR
TELL: Final = "tell"
"""The program `//edge:tell`, which says what a person says elsewhere."""
HOME_FOLDER: Final = "~/.local/share/continuon/robot-home"
LOG_PERIOD_S: Final = 5.0
_WORD_PERIOD_S: Final = 0.5
_TICK_S: Final = 0.05
_PART_BYTES: Final = 512  # of keys in one message

ROBOT = robot_flags.define_robot()
CHANNEL = flags.DEFINE_string(
    "channel",
    None,
    "channel to follow: STORE/channels/NAME.json, where STORE is a folder, "
    "file:///FOLDER or gs://BUCKET/PREFIX (default: none, the robot keeps its package)",
)
path_flags.places("channel")
HOME = robot_flags.define_home(HOME_FOLDER)
robot_flags.define_keys(robot_flags.KEYRING_FILE)
robot_flags.define_mode_rules()
robot_flags.define_fast_loop()
ACTOR = control_flags.define_actor()
flags.adopt_module_key_flags(actor_flags)  # so that --help shows them
control_flags.define_stop_rules()
robot_flags.define_update_rules()
robot_flags.define_learner_limits()
robot_flags.define_shared_quota()
flags.adopt_module_key_flags(sense_flags)
flags.adopt_module_key_flags(word_flags)
flags.adopt_module_key_flags(spool_flags)
PACE = flags.DEFINE_enum(
    "pace",
    None,
    ["realtime", "simulated"],
    "whether a simulated robot keeps its control rate or runs as fast as possible "
    "(default: realtime)",
)
ROBOT_ID = robot_flags.define_robot_id()
PAGE = flags.DEFINE_enum(
    "page",
    "none",
    ["none", *page_flags.LISTEN],
    "who may open the page of its operator: none, a browser of this machine, or one of "
    "the network",
)
PAGE_PORT = page_flags.define_port("page_port")
CONSENT = flags.DEFINE_bool(
    "consent", False, "whether the operator lets its episodes be uploaded"
)


def main(argv: list[str]) -> int:
    """Runs the robot until it is told to end."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    control_flags.require_actor_usage(is_simulated_pace=PACE.value == "simulated")
    actor_flags.require_device(ACTOR.value)
    _require_what_its_programs_need()
    home = Path(HOME.value).absolute()
    programs = _list_programs(home)
    with process.open_process(home, NAME) as me:
        # Suspended, it would show nothing and hear nothing while the robot moves.
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)
        family = Family(programs)
        screen = Screen()
        with _open_terminal() as terminal:
            supervisor = _Supervisor(me, family, screen, terminal)
            try:
                return supervisor.run()
            finally:
                supervisor.leave_view()
                screen.say(["robot: stops"])
                for line in family.stop(first="control"):
                    screen.say([line])


def _require_what_its_programs_need() -> None:
    """Checks what no restart of a program would mend.

    Raises:
        FlagValueError: the keyring is not there or is none, or the channel cannot be
            one.
        EdgeError: the robot is not known, or a sense is named wrongly.
    """
    with contextlib.suppress(ReplayError):  # a package may drive a recorded episode
        registry.require_known(ROBOT.value)
    sense_flags.read()
    robot_flags.read_keys(serves=False)
    if CHANNEL.value:
        fetch.require_form(CHANNEL.value)


def _list_programs(home: Path) -> list[Program]:
    """The table of programs; a runtime that lacks one lives without it."""
    own = (f"--home={home}",)
    keys = robot_flags.hand_on_keys()
    robot = f"--robot={ROBOT.value}"
    name = [f"--robot_id={ROBOT_ID.value}"] if ROBOT_ID.value else []
    senses = sense_flags.hand_on()
    pace = [f"--pace={PACE.value}"] if PACE.value else []
    consent = ["--consent"] if CONSENT.value else []
    rules = [
        *robot_flags.hand_on_mode_rules(),
        *robot_flags.hand_on_fast_loop(),
        *control_flags.hand_on_stop_rules(),
        *control_flags.hand_on_actor(),
    ]
    budgets = robot_flags.hand_on_learner_limits()
    shared = [*robot_flags.hand_on_shared_quota(), *word_flags.hand_on()]
    spool = spool_flags.hand_on()
    programs = [
        Program(
            "control",
            "edge.processes.control",
            (*own, *keys, robot, *senses, *pace, *rules),
            10.0,
        ),
        # It shares the last episode first.
        Program(
            "record",
            "edge.processes.record",
            (*own, *name, *consent, *shared, *spool),
            30.0,
        ),
        Program(
            "learn",
            "edge.processes.learn",
            (*own, *keys, *name, *budgets, *spool),
            5.0,
        ),
    ]
    if CHANNEL.value:
        channel = f"--channel={CHANNEL.value}"
        rounds = robot_flags.hand_on_update_rules()
        programs.append(
            Program(
                "update",
                "edge.processes.update",
                (*own, *keys, *name, robot, *senses, channel, *rounds, *spool),
                5.0,
            )
        )
    if PAGE.value != "none":
        page = (f"--listen={PAGE.value}", f"--port={PAGE_PORT.value}")
        programs.append(Program("page", "edge.processes.page", (*own, *page), 3.0))
    return programs


class _Supervisor:
    """Looks after the children, the keys and the view."""

    def __init__(
        self, me: Process, family: Family, screen: Screen, terminal: Terminal | None
    ) -> None:
        self._me = me
        self._family = family
        self._screen = screen
        self._terminal = terminal
        self._keys = PersonKeys(ACTOR.value)
        self._word = LastWord()
        self._stop_key = StopKey()
        self._is_heard = True  # what a person who acts presses
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
            files = [self._me.mailbox.fileno()]
            if self._terminal is not None:
                files.append(self._terminal.fileno())
            select.select(files, [], [], _TICK_S)
            if self._do(self._keys.hear(self._read_terminal())):
                break
        return 0

    def _note_deaths(self, now_s: float) -> None:
        for child in self._family.children:
            name, seen = child.program.name, self._seen[child.program.name]
            seen.trouble = ""
            if child.given_up is not None:
                seen.trouble = f"{child.reason}; not started again"
            elif (pause_s := child.pause_left_s(now_s)) is not None:
                seen.trouble = f"{child.reason}; again {text_forms.after(pause_s)}"
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
                if message.sender == "control":
                    self._word.note(message.fields)
            elif message.sender == TELL:
                self._hear(message, now_s)

    def _hear(self, message: Message, now_s: float) -> None:
        """Takes what a person said by `//edge:tell`, as if it were a key."""
        stops = message.kind == "stop_key"
        fields = message.fields
        if stops:
            fields = {**fields, "mode": Mode.IDLE.value, "demonstrates": False}
        elif fields.get("demonstrates") is True and ACTOR.value is None:
            self._screen.say(["robot: nobody may demonstrate here without --actor"])
            return
        if self._word.hear(fields, now_s):
            self._stop_key.forget()
            if stops:
                self._stop_key.press(now_s)
                self._hand_on_stop()
            self._sent_s = -LOG_PERIOD_S

    def _hand_on_word(self, now_s: float) -> None:
        """Says again what a person said: control may have been started meanwhile."""
        if now_s - self._sent_s >= _WORD_PERIOD_S:
            self._sent_s = now_s
            self._me.mailbox.send("control", "told", self._word.describe())
            # The page has their statuses from them, and learns here who is dead.
            troubles = {n: one_line(seen.trouble) for n, seen in self._seen.items()}
            doing = f"looks after {len(self._seen)} processes"
            self._me.show_now({"doing": doing, "troubles": troubles})

    def _show(self, now_s: float) -> None:
        period_s = process.STATUS_PERIOD_S if self._screen.is_live else LOG_PERIOD_S
        if now_s - self._shown_s < period_s:
            return
        self._shown_s = now_s
        if self._screen.is_live:
            self._screen.draw([*describe(self._seen, now_s), self._keys.describe()])
        else:
            self._screen.say([f"robot: {summarize(self._seen, now_s)}"])

    def leave_view(self) -> None:
        """Leaves what was last seen on the terminal, without the keys."""
        if self._screen.is_live:
            self._screen.leave(describe(self._seen, time.monotonic()))

    def _read_terminal(self) -> bytes:
        """The keys pressed since the last call.

        Raises:
            ActorLostError: the terminal at which a person acts is gone.
        """
        if self._terminal is None:
            return b""
        try:
            return self._terminal.read()
        except OSError as e:
            if uses_keys(ACTOR.value):
                raise keyboard.LOSS.make_error(f"--actor={ACTOR.value}") from e
            self._terminal = None
            return b""

    def _do(self, said: Said) -> bool:
        """Does what the keys say; True to quit."""
        now_s = time.monotonic()
        if said.told is not None:
            self._stop_key.forget()
        if said.stops:
            self._stop_key.press(now_s)
        self._hand_on_stop()
        if said.told is not None:
            self._word.say(said.told, now_s, demonstrates=said.demonstrates)
            self._sent_s = -LOG_PERIOD_S
        for at in range(0, len(said.acting), _PART_BYTES):
            keys = said.acting[at : at + _PART_BYTES].decode("latin-1")
            heard = self._me.mailbox.send("control", "keys", {"keys": keys})
            if self._is_heard and not heard:
                self._screen.say(["robot: control does not hear these keys now"])
            if not heard and STOP_KEY in said.acting.lower():
                # Nobody presses it twice: it is handed on as the space bar is.
                self._stop_key.press(now_s)
                self._word.say(Mode.IDLE, now_s)
            self._is_heard = heard
        return said.quits

    def _hand_on_stop(self) -> None:
        if line := self._stop_key.hand_on(
            lambda key: self._me.mailbox.send("control", "stop_key", key)
        ):
            self._screen.say([f"robot: {line}"])


@contextlib.contextmanager
def _open_terminal() -> Iterator[Terminal | None]:
    """Opens the terminal where a person types, and leaves it as it was.

    Raises:
        ActorUnavailableError: a keyboard is to act, and there is none.
    """
    acts = uses_keys(ACTOR.value)
    if not acts and not (sys.stdin.isatty() and sys.stderr.isatty()):
        yield None
        return
    with contextlib.closing(Terminal(0, f"--actor={ACTOR.value}")) as terminal:
        yield terminal


if __name__ == "__main__":
    command_line.run(main)
