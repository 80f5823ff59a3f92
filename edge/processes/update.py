"""Keeps the package of one robot up to date: asks, tries, watches, falls back.

    ./bazelw run //edge:update -- --home=DIR --keyring=FILE \\
        --robot=metaworld:reach-v3 --channel=STORE/channels/stable.json

It asks the channel once in a while, and takes what it offers as //edge:run does, but on
trial: the package is held against the active one first, and if its first episodes go
worse than those before, the package before it becomes active again, by itself. Control
reports each episode and takes a new package between two of them; it waits for nothing
here. Each outcome becomes a signed receipt below DIR/receipts.

With --once it asks once and ends: exit code 0 if the robot has what it should have, 1
if not, and one line says which. With --seed_package it installs a package without a
channel, and ends.

Every round runs in a child process: one that hangs, or that dies of a package, ends
there, and a robot that is switched off meanwhile has lost nothing.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import math
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from absl import app, flags

from base import command_line, path_flags, text_forms
from base.errors import ContinuonError, one_line, printable, reason
from edge import raw_memory, sense_flags, simulated_or_real
from edge.episodes import robot_key
from edge.episodes.robot_key import RobotKey
from edge.ota import fetch, health, poll_times, start_count, trial
from edge.ota.decide import Installed, RobotRuntime
from edge.ota.health import Health
from edge.ota.receipts import Receipts
from edge.ota.service import Round, Updater
from edge.ota.state_folder import StateFolder
from edge.ota.watch import Rules
from edge.processes import process, robot_flags
from edge.processes.home import Home
from edge.processes.process import Process
from edge.processes.round_worker import RoundWorker
from edge.robots import machine_name, registry
from edge.robots.robot import RobotSpec
from edge.runtime_version import RUNTIME_VERSION
from rlds import spool_flags

NAME: Final = "update"
_TICK_S: Final = 0.2
_LOOK_S: Final = 2.0  # between two looks whether something is due
_AGAIN_S: Final = 30.0  # between two rounds about the same
_PERSON_S: Final = 5.0  # between two rounds that a person wants
_NEED_S: Final = 5.0  # control says twice a second that nothing can drive
_WRITE_S: Final = 600.0  # between two writes of the counts of a committed package

HOME = robot_flags.define_home()
ROBOT = flags.DEFINE_list(
    "robot",
    None,
    f"robots that a package must fit: {registry.HELP}",
    required=True,
)
robot_flags.define_keys(required=True)
CHANNEL = flags.DEFINE_string(
    "channel",
    None,
    "channel to follow: STORE/channels/NAME.json, where STORE is a folder, "
    "file:///FOLDER or gs://BUCKET/PREFIX (default: none, it only watches)",
)
ONCE = flags.DEFINE_bool("once", False, "ask the channel once and end")
SEED_PACKAGE = flags.DEFINE_string(
    "seed_package",
    None,
    "folder or tar of a signed package to install without a channel, and end",
)
path_flags.places("channel", "seed_package")
flags.adopt_module_key_flags(sense_flags)
flags.adopt_module_key_flags(spool_flags)
ROBOT_ID = robot_flags.define_robot_id()
KEY_FILE = robot_flags.define_key_file("packages/updater.key")
PERIOD_S, JITTER_S, TRIAL_EPISODES = robot_flags.define_update_rules()


def main(argv: list[str]) -> int:
    """Does one round, or rounds until it is told to end."""
    _require_usage(argv)
    raw_memory.forbid_dumps()  # its rounds and their children inherit that
    spool_flags.use()
    home = Home(Path(HOME.value))
    robot_id = ROBOT_ID.value or machine_name.derive_name()
    specs = _read_specs()
    serves = not (ONCE.value or SEED_PACKAGE.value)
    keys = robot_flags.read_keys(serves=serves)
    assert keys is not None  # --keyring is required
    updater = Updater(
        state=StateFolder(home.packages),
        receipts=Receipts(home.receipts, _open_key(home, specs, robot_id), robot_id),
        keys=keys,
        robot=RobotRuntime(robot_id, RUNTIME_VERSION),
        robots=specs,
        memories=home.memories,
        rules=Rules(episodes=TRIAL_EPISODES.value),
    )
    if SEED_PACKAGE.value:
        path = Path(SEED_PACKAGE.value)
        return _end(updater.install_seed(path, datetime.now(UTC)))
    if ONCE.value:
        return _end(updater.poll(CHANNEL.value or "", datetime.now(UTC)))
    with process.open_process(home.root, NAME) as me:
        _Service(me, updater, robot_id).run()
    return 0


def _require_usage(argv: list[str]) -> None:
    """Checks the rules that concern several flags at once.

    Raises:
        app.UsageError: a rule is broken.
        FlagValueError: --channel cannot be one.
    """
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    if SEED_PACKAGE.value and (CHANNEL.value or ONCE.value):
        raise app.UsageError("expected --seed_package without --channel and --once")
    if ONCE.value and not CHANNEL.value:
        raise app.UsageError("expected --channel with --once")
    if ONCE.value and CHANNEL.value:
        fetch.require_form(CHANNEL.value)


class _Service:
    """Begins rounds when they are due, and counts what control reports."""

    def __init__(self, me: Process, updater: Updater, robot_id: str) -> None:
        self._me = me
        self._updater = updater
        self._robot_id = robot_id
        self._root = updater.state.root
        self._worker = RoundWorker()
        self._doing = "begins"
        self._counted: Health | None = None  # not on the disk yet
        self._written_s = time.monotonic()
        self._looked_s = 0.0
        self._pointer: Installed | None = None
        self._said = ""
        self._need_heard_s: float | None = None
        self._asked_s = -math.inf
        self._asked_in_need = 0
        self._is_asked = False  # by a person
        self._asks = False  # what the round does that runs, or ran last
        self._failures: dict[bool, str] = {}  # of rounds that ask, and of others

    def run(self) -> None:
        """Runs until it is told to end."""
        self._me.say_ready()
        self._pointer = self._read_pointer()
        asked, next_poll_s = 0, time.monotonic() + self._wait_s(0)
        self._begin("finishes what was begun", self._updater.settle)
        try:
            while not self._me.is_stopped():
                now_s = time.monotonic()
                self._count_episodes()
                if (done := self._worker.take()) is not None:
                    self._report(done)
                if not self._worker.is_busy:
                    due_s = self._find_due_s(now_s, next_poll_s)
                    if self._is_asked and now_s - self._asked_s >= _PERSON_S:
                        due_s = now_s
                    if CHANNEL.value and now_s >= due_s:
                        asked += 1
                        self._asked_in_need += 1
                        self._asked_s, self._is_asked = now_s, False
                        next_poll_s = now_s + self._wait_s(asked)
                        self._begin("asks its channel", self._poll)
                    elif self._is_due(now_s):
                        self._begin("judges its package", self._updater.settle)
                    else:
                        self._doing = self._describe_wait(due_s - now_s)
                self._show()
                self._me.rest(_TICK_S)
        finally:
            self._worker.stop()
            self._write_counts()

    def _poll(self, now: datetime) -> Round:
        return self._updater.poll(CHANNEL.value or "", now)

    def _begin(self, doing: str, act: Callable[[datetime], Round]) -> None:
        """Begins a round in a child process, which reads what was counted so far."""
        self._write_counts()
        self._doing, self._asks = doing, act == self._poll
        self._worker.start(lambda: act(datetime.now(UTC)))

    def _report(self, done: Round) -> None:
        """Says what a round did, and tells control if the pointer has moved."""
        text = "\n".join(done.lines)
        if text != self._said:  # a channel may fail for a year
            self._said = text
            for line in done.lines:
                self._me.say(line)
        self._note_failure(done)
        pointer = self._read_pointer()
        if pointer is not None and pointer != self._pointer:
            self._me.mailbox.send("control", "package", {"package": pointer.digest})
        self._pointer = pointer

    def _note_failure(self, done: Round) -> None:
        """Keeps the last failure for the status, until such a round succeeds.

        One that asks the channel does first what the others do.
        """
        self._failures.pop(self._asks, None)
        if done.failed:
            when = time.strftime("%Y-%m-%d %H:%M")
            self._failures[self._asks] = f"at {when}: {one_line(done.lines[-1])}"
        elif self._asks:
            self._failures.clear()

    def _is_due(self, now_s: float) -> bool:
        if now_s - self._looked_s < _LOOK_S:
            return False
        self._looked_s = now_s
        if not self._updater.is_decided():
            return False
        self._looked_s = now_s + _AGAIN_S
        return True

    def _count_episodes(self) -> None:
        """Adds up what control reported of the package that the pointer names."""
        for message in self._me.receive():
            if message.kind == "in_need":
                self._need_heard_s = time.monotonic()
            elif message.kind == "ask_now":
                self._is_asked = True
            if message.kind != "health":
                continue
            try:
                report = health.parse_report(message.fields)
            except ContinuonError as e:
                self._me.say(f"an episode is not counted: {reason(e)}")
                continue
            self._pointer = pointer = self._read_pointer()
            if pointer is None or report.package != pointer.digest:
                continue
            counted = self._counted
            if counted is None or counted.digest != pointer.digest:
                counted = health.read(self._root, pointer.digest)
            starts = start_count.read_starts(self._root, pointer.digest)
            self._counted = counted.see(starts).add(report)
            overdue = time.monotonic() - self._written_s >= _WRITE_S
            if overdue or trial.is_on_trial(self._root, pointer.digest):
                self._write_counts()
                self._looked_s = min(self._looked_s, time.monotonic() - _LOOK_S)

    def _write_counts(self) -> None:
        """Writes the counts to the disk; those of an earlier package are dropped."""
        counted, self._counted = self._counted, None
        self._written_s = time.monotonic()
        pointer = self._read_pointer()
        if counted is None or pointer is None or counted.digest != pointer.digest:
            return
        try:
            health.write(self._root, counted)
        except ContinuonError as e:
            self._me.say(f"episodes that are not counted: {reason(e)}")

    def _read_pointer(self) -> Installed | None:
        try:
            return self._updater.state.read_installed()
        except ContinuonError:
            return None

    def _wait_s(self, number: int) -> float:
        return poll_times.wait_s(
            self._robot_id,
            number,
            PERIOD_S.value,
            JITTER_S.value,
            has_package=self._pointer is not None,
        )

    def _find_due_s(self, now_s: float, next_poll_s: float) -> float:
        """When to ask: sooner than planned while control says that nothing can drive.

        The package on the disk may have been torn; the channel has it whole.
        """
        heard_s = self._need_heard_s
        if heard_s is None or now_s - heard_s > _NEED_S:
            self._need_heard_s, self._asked_in_need = None, 0
            return next_poll_s
        pause_s = poll_times.wait_in_need_s(
            self._robot_id, self._asked_in_need, PERIOD_S.value
        )
        return min(next_poll_s, self._asked_s + pause_s)

    def _describe_wait(self, left_s: float) -> str:
        watches = "watches its package"
        if self._pointer is None:
            watches = "has no package"
        elif self._need_heard_s is not None:
            watches = "has no package that can drive"
        if not CHANNEL.value:
            return f"{watches}, follows no channel"
        return f"{watches}, asks {text_forms.after(left_s)}"

    def _show(self) -> None:
        if not self._me.is_status_due():
            return
        shown: dict[str, object] = {"doing": self._doing}
        if self._failures:
            *_, shown["failure"] = self._failures.values()
        if (pointer := self._pointer) is not None:
            shown |= {
                "package": pointer.digest,
                "release": pointer.release_counter,
                "channel": pointer.channel,
                "origin": pointer.origin.value,
                "on_trial": trial.is_on_trial(self._root, pointer.digest),
            }
        self._me.show_now(shown)


def _read_specs() -> Mapping[str, RobotSpec]:
    """Reads what a package must fit; control has a real robot open.

    A package that does not fit a real robot gives way when control opens it.
    """
    return {
        name: sense_flags.add_to(registry.read_spec(name))
        for name in ROBOT.value
        if not registry.has_driver(name)
    }


def _open_key(home: Home, specs: Mapping[str, RobotSpec], robot_id: str) -> RobotKey:
    """Opens the key that signs receipts: the one that signs this robot's episodes."""
    if KEY_FILE.value:
        return robot_key.load_or_create(Path(KEY_FILE.value))
    if specs:
        return simulated_or_real.open_key(next(iter(specs.values())), None, robot_id)
    try:
        return robot_key.load_or_create(home.private / "robot.key")
    except (ContinuonError, OSError):
        # As a service of its own user it reads nothing private, and has its own key.
        return robot_key.load_or_create(home.packages / "updater.key")


def _end(done: Round) -> int:
    """Says what one round did: notes to stderr, the outcome to stdout if it is good."""
    *notes, outcome = done.lines
    for line in [*notes, *([outcome] if done.failed else [])]:
        sys.stderr.write(f"{NAME}: {printable(line)}\n")
    sys.stderr.flush()
    if not done.failed:
        command_line.say(outcome)
    return command_line.EXIT_FAILED if done.failed else 0


if __name__ == "__main__":
    command_line.run(main)
