"""The control process drives what the pointers on disk name, and obeys its messages."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from base.testing import command
from edge import simulated_or_real  # noqa: F401 - heavy, and each control is a fork
from edge.episodes import step_ring
from edge.episodes.ring import Record, RingReader
from edge.errors import RingError
from edge.loops.delta_store import CURRENT
from edge.ota import start_count
from edge.processes import drives, mode_keeper, process
from edge.processes.mailbox import Mailbox
from edge.testing import process_tree, robot_home
from edge.testing.robot_home import RobotHome
from release import run_summary


class Control:
    """A running control process, as its supervisor sees it."""

    def __init__(self, made: RobotHome, *flags: str) -> None:
        self.made = made
        self.supervisor = Mailbox(made.home.root, process.SUPERVISOR)
        self.updater = Mailbox(made.home.root, "update")
        self.log = os.open(made.home.root / "log", os.O_RDWR | os.O_CREAT)
        self.pid = command.start(
            "edge.processes.control",
            *made.flags,
            "--pace=simulated",
            *flags,
            out=self.log,
            err=self.log,
        )
        self.code: int | None = None
        self._ring: RingReader | None = None
        self.first: Record | None = None  # what it sent through the ring first

    def wait_for(
        self, wanted: Callable[[Mapping[str, object]], bool]
    ) -> Mapping[str, object]:
        """Waits for a status that `wanted` accepts, and returns it."""
        until_s = time.monotonic() + process_tree.LONGEST_S
        last: object = None
        while time.monotonic() < until_s:
            self.supervisor.wait(0.1)
            self._take_steps()
            for message in self.supervisor.receive():
                last = message.fields
                if wanted(message.fields):
                    return message.fields
            assert os.waitpid(self.pid, os.WNOHANG) == (0, 0), self.said()
        raise AssertionError(f"{last}\n{self.said()}")

    def _take_steps(self) -> None:
        """Frees the ring as a recorder does: a simulated robot waits for room in it."""
        if self._ring is None or self._ring.is_replaced():
            self._close_ring()
            try:
                self._ring = RingReader(self.made.home.ring)
            except RingError:
                return  # control has not driven yet
        while (record := self._ring.peek()) is not None:
            self.first = self.first or record
            self._ring.release()

    def _close_ring(self) -> None:
        if self._ring is not None:
            self._ring.close()
            self._ring = None

    def tell(self, kind: str, **fields: object) -> None:
        assert self.supervisor.send("control", kind, fields)

    def said(self) -> str:
        return os.pread(self.log, 1 << 20, 0).decode()

    def end(self) -> int:
        if self.code is None:
            os.kill(self.pid, signal.SIGTERM)
        return self.wait_for_end()

    def wait_for_end(self) -> int:
        """The exit code of a control process that ends."""

        def look() -> bool:
            self._take_steps()
            if self.code is None:
                ended, status = os.waitpid(self.pid, os.WNOHANG)
                if ended:
                    self.code = os.waitstatus_to_exitcode(status)
            return self.code is not None

        process_tree.wait_until(look, self.said)
        assert self.code is not None
        return self.code

    def close(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self._close_ring()
        self.supervisor.close()
        self.updater.close()
        os.close(self.log)


@pytest.fixture(autouse=True)
def talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each control is a fork of this, and says more often how it is."""
    monkeypatch.setattr(process, "STATUS_PERIOD_S", 0.1)


@pytest.fixture
def made(tmp_path: Path) -> RobotHome:
    return robot_home.make(tmp_path)


@pytest.fixture
def start(made: RobotHome) -> Iterator[Callable[..., Control]]:
    started: list[Control] = []

    def begin(*flags: str) -> Control:
        started.append(Control(made, *flags))
        return started[-1]

    yield begin
    for one in started:
        one.close()


def is_doing(text: str) -> Callable[[Mapping[str, object]], bool]:
    return lambda status: status["doing"] == text


def test_episodes_that_were_asked_for_are_driven_and_summed_up(
    made: RobotHome, start: Callable[..., Control], tmp_path: Path
) -> None:
    path = tmp_path / "summary.json"
    control = start("--episodes=3", f"--summary_json={path}")
    assert control.wait_for_end() == 0, control.said()
    summary = run_summary.read(path)
    assert [one.episodes for one in summary.tasks.values()] == [3]
    assert summary.package_digest == made.active()


def test_summary_without_a_number_of_episodes_is_wrong_usage(
    start: Callable[..., Control], tmp_path: Path
) -> None:
    path = tmp_path / "summary.json"
    control = start(f"--summary_json={path}")
    assert control.wait_for_end() == 2
    assert "expected --episodes with --summary_json" in control.said()
    assert not path.exists()


def test_actor_that_cannot_act_on_this_robot_is_one_line_before_it_moves(
    made: RobotHome, start: Callable[..., Control]
) -> None:
    control = start("--episodes=1", "--actor=expert")
    assert control.wait_for_end() in (1, 2)
    assert len(control.said().splitlines()) == 1
    assert not made.home.ring.exists()


