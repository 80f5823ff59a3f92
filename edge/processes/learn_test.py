"""The process `learn`, as it is started on a robot: by hand, asleep, and in the way."""

import functools
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.loops.delta_store import CURRENT, DeltaStore
from edge.loops.ledger import Ledger
from edge.ota.decide import Origin
from edge.processes.mailbox import Mailbox
from edge.testing import process_tree, processes
from edge.testing.learn_program import FLAGS, MODULE, Fields, LearnProgram
from edge.testing.learning_home import LearningHome
from edge.testing.tiny_learning import Plan

A_ROUND_FAILED = "a round failed: the slow loop: expected new vectors, got "
OTHER_MACHINE = """
import functools, pathlib
from edge.loops import machine
machine.read_machine = functools.partial(machine.read_machine, pathlib.Path("{root}"))
"""


@pytest.fixture
def home(tmp_path: Path) -> LearningHome:
    home = LearningHome(tmp_path / "home")
    home.install()
    return home


def once(home: LearningHome, *arguments: str) -> subprocess.CompletedProcess[str]:
    return processes.run(MODULE, f"--home={home.root}", *FLAGS, "--once", *arguments)


def test_round_by_hand_learns_and_says_so(home: LearningHome) -> None:
    home.show(16)
    done = once(home)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("slow: delta ")
    assert " accepted after " in done.stdout
    assert DeltaStore(home.root / "deltas").named(CURRENT) is not None
    assert len(list((home.root / "receipts").rglob("*-learned-*.json"))) == 1


def test_damaged_ledger_is_told_by_a_round_by_hand(home: LearningHome) -> None:
    home.show(16)
    (home.root / "ledger").write_bytes(b"garbage")
    done = once(home)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert "ledger: expected what was used since noon, got a damaged file" in line
    assert Ledger(home.root / "ledger").spent().lost


def test_robot_with_nothing_to_learn_from_is_told_in_one_line(
    home: LearningHome,
) -> None:
    home.show(1, robot_hash="arm-2")
    done = once(home)
    assert (done.returncode, done.stdout) == (1, "")
    aside, refused = done.stderr.splitlines()
    assert "expected an episode of arm-1, got arm-2" in aside
    assert "expected an episode to learn from, got none" in refused


def test_package_from_a_channel_is_changed_by_the_slow_loop_alone(
    home: LearningHome,
) -> None:
    home.show(16)
    done = once(home, "--loop=medium")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "the slow loop, which alone may change a package from a channel" in line
    assert "got medium" in line
    assert DeltaStore(home.root / "deltas").named(CURRENT) is None


@pytest.fixture
def start(home: LearningHome) -> Iterator[Callable[[], LearnProgram]]:
    started: list[LearnProgram] = []

    def begin() -> LearnProgram:
        started.append(LearnProgram(home))
        return started[-1]

    yield begin
    for robot in started:
        robot.kill()


def test_robot_learns_when_it_is_told_to_sleep_and_not_before(
    home: LearningHome, start: Callable[[], LearnProgram]
) -> None:
    home.show(16)
    robot = start()
    robot.wait_for(lambda status: status["memories"] == 16)
    assert robot.status["mode"] == "driving"
    assert robot.status["loop"] is None
    robot.tell("asleep")
    status = robot.wait_for(lambda status: status["receipt"])
    assert " accepted after " in status["receipt"]
    assert status["last_delta"] == DeltaStore(home.root / "deltas").named(CURRENT)
    status = robot.wait_for(lambda status: status["loop"] is None)
    assert status["reason"] == "no new episode to learn from"
    said = robot.close()
    assert said.startswith("learn: slow: delta ")
    assert (home.root / "ledger").exists()


def test_idle_robot_learns_by_the_medium_loop_if_its_package_is_a_seed(
    home: LearningHome, start: Callable[[], LearnProgram]
) -> None:
    home.install(origin=Origin.SEED)
    home.show(16)
    robot = start()
    robot.wait_for(lambda status: status["memories"] == 16)
    assert robot.status["loop"] is None
    robot.tell("idle")
    status = robot.wait_for(lambda status: status["receipt"])
    assert status["receipt"].startswith("medium: delta ")
    assert " accepted after " in status["receipt"]
    store = DeltaStore(home.root / "deltas")
    assert status["last_delta"] == store.named(CURRENT)
    assert robot.close().startswith("learn: medium: delta ")


def test_robot_that_is_needed_stops_in_the_middle_of_a_gradient_step(
    home: LearningHome, start: Callable[[], LearnProgram]
) -> None:
    """How long that takes is measured by //tests/benchmarks:learner."""
    home.install(Plan(endless=True))
    home.show(16)
    robot = start()
    robot.wait_for(lambda status: status["memories"] == 16)
    robot.tell("asleep")
    # It has begun, and the step that it is in never ends.
    robot.wait_for(lambda status: status["progress"].startswith("1 of "))
    (learner,) = robot.list_learners()
    robot.tell("driving")
    status = robot.wait_for(lambda status: not status["progress"].startswith("1 "))
    assert (status["loop"], status["progress"], status["receipt"]) == (None, "", "")
    assert not process_tree.is_alive(learner)
    assert robot.list_learners() == []
    assert "learn: slow stopped in " in robot.close()
    assert DeltaStore(home.root / "deltas").named(CURRENT) is None
    assert not (home.root / "run/learned.safetensors").exists()


