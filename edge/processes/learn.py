"""Learns from this robot's own episodes while the robot has nothing else to do.

    ./bazelw run //edge:learn -- --home=DIR
    ./bazelw run //edge:learn -- --home=DIR --once --loop=slow

It takes in the raw episodes that `record` hands over, decides within its budgets
which loop may run (`edge.loops.decide`), lets a child process with jax run it, and
judges what comes of it on episodes that were held back. A delta that passes is what
`control` drives with from its next episode on; one that does worse in use goes back by
itself. As soon as the robot is needed the child ends, within 200 ms.

With --once it runs one round now, by hand, in whatever mode the robot is.

The fast loop runs in `control`, which alone has the last tenth of a second
(`edge.control.fast_loop`). Here it is decided whether it may, and what it uses is
charged; control is told so repeatedly.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import contextlib
import dataclasses
import functools
import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from absl import app, flags

from base import command_line
from base.errors import ContinuonError
from edge import raw_memory
from edge.episodes import robot_key
from edge.episodes.robot_key import RobotKey
from edge.loops import decide, memory_labels
from edge.loops.budgets import (
    FAST,
    LOOPS,
    MEDIUM,
    SLOW,
    Budgets,
    Usage,
    describe_left,
)
from edge.loops.decide import Decision, Situation
from edge.loops.ledger import FILE as LEDGER
from edge.loops.ledger import Ledger
from edge.loops.local_learning import AGAIN, PREPARE, LocalLearning, Settings
from edge.loops.machine import READ_AGAIN_S, MachineReadings, read_machine
from edge.loops.meter import Meter, read_usage
from edge.loops.mode import Mode
from edge.loops.night import Receipt
from edge.loops.night_receipts import NightReceipts
from edge.ota.decide import Origin
from edge.ota.receipts import Receipts
from edge.processes import process, robot_flags
from edge.processes.home import Home
from edge.processes.process import Process
from edge.robots import machine_name
from edge.robots.clock import rfc3339_from_unix_ns
from rlds import spool_flags

NAME: Final = "learn"
_OWN_KEY: Final = "learner.key"
_LOOK_S: Final = 2.0  # between two looks at the disk if no message comes
_REST_S: Final = 0.2
_MOST_NOTES: Final = 64  # about a machine, while this process runs
_WATCH_S: Final = 0.05  # between two looks at a learner
_RETRY_S: Final = 600.0
"""A round that failed is tried again after this time, or with the next episode."""

HOME = robot_flags.define_home()
ROBOT_ID = robot_flags.define_robot_id()
robot_flags.define_keys(
    without="the package that the pointer names is believed if it is whole"
)
KEY_FILE = robot_flags.define_key_file(f"deltas/{_OWN_KEY}")
robot_flags.define_learner_limits()
flags.adopt_module_key_flags(spool_flags)
ONCE = flags.DEFINE_bool("once", False, "whether to run one round now and end")
LOOP = flags.DEFINE_enum(
    "loop", SLOW, [name for name in LOOPS if name != FAST], "loop that --once runs"
)


def main(argv: list[str]) -> int:
    """Learns until it is told to end, or once."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    raw_memory.hide()
    spool_flags.use()
    home = Home(Path(HOME.value))
    budgets = robot_flags.read_budgets()
    settings = Settings(
        robot_id=ROBOT_ID.value or machine_name.derive_name(),
        quota_bytes=robot_flags.read_quota_bytes(),
        threads=robot_flags.read_threads(),
        memory_bytes=budgets.memory_bytes,
        keys=robot_flags.read_keys(serves=not ONCE.value),
    )
    with process.open_process(home.root, NAME) as me:
        open_receipts = functools.partial(_open_receipts, home, settings.robot_id)
        learning = LocalLearning(
            home.root,
            settings,
            me.say,
            receipts=NightReceipts(open_receipts, me.say),
        )
        ledger = Ledger(home.root / LEDGER)
        if ONCE.value:
            return _run_once(me, learning, ledger, budgets)
        _Residence(me, learning, ledger, budgets).live()
    return 0


def _open_receipts(home: Home, robot_id: str) -> Receipts:
    """Opens the robot's receipts, to be signed as its episodes are.

    It is called after a round, so that the recorder has shown whose key that is.

    Raises:
        KeyFileError, OSError: the key cannot be read or made.
    """
    return Receipts(home.receipts, _open_key(home, robot_id), robot_id)


