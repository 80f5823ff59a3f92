"""A person acts at a control process that runs, by the keys that its supervisor has."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from base.testing import command
from edge import simulated_or_real  # noqa: F401 - heavy, and each control is a fork
from edge.actors.gamepad import EVENT
from edge.episodes import step_ring
from edge.episodes.recorder import episode_spec
from edge.episodes.ring import RingReader
from edge.episodes.step_ring import Begin, End, Step
from edge.errors import RingError
from edge.processes import process
from edge.processes.mailbox import Mailbox, Message
from edge.testing import process_tree, robot_home
from edge.testing.robot_home import RobotHome
from release import run_summary
from rlds.spec import LEFT_OUT_TAG, StopRule

A, B, X, START = 0, 1, 2, 7  # buttons of a gamepad
STOPPED: Final = StopRule.STOP_KEY.tag
STEPS: Final = 400  # of an episode: five seconds at 80 Hz
"""Long enough for a person to do something in it, on a busy machine too."""


class Desk:
    """A control process, its supervisor with a terminal, and what the ring says."""

    def __init__(self, made: RobotHome, *flags: str) -> None:
        self.made = made
        self.supervisor = Mailbox(made.home.root, process.SUPERVISOR)
        self.updater = Mailbox(made.home.root, "update")
        self.log = os.open(made.home.root / "log", os.O_RDWR | os.O_CREAT)
        self.records: list[Begin | Step | End | step_ring.Hung] = []
        self.status: Mapping[str, object] = {}
        self.health: list[Mapping[str, object]] = []
        self.needs: list[Message] = []
        self._ring: RingReader | None = None
        self.pid = command.start(
            "edge.processes.control", *made.flags, *flags, out=self.log, err=self.log
        )

    def said(self) -> str:
        return os.pread(self.log, 1 << 20, 0).decode()

    def press(self, keys: str) -> None:
        assert self.supervisor.send("control", "keys", {"keys": keys})

    def tell(self, mode: str, *, demonstrates: bool = False) -> None:
        word = {"mode": mode, "demonstrates": demonstrates, "at_s": time.monotonic()}
        assert self.supervisor.send("control", "told", word)

    def press_stop_key(self, at_s: float) -> None:
        """Presses the supervisor's space bar, at a monotonic time."""
        assert self.supervisor.send("control", "stop_key", {"at_s": at_s})

    def wait_until(self, done: Callable[[], object]) -> None:
        def look() -> object:
            self._listen()
            return done()

        process_tree.wait_until(look, lambda: f"{self.status}\n{self.said()}")

    def wait_for_status(self, **wanted: object) -> None:
        self.status = {}
        self.wait_until(
            lambda: (
                self.status
                and all(self.status.get(name) == wanted[name] for name in wanted)
            )
        )

    def hold(self, key: str, done: Callable[[], object]) -> None:
        """Holds a key down until something is done."""

        def look() -> object:
            self.supervisor.send("control", "keys", {"keys": key})
            time.sleep(1 / 30)
            return done()

        self.wait_until(look)

    def ends(self) -> list[End]:
        return [one for one in self.records if isinstance(one, End)]

    def episode(self, number: int) -> tuple[Begin, list[dict[str, np.ndarray]], End]:
        """What the ring says of an episode, counted from the first."""
        end = self.ends()[number]
        (begin,) = (
            one
            for one in self.records
            if isinstance(one, Begin) and one.episode_id == end.episode_id
        )
        spec = episode_spec(begin.robot, begin.provenance)
        steps = [
            one.fields(spec)
            for one in self.records
            if isinstance(one, Step) and one.episode_id == end.episode_id
        ]
        return begin, steps, end

    def _listen(self) -> None:
        for message in self.supervisor.receive():
            self.status = message.fields
        messages = self.updater.receive()
        self.health += [one.fields for one in messages if one.kind == "health"]
        self.needs += [one for one in messages if one.kind == "in_need"]
        if self._ring is None:
            try:
                self._ring = RingReader(self.made.home.ring)
            except RingError:
                return
        while (record := self._ring.peek()) is not None:
            self.records.append(step_ring.parse(record))
            self._ring.release()

    def close(self) -> None:
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)
        if self._ring is not None:
            self._ring.close()
        self.supervisor.close()
        self.updater.close()
        os.close(self.log)