def test_simulated_robot_goes_on_after_stop_rules_and_says_one_line(
    start: Callable[..., Control], tmp_path: Path
) -> None:
    rules = tmp_path / "rules.json"
    box = {"channels": [0], "minimum": [1e6], "maximum": [2e6]}
    rules.write_text(
        json.dumps({"schema_version": 1, "stop_rules": {"workspace": box}})
    )
    control = start(f"--stop_rules={rules}")
    status = control.wait_for(lambda status: int(str(status["violations"])) > 9)
    assert status["last_rule"] == "workspace"
    assert control.end() == 0
    assert control.said().count("episode ended by stop rule workspace; bring") == 1


def test_control_drives_until_sigterm_and_tells_how_each_episode_went(
    made: RobotHome, start: Callable[..., Control]
) -> None:
    control = start()
    control.wait_for(lambda status: status["episodes"] != 0)
    assert control.end() == 0, control.said()
    health = [one for one in control.updater.receive() if one.kind == "health"]
    assert health
    assert health[0].fields["package"] == made.active()
    assert health[0].fields["steps"] == robot_home.STEPS
    assert health[0].fields["missed_deadlines"] == 0


def test_ring_that_somebody_cuts_off_neither_ends_control_nor_blames_the_package(
    made: RobotHome, start: Callable[..., Control]
) -> None:
    control = start()
    control.wait_for(lambda status: status["episodes"] != 0)
    for size_bytes in (0, 5000):
        cut = made.home.ring.stat().st_ino
        os.truncate(made.home.ring, size_bytes)
        while made.home.ring.stat().st_ino == cut:
            control.wait_for(lambda _: True)
    control.first = None  # of what the new ring holds
    driven = control.wait_for(lambda _: control.first is not None)["episodes"]
    control.wait_for(lambda status: status["episodes"] != driven)
    assert control.end() == 0, control.said()
    assert "expected nobody else to write to the ring" in control.said()
    starts = start_count.read_starts(made.home.packages, made.active())
    assert (starts.in_a_row, starts.crashes, starts.running) == (0, 0, None)


def test_new_package_is_taken_between_two_episodes(
    made: RobotHome, start: Callable[..., Control]
) -> None:
    control = start()
    control.wait_for(lambda status: status.get("package") == made.active())
    second = made.install(1)
    control.wait_for(lambda status: status.get("package") == second)
    assert control.end() == 0
    assert f"package {second[:12]}" in control.said()


def test_delta_is_taken_and_a_damaged_one_leaves_the_package_alone(
    made: RobotHome, start: Callable[..., Control]
) -> None:
    digest = made.keep_delta(made.active())
    control = start()
    control.wait_for(lambda status: status.get("delta") == digest)
    (made.home.deltas / CURRENT).write_bytes(b"{")
    control.wait_for(lambda status: "delta" in status and status["delta"] is None)
    control.wait_for(is_doing("drives"))
    assert control.end() == 0
    assert "the robot drives without a delta" in control.said()


def test_delta_of_the_package_before_is_not_paired_with_the_new_one(
    made: RobotHome, start: Callable[..., Control]
) -> None:
    digest = made.keep_delta(made.active())
    control = start()
    control.wait_for(lambda status: status.get("delta") == digest)
    second = made.install(1)
    control.wait_for(
        lambda status: status.get("package") == second and status["delta"] is None
    )
    made.keep_delta(second)
    control.wait_for(
        lambda status: status.get("package") == second and status["delta"] is not None
    )


def test_fast_loop_runs_while_the_learner_allows_it_and_its_episodes_say_so(
    made: RobotHome, start: Callable[..., Control]
) -> None:
    made.install(1, fast=True)
    made.call_seed()
    with Mailbox(made.home.root, "learn") as learn:
        control = start("--fast_loop", "--fast_loop_calls=3")
        status = control.wait_for(lambda status: "fast" in status)
        assert status["fast"] == (
            "fast, 0 updates, 0 steps without time; off: nobody has allowed it yet"
        )
        until_s = time.monotonic() + process_tree.LONGEST_S
        used_s = 0.0
        while not used_s:
            # One that is not read yet may find the mailbox full; it is said again.
            learn.send("control", "fast_loop", {"may": True, "reason": "go"})
            said = [one.fields["fast_processor_s"] for one in learn.receive()]
            used_s = max([float(str(one)) for one in said], default=0.0)
            assert time.monotonic() < until_s, control.said()
            learn.wait(0.1)
        too_hot = {"may": False, "reason": "too hot"}
        process_tree.wait_until(lambda: learn.send("control", "fast_loop", too_hot))
        status = control.wait_for(lambda status: "too hot" in str(status["fast"]))
        assert not str(status["fast"]).startswith("fast, 0 updates")
    assert control.end() == 0, control.said()
    assert control.first is not None
    begin = step_ring.parse(control.first)
    assert isinstance(begin, step_ring.Begin)
    assert begin.provenance.tags == ("fast_loop",)