def test_fast_loop_of_control_is_allowed_while_it_is_counted(
    home: LearningHome, start: Callable[[], LearnProgram]
) -> None:
    home.install(Plan(fast=True), origin=Origin.SEED)
    with Mailbox(home.root, "control") as control:
        robot = start()
        status = robot.wait_for(lambda status: "fast" in status["reason"])
        assert status["reason"] == "driving: control runs no fast loop"
        assert not said_last(control, robot)["may"]
        robot.tell("driving", fast_processor_s=0.0)
        robot.wait_for(lambda status: status["reason"].endswith("step to the next"))
        assert said_last(control, robot)["may"]
        robot.tell("driving", fast_processor_s=7000.0)
        robot.tell("driving", fast_processor_s=300.0)  # control was started again
        status = robot.wait_for(lambda status: "used since noon" in status["reason"])
        answer = said_last(control, robot)
        assert not answer["may"]
        assert answer["reason"] == status["reason"]
        robot.close()
    ledger = Ledger(home.root / "ledger")
    assert 7300 <= ledger.spent().awake.processor_s < 7500


def said_last(control: Mailbox, robot: LearnProgram) -> Fields:
    """What a learner says to control from now on."""
    control.receive()
    answers: list[Fields] = []
    end_s = time.monotonic() + process_tree.LONGEST_S
    while len(answers) < 2:  # the first may have been on its way
        assert time.monotonic() < end_s, robot.status
        control.wait(0.1)
        answers += [dict(one.fields) for one in control.receive()]
    return answers[-1]


def test_package_that_does_not_learn_is_said_in_the_status(
    home: LearningHome, start: Callable[[], LearnProgram]
) -> None:
    home.install(learning=None)
    robot = start()
    robot.wait_for(bool)
    robot.tell("asleep")
    status = robot.wait_for(lambda status: status["mode"] == "asleep")
    assert status["reason"] == "this package does not learn on the robot"
    robot.close()


def test_sensor_that_answers_nonsense_is_said_once_and_in_the_status(
    home: LearningHome, tmp_path: Path
) -> None:
    zone = tmp_path / "machine/sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "temp").write_text("warm")
    robot = LearnProgram(home, OTHER_MACHINE.format(root=tmp_path / "machine"))
    try:
        file = "/sys/class/thermal/thermal_zone0/temp"
        status = robot.wait_for(lambda one: "got warm" in one.get("machine", ""))
        assert status["machine"].startswith(f"{file}: expected an integer from ")
        (zone / "temp").write_text("cold")
        robot.wait_for(lambda one: "got cold" in one["machine"])
        (zone / "temp").write_text("45000")
        robot.wait_for(lambda one: not one["machine"])
        (line,) = [one for one in robot.close().splitlines() if file in one]
        assert line.endswith("got warm; it counts as not measured")
    finally:
        robot.kill()


def test_round_that_fails_is_said_once_and_the_process_lives(
    home: LearningHome, start: Callable[[], LearnProgram]
) -> None:
    home.show(16)
    robot = start()
    robot.wait_for(lambda status: status["memories"] == 16)
    for path in (home.root / "memories").glob("*-learn-*"):
        path.write_bytes(b"torn")  # after it was taken in
    robot.tell("asleep")
    # A round that fails at once may begin and end between two statuses.
    robot.wait_for(lambda status: status["reason"].startswith(A_ROUND_FAILED))
    said = robot.close()
    assert said.count("the slow loop: expected new vectors, got ") == 1


def test_pointer_that_a_full_disk_keeps_torn_is_said_once_and_learning_goes_on(
    home: LearningHome, start: Callable[[], LearnProgram]
) -> None:
    home.show(16)
    robot = start()
    robot.wait_for(lambda status: status["memories"] == 16)
    no_room = (0, resource.RLIM_INFINITY)
    pointer = home.root / "deltas" / CURRENT
    pointer.parent.mkdir(exist_ok=True)
    pointer.write_bytes(b"torn")
    before = resource.prlimit(robot.process.pid, resource.RLIMIT_FSIZE, no_room)
    for _ in range(5):  # looks, one after the other
        assert robot.supervisor.send("learn", "episode", {})
        robot.wait_for(bool)
    robot.tell("asleep")
    robot.wait_for(lambda status: status["reason"].startswith("a round failed: "))
    assert pointer.read_bytes() == b"torn"
    resource.prlimit(robot.process.pid, resource.RLIMIT_FSIZE, before)
    home.show(1)  # a round that failed is tried again with a new episode
    robot.wait_for(lambda status: status["receipt"])
    assert DeltaStore(home.root / "deltas").named(CURRENT) is not None
    said = robot.close()
    assert said.count(f"{pointer}: expected to write") == 1, said
    assert said.count(f"{pointer}: expected a pointer to a delta") == 1, said


@pytest.mark.long
def test_idle_robot_compiles_what_a_night_needs_and_changes_nothing(
    home: LearningHome, start: Callable[[], LearnProgram]
) -> None:
    home.install(Plan(large=True))  # from a channel: nothing learns before the night
    home.show(16)
    robot = start()
    robot.wait_for(lambda status: status["memories"] == 16)
    assert not list((home.root / "memories").glob("compiled/*/*"))
    robot.tell("idle")
    compiled = functools.partial((home.root / "memories").glob, "compiled/*/*")
    robot.wait_for(lambda status: status["loop"] is None and len([*compiled()]) == 4)
    said = robot.close()
    assert said.startswith("learn: prepare: compiled what a night needs, ")
    assert DeltaStore(home.root / "deltas").named(CURRENT) is None
