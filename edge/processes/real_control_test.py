"""The control process of an arm whose motors go on by themselves leaves it still."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.processes.mailbox import Mailbox
from edge.testing import fork, process_tree, processes, ring_steps, robot_home
from edge.testing.moving_arm import Command, read_port


class Arm:
    """A running control process and the port of its arm."""

    def __init__(self, folder: Path, *flags: str) -> None:
        made = robot_home.make(folder)
        self.home = made.home.root
        self.port = folder / "port"
        self.log = folder / "log"
        self.running = fork.start(
            "edge.testing.real_arm",
            "edge.processes.control",
            *made.flags[:-1],
            f"--robot=moving-arm:{self.port}",
            *flags,
            log=self.log,
        )

    def end(self) -> None:
        self.running.kill()
        self.running.wait()

    def commands(self) -> list[Command]:
        return read_port(self.port) if self.port.exists() else []

    def wait_until(self, moves: bool) -> None:
        """Waits until the last command moves the arm, or holds it."""
        process_tree.wait_until(
            lambda: (said := self.commands()) and said[-1].is_hold is not moves
        )


def test_episode_in_which_control_hung_is_recorded_with_its_reason(
    tmp_path: Path,
) -> None:
    made, port = robot_home.make(tmp_path), tmp_path / "port"
    record = fork.start("edge.processes.record", made.flags[0], "--robot_id=arm-1")
    try:
        hung = processes.run_forked(
            "edge.testing.real_arm",
            "edge.processes.control",
            *made.flags[:-1],
            f"--robot=hung-arm:{port}",
            "--actor=hanging-hand",
            "--episodes=1",
        )
        assert hung.returncode == -signal.SIGKILL
        assert "watchdog: the process that drives it hangs and is killed" in hung.stderr
        assert read_port(port)[-1].is_hold
        process_tree.wait_until(lambda: ring_steps.read_episodes(made.home.shared))
    finally:
        record.terminate()
        said, _ = record.communicate(timeout=process_tree.LONGEST_S)
    assert "9 of all 9 steps so far are recorded" in said
    (episode,) = ring_steps.read_episodes(made.home.shared).values()
    assert "stop_watchdog" in episode.metadata.tags
    assert episode.metadata.operator == "human"
    assert episode.steps["safety_violation"].tolist() == [False] * 8 + [True]
    assert not [*made.home.private.glob("*.journal")]


@pytest.fixture
def arm(tmp_path: Path) -> Iterator[Arm]:
    started = Arm(tmp_path)
    yield started
    started.end()


def check_still(arm: Arm) -> None:
    """Nobody moves the arm any more, and its last command was to stand still."""
    arm.wait_until(moves=False)
    before = arm.commands()
    time.sleep(0.3)
    after = arm.commands()
    assert after[-1].is_hold
    assert all(command.is_hold for command in after[len(before) :])


def test_arm_stands_still_after_its_control_process_was_killed(arm: Arm) -> None:
    arm.wait_until(moves=True)
    arm.running.kill()
    arm.running.wait()
    check_still(arm)
    last = arm.commands()[-1]
    assert last.process != arm.running.pid  # its watchdog held it


def test_arm_stands_still_after_sigterm_ended_control_with_0(arm: Arm) -> None:
    arm.wait_until(moves=True)
    arm.running.send_signal(signal.SIGTERM)
    assert arm.running.wait(process_tree.LONGEST_S) == 0
    check_still(arm)


@pytest.mark.parametrize(
    ("kind", "fields"), [("told", {"mode": "idle"}), ("stop_key", {})]
)
def test_arm_stands_still_while_control_is_told_to(
    arm: Arm, kind: str, fields: dict[str, object]
) -> None:
    arm.wait_until(moves=True)
    with Mailbox(arm.home, "robot") as robot:
        assert robot.send("control", kind, fields)
        check_still(arm)
        assert robot.send("control", "told", {"mode": "driving"})
        arm.wait_until(moves=True)


BOX = (
    '{"schema_version": 1, "stop_rules": {"workspace": '
    '{"channels": [0], "minimum": [5.0], "maximum": [6.0]}}}'
)


def test_arm_that_begins_outside_its_box_holds_still_after_three_episodes(
    tmp_path: Path,
) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(BOX)
    arm = Arm(tmp_path, f"--stop_rules={rules}")
    last: dict[str, object] = {}

    def said(text: str) -> int:
        return arm.log.read_text().count(text)

    def wait_for_hold(times: int) -> None:
        def holds() -> bool:
            for message in robot.receive():
                last.clear()
                last.update(message.fields)
            held = (
                "the robot holds still: 3 episodes in a row ended outside its workspace"
            )
            status = last.get("doing"), last.get("episodes")
            return said(held) == times and status == ("idle", 3 * times)

        process_tree.wait_until(holds, arm.log.read_text)

    try:
        with Mailbox(arm.home, "robot") as robot:
            for times in (1, 2):
                wait_for_hold(times)
                check_still(arm)
                assert last["violations"] == 3 * times
                assert last["last_rule"] == "workspace"
                assert last["acting"] == "stopped outside its workspace"
                assert "memory" in str(last["granted"])
                assert said("episode ended by stop rule workspace; bring") == 3 * times
                # Key d of its supervisor.
                assert robot.send("control", "told", {"mode": "driving"})
    finally:
        arm.end()
    assert "key d" in arm.log.read_text()
    assert all(command.is_hold for command in arm.commands())