def test_package_from_a_channel_has_no_fast_loop(
    made: RobotHome, start: Callable[..., Control]
) -> None:
    made.install(1, fast=True)
    control = start("--fast_loop")
    status = control.wait_for(lambda status: status["episodes"] != 0)
    assert "fast" not in status
    assert control.end() == 0
    assert "no fast loop: the package came from a channel" in control.said()


def test_robot_without_a_package_waits_and_drives_when_there_is_one(
    tmp_path: Path, start: Callable[..., Control], made: RobotHome
) -> None:
    packages = made.home.packages
    packages.rename(tmp_path / "away")
    control = start()
    control.wait_for(is_doing(drives.NO_PACKAGE))
    (tmp_path / "away").rename(packages)
    control.wait_for(lambda status: status["episodes"] != 0)


def test_robot_holds_still_while_it_is_told_to(start: Callable[..., Control]) -> None:
    control = start()
    control.wait_for(is_doing("drives"))
    for mode in ("idle", "asleep"):
        control.tell("told", mode=mode)
        steps = [control.wait_for(is_doing(mode))["steps"] for _ in range(2)]
        assert steps[0] == steps[1]
        control.tell("told", mode="driving")
        control.wait_for(is_doing("drives"))
    control.tell("told", mode="flying")  # nobody knows it: nothing changes
    control.wait_for(is_doing("drives"))


def test_word_waits_for_the_end_of_an_episode(start: Callable[..., Control]) -> None:
    control = start("--pace=realtime")
    control.wait_for(is_doing("drives"))
    control.tell("told", mode="idle")
    status = control.wait_for(is_doing("idle"))
    assert (status["mode"], status["why"]) == ("idle", "told to stay still")
    assert control.end() == 0
    health = [one.fields for one in control.updater.receive()]
    assert health
    assert not any(one["stopped"] for one in health)
    assert {one["steps"] for one in health} == {robot_home.STEPS}


def test_service_without_a_supervisor_sleeps_at_night_and_tells_the_learner(
    made: RobotHome, start: Callable[..., Control]
) -> None:
    hour = int(mode_keeper.read_hour())
    night = f"{(hour - 2) % 24:02}:00-{(hour + 3) % 24:02}:00"
    with Mailbox(made.home.root, "learn") as learn:
        control = start(f"--night={night}")
        status = control.wait_for(is_doing("asleep"))
        assert status["why"] == f"night until {night[6:]}"
        assert status["steps"] == 0
        assert told(learn) == "asleep"
        control.tell("told", mode="driving")
        status = control.wait_for(is_doing("drives"))
        assert status["why"] == f"told to drive until {night[:5]}"
        assert told(learn) == "driving"


def told(learn: Mailbox) -> object:
    """The mode that the learner was told last."""
    until_s = time.monotonic() + process_tree.LONGEST_S
    while not (said := [one.fields["mode"] for one in learn.receive()]):
        assert time.monotonic() < until_s
        learn.wait(0.1)
    return said[-1]


def test_night_that_is_none_is_wrong_usage(made: RobotHome) -> None:
    done = command.run("edge.processes.control", *made.flags, "--night=late")
    assert done.code == 2
    assert "--night: expected local hours such as 22:00-06:00, got 'late'" in done.err


def test_supervised_robot_does_not_move_before_the_last_word_was_handed_on(
    start: Callable[..., Control], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(process.SUPERVISOR_PID, str(os.getpid()))
    control = start()
    assert control.wait_for(is_doing("waits for its supervisor"))["steps"] == 0
    control.tell("told", mode="idle", at_s=time.monotonic() - 60.0)
    assert control.wait_for(is_doing("idle"))["steps"] == 0
    control.tell("told", mode="driving", at_s=time.monotonic())
    control.wait_for(is_doing("drives"))


def test_stop_key_ends_the_episode_and_the_robot_stays_where_it_is(
    start: Callable[..., Control],
) -> None:
    control = start("--pace=realtime")
    control.wait_for(is_doing("drives"))
    control.tell("stop_key")
    status = control.wait_for(is_doing("idle"))
    assert control.end() == 0
    health = [one.fields for one in control.updater.receive()]
    stopped = health[-1]
    # A person's stop is no fault of the package, and no failure of it either.
    assert (stopped["stop_rules"], stopped["success"]) == (0, None)
    assert stopped["stopped"] is True
    assert status["violations"] == 0


def test_second_control_of_a_robot_is_refused(start: Callable[..., Control]) -> None:
    control = start()
    control.wait_for(is_doing("drives"))
    done = command.run("edge.processes.control", *control.made.flags)
    assert done.code == 1
    assert "no other control process of this robot" in done.err
    control.wait_for(is_doing("drives"))


def test_robot_that_does_not_exist_is_wrong_usage(made: RobotHome) -> None:
    flags = [*made.flags[:-1], "--robot=metaworld:fly-v3"]
    done = command.run("edge.processes.control", *flags)
    assert done.code == 2
    assert "--robot" in done.err