@pytest.fixture(autouse=True)
def talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each control is a fork of this, and says more often how it is."""
    monkeypatch.setattr(process, "STATUS_PERIOD_S", 0.1)


@pytest.fixture
def made(tmp_path: Path) -> RobotHome:
    return robot_home.make(tmp_path, STEPS)


@pytest.fixture
def start(
    made: RobotHome, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Desk]]:
    monkeypatch.setenv(process.SUPERVISOR_PID, str(os.getpid()))
    started: list[Desk] = []

    def begin(*flags: str) -> Desk:
        started.append(Desk(made, "--actor=keyboard", *flags))
        started[-1].wait_for_status(doing="waits for its supervisor")
        return started[-1]

    yield begin
    for one in started:
        one.close()


def test_person_takes_over_hands_back_and_says_how_it_went(
    start: Callable[..., Desk], made: RobotHome
) -> None:
    desk = start()
    desk.tell("driving")
    desk.wait_for_status(doing="drives")
    desk.hold("d", lambda: desk.status.get("acting") == "human has taken over")
    desk.press("h")
    desk.wait_for_status(acting=None)
    desk.press("y")
    desk.wait_until(lambda: len(desk.ends()) == 1 and len(desk.health) == 1)
    desk.wait_for_status(doing="drives", acting=None)
    desk.press("n")
    desk.wait_until(lambda: len(desk.ends()) == 2 and len(desk.health) == 2)
    desk.wait_for_status(doing="drives", acting=None)
    desk.press("b")
    desk.wait_until(lambda: len(desk.ends()) == 3 and len(desk.health) == 3)
    begin, steps, end = desk.episode(0)
    assert begin.provenance.actor == f"policy:{made.active()[:12]}"
    assert begin.provenance.watched
    assert end.success is True
    marks = np.array([one["intervention"] for one in steps])
    assert 0 < marks.sum() < len(marks)
    assert not marks[-1], "it was handed back"
    moved = [one["action"] for one in steps if one["intervention"]]
    assert {float(action[0]) for action in moved} <= {0.0, 1.0}
    assert any(action[0] == 1.0 for action in moved)
    begin, steps, end = desk.episode(1)
    assert end.success is False
    assert not any(one["intervention"] for one in steps)
    assert desk.episode(2)[2].tags == (LEFT_OUT_TAG,)
    corrected, failed, left_out = desk.health
    assert left_out["success"] is None
    assert corrected["success"] is None, "it was not the package's alone"
    assert failed["success"] is False


def test_person_demonstrates_whole_episodes_when_the_robot_is_told_so(
    start: Callable[..., Desk],
) -> None:
    desk = start()
    desk.tell("driving", demonstrates=True)
    desk.wait_for_status(doing="waits until the actor begins")
    desk.press("d")  # nothing moves before it begins
    desk.wait_for_status(doing="waits until the actor begins", steps=0)
    desk.press(" ")
    desk.wait_for_status(doing="is shown a task", acting="human acts")
    desk.press("y")
    desk.wait_for_status(doing="waits until the actor begins")
    desk.tell("driving")
    desk.wait_for_status(doing="drives", acting=None)
    desk.press("n")
    desk.wait_until(lambda: len(desk.ends()) == 2)
    begin, steps, end = desk.episode(0)
    assert begin.provenance.actor == "human"
    assert begin.provenance.tags == ("demonstration",)
    assert begin.provenance.package_digest == ""
    assert end.success is True
    assert "intervention" not in steps[0]
    begin, _, _ = desk.episode(1)
    assert begin.provenance.actor.startswith("policy:")
    assert not any(one["stop_rules"] for one in desk.health)


def test_person_who_stops_the_robot_lets_it_go_on_by_key_or_by_word(
    start: Callable[..., Desk],
) -> None:
    desk = start()
    desk.tell("driving")
    desk.wait_for_status(doing="drives")
    stopped_s = time.monotonic()
    desk.press("x")
    desk.wait_for_status(doing="idle", acting="stopped by the actor", violations=0)
    told = desk.status["stopped_s"]
    assert isinstance(told, float)
    assert told >= stopped_s
    assert len(desk.ends()) == 1
    desk.press("dyh")  # none of them lets it go on
    desk.wait_for_status(doing="idle")
    desk.press(" ")
    desk.wait_for_status(doing="drives")
    assert "stopped_s" not in desk.status
    desk.press("x")
    desk.wait_for_status(doing="idle", acting="stopped by the actor")
    desk.tell("driving")
    desk.wait_for_status(doing="drives")
    assert len(desk.ends()) == 2
    assert {tag for one in desk.ends() for tag in one.tags} == {STOPPED}


@pytest.mark.parametrize("mode", ["idle", "asleep"])
def test_robot_that_rested_before_it_was_stopped_rests_when_it_may_go_on(
    start: Callable[..., Desk], mode: str
) -> None:
    desk = start()
    desk.tell(mode)
    desk.wait_for_status(doing=mode)
    desk.press("x")
    desk.wait_for_status(doing="idle", acting="stopped by the actor")
    desk.press(" ")
    desk.wait_for_status(doing=mode, acting=None)
    assert isinstance(desk.status["went_on_s"], float)
    desk.wait_for_status(doing=mode, acting=None, steps=0)


def test_word_after_the_stop_key_counts_even_if_control_reads_both_at_once(
    start: Callable[..., Desk],
) -> None:
    desk = start()
    desk.tell("driving")
    desk.wait_for_status(doing="drives")
    os.kill(desk.pid, signal.SIGSTOP)
    desk.press_stop_key(time.monotonic())
    desk.tell("driving")
    os.kill(desk.pid, signal.SIGCONT)
    desk.wait_until(lambda: len(desk.ends()) == 1)
    assert desk.ends()[0].tags == (STOPPED,)
    desk.wait_for_status(doing="drives")
    desk.press_stop_key(time.monotonic())
    desk.wait_for_status(doing="idle", acting=None)


def test_stop_key_while_the_robot_rests_ends_no_later_episode(
    start: Callable[..., Desk],
) -> None:
    desk = start()
    desk.tell("idle")
    desk.wait_for_status(doing="idle")
    desk.press("xy")
    desk.wait_for_status(acting="stopped by the actor")
    desk.tell("driving")
    desk.wait_for_status(doing="drives")
    desk.press("h?")
    desk.wait_until(lambda: "keys: d/a" in desk.said())
    desk.wait_for_status(doing="drives")
    assert not desk.ends()


def test_demonstration_needs_no_package(
    start: Callable[..., Desk], made: RobotHome, tmp_path: Path
) -> None:
    made.home.packages.rename(tmp_path / "away")
    desk = start()
    desk.tell("driving")
    desk.wait_for_status(doing="waits for a package")
    desk.wait_until(lambda: bool(desk.needs))  # the updater is told
    desk.tell("driving", demonstrates=True)
    desk.wait_for_status(
        doing="waits until the actor begins", why="told to demonstrate"
    )
    desk.press(" ")
    desk.wait_for_status(doing="is shown a task", acting="human acts")
    desk.press("y")
    desk.wait_until(lambda: len(desk.ends()) == 1)
    assert desk.episode(0)[0].provenance.actor == "human"
    assert not desk.health


@pytest.mark.parametrize("has_package", [True, False])
def test_successes_of_a_person_do_not_read_as_those_of_the_package(
    made: RobotHome, tmp_path: Path, has_package: bool
) -> None:
    if not has_package:
        made.home.packages.rename(tmp_path / "away")
    path = tmp_path / "summary.json"
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.ExitStack() as stack,
    ):
        patch.setenv(process.SUPERVISOR_PID, str(os.getpid()))
        desk = Desk(made, "--actor=keyboard", "--episodes=1", f"--summary_json={path}")
        stack.callback(desk.close)
        desk.wait_for_status(doing="waits until the actor begins")
        desk.press(" ")
        desk.wait_for_status(doing="is shown a task")
        desk.press("y")
        desk.wait_for_status(doing="ended")
    summary = run_summary.read(path)
    assert [one.successes for one in summary.tasks.values()] == [1]
    assert summary.package_digest is None


def test_gamepad_that_is_not_there_at_the_start_holds_the_robot_still(
    start: Callable[..., Desk], tmp_path: Path
) -> None:
    device = tmp_path / "js0"
    desk = start("--actor=gamepad", f"--actor_device={device}")
    desk.tell("driving")
    desk.wait_until(lambda: str(desk.status.get("doing")).startswith("holds still: "))
    assert "connect one" in str(desk.status["doing"])
    desk.wait_for_status(steps=0)
    os.mkfifo(device)
    pad = os.open(device, os.O_RDWR)
    try:
        desk.wait_until(lambda: "the gamepad is back" in str(desk.status.get("doing")))
        desk.wait_for_status(steps=0)
        os.write(pad, EVENT.pack(1, 1, 1, A))
        desk.wait_for_status(doing="drives")
    finally:
        os.close(pad)


class Pad:
    """A gamepad, whose device file is a FIFO."""

    def __init__(self, device: Path) -> None:
        """Connects it, to a control that runs: a fork would share its far end."""
        self.device = device
        if not device.exists():
            os.mkfifo(device)
        # Open for both, so that this does not wait for a reader.
        self._file = os.open(device, os.O_RDWR)

    def press(self, button: int) -> None:
        os.write(self._file, EVENT.pack(1, 1, 1, button) + EVENT.pack(2, 0, 1, button))

    def push(self, axis: int, way: int) -> None:
        os.write(self._file, EVENT.pack(1, way, 2, axis))

    def unplug(self) -> None:
        os.close(self._file)
        self.device.unlink()


def test_person_with_a_gamepad_corrects_judges_and_loses_it_in_mid_episode(
    start: Callable[..., Desk], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "js0")
    desk = start("--actor=gamepad", f"--actor_device={tmp_path / 'js0'}")
    pad = Pad(tmp_path / "js0")
    desk.tell("driving")
    desk.wait_for_status(doing="drives")
    pad.push(0, 32767)
    desk.wait_for_status(acting="human has taken over")
    pad.push(0, 0)
    pad.press(B)
    desk.wait_for_status(acting=None, doing="drives")
    pad.press(START)
    desk.wait_until(lambda: len(desk.ends()) == 1 and desk.health)
    _, steps, end = desk.episode(0)
    assert end.success is True
    acted = [one["action"] for one in steps if one["intervention"]]
    assert any(action[0] == 1.0 for action in acted)
    assert not steps[-1]["intervention"]
    assert desk.health[0]["success"] is None, "it was not the package's alone"
    desk.wait_for_status(doing="drives")
    pad.push(1, 32767)
    desk.wait_for_status(acting="human has taken over")
    pad.unplug()
    desk.wait_until(lambda: str(desk.status.get("doing")).startswith("holds still"))
    ended = len(desk.ends())
    _, steps, end = desk.episode(ended - 1)
    assert (end.success, end.tags) == (None, ())
    assert not steps[-1]["action"].any(), "it stands still"
    assert "the gamepad is gone" in desk.said()
    back = Pad(tmp_path / "js0")
    desk.wait_until(lambda: "is back" in str(desk.status.get("doing")))
    for button in (B, START, X):
        back.press(button)
    desk.wait_for_status(steps=desk.status["steps"])
    assert len(desk.ends()) == ended
    back.press(A)
    desk.wait_for_status(doing="drives", acting=None)
    back.press(X)
    desk.wait_for_status(doing="idle", acting="stopped by the actor")
    assert desk.ends()[-1].tags == (STOPPED,)
    back.press(A)
    desk.wait_for_status(doing="drives")
    back.unplug()


def test_expert_demonstrates_on_a_living_robot_while_it_is_told_so(
    made: RobotHome, start: Callable[..., Desk]
) -> None:
    flags = ("--actor=expert", "--robot=metaworld:reach-v3", "--pace=simulated")
    desk = start(*flags)
    desk.tell("driving", demonstrates=True)
    desk.wait_until(lambda: len(desk.ends()) >= 2)
    assert not desk.health
    for number in range(2):
        begin, steps, end = desk.episode(number)
        assert (begin.provenance.actor, begin.provenance.package_digest) == (
            "expert",
            "",
        )
        assert begin.provenance.tags == ("demonstration",)
        assert end.success is True
        assert "intervention" not in steps[0]
    desk.tell("driving")
    desk.wait_until(lambda: desk.health)
    begin, _, _ = desk.episode(len(desk.ends()) - 1)
    assert begin.provenance.actor == f"policy:{made.active()[:12]}"
    assert not begin.provenance.watched, "an expert cannot stop it"


def test_rule_of_the_site_stops_the_package_and_is_reported(
    start: Callable[..., Desk], tmp_path: Path
) -> None:
    rules = tmp_path / "rules.json"
    box = {"channels": [0], "minimum": [-1e-6], "maximum": [1e-6]}
    rules.write_text(
        json.dumps({"schema_version": 1, "stop_rules": {"workspace": box}})
    )
    desk = start(f"--stop_rules={rules}")
    desk.tell("driving")
    desk.wait_until(lambda: desk.health and desk.ends())
    end = desk.ends()[0]
    assert end.tags == (StopRule.WORKSPACE.tag,)
    assert desk.health[0]["stop_rules"] == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "--stop_rules: "),
        ('{"schema_version": 1, "stop_rules": {}}', "expected a rule of action_limit"),
        (
            '{"schema_version": 1, "stop_rules": {"workspace":'
            ' {"channels": [99], "minimum": [0.0], "maximum": [1.0]}}}',
            "--stop_rules: ",
        ),
    ],
)
def test_rules_that_are_malformed_or_do_not_fit_are_wrong_usage(
    made: RobotHome, tmp_path: Path, content: str, reason: str
) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(content)
    done = command.run("edge.processes.control", *made.flags, f"--stop_rules={rules}")
    assert done.code == 2, done.err
    (line,) = done.err.splitlines()
    assert reason in line
    assert "rules.json" in line


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--actor=leader"], "one of expert, keyboard, gamepad"),
        (["--actor=keyboard", "--pace=simulated"], "expected real time with --actor"),
        (["--actor_speed=0.5"], "with --actor only"),
        (["--actor=keyboard"], "a service has none, and a gamepad acts there"),
    ],
)
def test_actor_that_does_not_fit_is_wrong_usage(
    made: RobotHome, flags: list[str], reason: str
) -> None:
    done = command.run("edge.processes.control", *made.flags, *flags)
    assert done.code in (1, 2), done.err
    assert reason in done.err
    assert done.err.count("\n") == 1
    assert not made.home.ring.exists()