def _open_key(home: Home, robot_id: str) -> RobotKey:
    if KEY_FILE.value:
        return robot_key.load_or_create(Path(KEY_FILE.value))
    simulated = robot_key.derive_simulated(robot_id)
    with contextlib.suppress(ContinuonError):
        robot_key.read_public(home.shared, simulated.keyid)
        return simulated
    try:
        return robot_key.load_or_create(home.private / "robot.key")
    except (ContinuonError, OSError):
        # As a service of its own user it does not read the recorder's key.
        return robot_key.load_or_create(home.deltas / _OWN_KEY)


def _run_once(
    me: Process, learning: LocalLearning, ledger: Ledger, budgets: Budgets
) -> int:
    """Runs one round by hand and shows it; returns the exit code."""
    notes = _MachineNotes(me.say)
    if ledger.spent().lost:
        me.say(
            f"{LEDGER}: expected what was used since noon, got a damaged file;"
            " it begins anew, and no loop begins by itself until noon"
        )
    learning.look()
    while learning.has_more and not me.is_stopped():
        learning.look()
    begin_s = time.monotonic()
    if learning.needs_judging():
        learning.begin(AGAIN, _available_bytes(budgets, notes.read_machine()))
        _follow(me, learning, ledger, budgets)
    learning.begin(LOOP.value, _available_bytes(budgets, notes.read_machine()))
    receipt = _follow(me, learning, ledger, budgets)
    if receipt is None:
        command_line.say(f"stopped after {time.monotonic() - begin_s:.1f} s")
        return command_line.EXIT_FAILED
    return 0


def _follow(
    me: Process, learning: LocalLearning, ledger: Ledger, budgets: Budgets
) -> Receipt | None:
    """Follows a round to its end; None if it was stopped."""
    if learning.loop is None:
        return None
    shown = ""
    loop = SLOW if learning.loop == AGAIN else learning.loop
    with Meter(ledger, loop, budgets, lambda: read_usage(learning.learner_pids)):
        while learning.loop is not None:
            if me.is_stopped():
                learning.stop()
                return None
            receipt = learning.poll(_now(), _WATCH_S)
            line = _describe_progress(learning)
            if line != shown and sys.stdout.isatty():
                sys.stdout.write(f"\r{line:<40}\r")
                sys.stdout.flush()
            shown = line
            if receipt is not None:
                command_line.say(receipt.line)
                return receipt
    return None


class _MachineNotes:
    """Reads the machine, and says once what it should tell and does not.

    A limit of heat or battery holds no loop back while it is not measured.
    """

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._said: set[str] = set()

    def read_machine(self) -> MachineReadings:
        """Reads it, and says what is new."""
        readings = read_machine()
        for note in readings.notes:
            # A sensor that answers other nonsense each time is one that was said.
            about, _, _ = note.partition(", got ")
            if about not in self._said and len(self._said) < _MOST_NOTES:
                self._said.add(about)
                self._say(f"{note}; it counts as not measured")
        return readings


class _Residence:
    """One robot's learning, from the start of the process to its end."""

    def __init__(
        self, me: Process, learning: LocalLearning, ledger: Ledger, budgets: Budgets
    ) -> None:
        self._me, self._learning = me, learning
        self._memories = Home(me.home).memories
        self._ledger, self._budgets = ledger, budgets
        # Until somebody says otherwise the robot is needed.
        self._mode = Mode.DRIVING
        self._fast_s: float | None = None  # as control said it last; None: it has none
        self._fast_used_s = 0.0
        self._machine, self._read_s = MachineReadings(), -READ_AGAIN_S
        self._notes = _MachineNotes(me.say)
        self._looked_s = -_LOOK_S
        self._refused = ""  # what the disk answered to the last look
        self._failed: tuple[tuple[object, ...], float, str] | None = None
        self._stack = contextlib.ExitStack()
        self._meter: Meter | None = None
        self._decision = Decision(None, "starts")

    def live(self) -> None:
        """Learns until the process is told to end."""
        self._me.say_ready()
        try:
            while not self._me.is_stopped():
                self._listen()
                self._watch()
                if self._me.is_status_due():
                    self._tell_control()
                    self._me.show_now(self._status())
                works = self._learning.loop is not None or self._learning.has_more
                self._me.rest(_WATCH_S if works else _REST_S)
        finally:
            self._stop("the process ends")

    def _listen(self) -> None:
        for message in self._me.receive():
            if message.kind == "mode":
                with contextlib.suppress(ValueError):
                    self._mode = Mode(message.fields.get("mode"))
                self._note_fast(message.fields.get("fast_processor_s"))
            elif message.kind == "episode":
                self._looked_s = -_LOOK_S
            elif message.kind == "go_back":
                self._go_back(message.fields.get("delta"))

    def _go_back(self, delta: object) -> None:
        """Leaves the delta that a person saw, unless another one counts by now."""
        self._stop("a person goes back")  # it would begin from that delta
        try:
            self._me.say(self._learning.go_back(str(delta)))
        except (ContinuonError, OSError) as e:
            self._me.say(" ".join(str(e).split()))

    def _note_fast(self, said_s: object) -> None:
        """Counts what the fast loop has used; a control that is new begins at zero."""
        if not isinstance(said_s, int | float) or not 0 <= said_s < math.inf:
            self._fast_s = None
            return
        before_s = self._fast_s or 0.0
        self._fast_used_s += said_s - before_s if said_s >= before_s else said_s
        self._fast_s = said_s

    def _watch(self) -> None:
        """Looks, decides, and begins, follows or stops a round."""
        now_s = time.monotonic()
        try:
            self._follow_round()
            if now_s - self._looked_s >= _LOOK_S:
                self._look()
            if now_s - self._read_s >= READ_AGAIN_S:
                self._machine, self._read_s = self._notes.read_machine(), now_s
            wanted = self._decide()
            running = self._learning.loop
            if running is not None and wanted != running:
                self._stop(self._decision.reason)
            elif running is None and wanted not in (None, FAST):
                self._begin(str(wanted))
            self._charge_fast(wanted == FAST and self._fast_s is not None)
        except (ContinuonError, OSError) as e:
            self._stop("it failed")
            failure = " ".join(str(e).split())
            if self._failed_lately() and self._failed and self._failed[2] == failure:
                return  # it was said
            self._failed = (self._key(), now_s, failure)
            self._me.say(failure)

    def _look(self) -> None:
        """Looks at the disk; what that refuses is said once, until it is over.

        Learning goes on with what is known.
        """
        refused = ""
        try:
            if self._learning.loop is None and self._learning.package is not None:
                memory_labels.apply_all(self._memories, self._me.say)
            self._learning.look()
        except (ContinuonError, OSError) as e:
            refused = " ".join(str(e).split())
        self._looked_s = time.monotonic()
        if self._learning.has_more and not refused:
            self._looked_s -= _LOOK_S  # goes on after a rest
        if refused and refused != self._refused:
            self._me.say(refused)
        self._refused = refused

    def _decide(self) -> str | None:
        """The loop that may run now; `AGAIN` for an older delta to be judged.

        What a night needs is compiled before, by a robot that is idle: `PREPARE`.
        """
        if not self._learning.knows_memories:
            self._decision = Decision(None, "reads its memories")
            return None
        situation = self._situate()
        running = self._learning.loop
        if self._mode is not Mode.DRIVING and (
            running == PREPARE
            or (
                running is None
                and not self._failed_lately()
                and self._learning.needs_preparing()
            )
        ):
            prepare = dataclasses.replace(
                situation,
                mode=Mode.IDLE,
                origin=Origin.SEED,
                loops=frozenset((MEDIUM,)),
                new_episodes=1,
                running=None if running is None else MEDIUM,
            )
            self._decision = decide.decide(prepare, self._budgets)
            if self._decision.loop is not None:
                return PREPARE
            if running == PREPARE:
                return None
        if self._mode is not Mode.DRIVING and (
            running == AGAIN or (running is None and self._learning.needs_judging())
        ):
            # It is the first part of a night, and costs as little as its end.
            again = dataclasses.replace(
                situation,
                mode=Mode.ASLEEP,
                loops=frozenset((SLOW,)),
                new_episodes=max(1, situation.new_episodes),
                local_episodes=max(2, situation.local_episodes),
                running=None if running is None else SLOW,
            )
            self._decision = decide.decide(again, self._budgets)
            return None if self._decision.loop is None else AGAIN
        self._decision = decide.decide(situation, self._budgets)
        return None if self._failed_lately() else self._decision.loop

    def _failed_lately(self) -> bool:
        if self._failed is None:
            return False
        key, at_s, _ = self._failed
        return key == self._key() and time.monotonic() - at_s < _RETRY_S

    def _situate(self) -> Situation:
        learning = self._learning
        package = learning.package
        plan = None if package is None else package.manifest.learning
        spent = self._ledger.spent() if self._meter is None else self._meter.spent()
        loop = SLOW if self._mode is Mode.ASLEEP else MEDIUM
        running = learning.loop
        return Situation(
            mode=self._mode,
            origin=learning.origin,
            loops=learning.loops,
            # What runs was begun for a reason that still holds.
            new_episodes=learning.count_new(loop) or int(running is not None),
            local_episodes=learning.count_memories(),
            package_memory_bytes=0 if plan is None else plan.memory_bytes,
            machine=self._machine,
            spent=spent,
            took=self._ledger.took,
            running=running,
            has_package=package is not None,
        )

    def _begin(self, loop: str) -> None:
        self._end_meter()  # that of the fast loop
        self._learning.begin(loop, _available_bytes(self._budgets, self._machine))
        if self._learning.loop is None:
            return  # there was nothing to judge after all
        self._meter = self._stack.enter_context(
            Meter(
                self._ledger,
                {AGAIN: SLOW, PREPARE: MEDIUM}.get(loop, loop),
                self._budgets,
                lambda: read_usage(self._learning.learner_pids),
            )
        )

    def _charge_fast(self, runs: bool) -> None:
        """Charges the ledger while the fast loop runs in control."""
        if self._learning.loop is not None or runs == (self._meter is not None):
            return
        if not runs:
            self._end_meter()
            return
        self._meter = self._stack.enter_context(
            Meter(
                self._ledger,
                FAST,
                self._budgets,
                lambda: Usage(processor_s=self._fast_used_s),
                cores=1.0,
            )
        )

    def _tell_control(self) -> None:
        """Says whether the fast loop may run: not if what it uses is not counted."""
        may = self._decision.loop == FAST and self._meter is not None
        fields = {"may": may, "reason": self._decision.reason}
        self._me.mailbox.send("control", "fast_loop", fields)

    def _follow_round(self) -> None:
        loop = self._learning.loop
        if loop is None:
            return
        receipt = self._learning.poll(_now())
        if receipt is not None:
            self._me.say(receipt.line)
            self._failed = None
            if self._meter is not None and loop != AGAIN:
                self._ledger.end_loop(loop, self._meter.total())
        if self._learning.loop is None:
            self._end_meter()

    def _stop(self, reason: str) -> None:
        loop = self._learning.loop
        if loop is not None:
            took_s = self._learning.stop()
            self._me.say(f"{loop} stopped in {1000 * took_s:.0f} ms: {reason}")
        self._end_meter()

    def _end_meter(self) -> None:
        self._meter = None
        with contextlib.suppress(ContinuonError, OSError):
            self._stack.close()  # a full disk: the advance stays charged

    def _key(self) -> tuple[object, ...]:
        package = self._learning.package
        digest = None if package is None else package.digest
        return digest, self._mode, self._learning.count_memories()

    def _status(self) -> Mapping[str, object]:
        learning = self._learning
        loop, receipt = learning.loop, learning.receipt
        spent = self._ledger.spent() if self._meter is None else self._meter.spent()
        doing = f"runs the {loop} loop" if loop else "waits"
        if loop == PREPARE:
            doing = "compiles what a night needs"
        reason = self._decision.reason
        if self._decision.loop == FAST and self._fast_s is None:
            reason = "driving: control runs no fast loop"
        if self._failed is not None and loop is None and self._failed_lately():
            # A person who waits for a night reads why none comes.
            reason = f"a round failed: {self._failed[2]}"
        return {
            "doing": doing,
            "reason": reason,
            "mode": self._mode.value,
            "loop": loop,
            "progress": _describe_progress(learning),
            "memories": learning.count_memories(),
            "left": describe_left(self._budgets, spent),
            "last_delta": learning.delta or "",
            "receipt": "" if receipt is None else receipt.line,
            "machine": "; ".join(self._machine.notes),
        }


def _available_bytes(budgets: Budgets, machine: MachineReadings) -> int | None:
    """Memory for a learner: its budget, or what the machine has if that is less."""
    allowed = int(budgets.memory_bytes)
    there = machine.memory_available_bytes
    return allowed if there is None else min(allowed, there)


def _describe_progress(learning: LocalLearning) -> str:
    progress = learning.progress
    if progress is None:
        return ""
    loss = "" if progress.loss is None else f", loss {progress.loss:.4f}"
    return f"{progress.done} of {progress.total} calls{loss}"


def _now() -> str:
    return rfc3339_from_unix_ns(time.time_ns())


if __name__ == "__main__":
    command_line.run(main)
