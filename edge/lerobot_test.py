"""An SO-101 and its leader, through the programs, on servos with their protocol."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edge import robot_checks
from edge.check_result import Result
from edge.robots import registry
from edge.robots.lerobot_robot import HOLD_LEAD
from edge.testing import at_terminal, feetech_bus, processes
from edge.testing.feetech_bus import MIDDLE, FeetechBus
from edge.testing.servo_board import wait_for
from rlds import reader
from rlds.episode import Episode

STEPS_PER_DEGREE = 4095 / 360
LIFTED = [2200, 1900, 2200, 2100, 2200, 1800]


@dataclass(frozen=True)
class Desk:
    """A follower and a leader."""

    following: FeetechBus
    leading: FeetechBus
    folder: Path

    @property
    def robot(self) -> str:
        port = self.following.port
        return f"lerobot:so101_follower@{port},id=f,calibration={self.folder}"

    @property
    def actor(self) -> str:
        port = self.leading.port
        return f"leader:so101_leader@{port},id=l,calibration={self.folder}"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with feetech_bus.plug_in() as following, feetech_bus.plug_in() as leading:
        following.calibrate(tmp_path, "f")
        leading.calibrate(tmp_path, "l")
        yield Desk(following, leading, tmp_path)


def test_arm_passes_the_checks_of_a_robot_that_exists(desk: Desk) -> None:
    # A machine that other tests keep busy takes 40 ms for what takes 1.
    arm = registry.open_robot(f"{desk.robot},hz=10")
    checks = list(robot_checks.check_robot(arm, 0.5))
    assert not [one for one in checks if one.result is Result.FAILED]
    assert {one.name for one in checks} >= {"hold", "hold by a watchdog", "response"}
    arm.close()


DRIVES = """
import sys, time
import numpy as np
from edge.control.watchdog import Watchdog
from edge.robots import registry
arm = registry.open_robot(sys.argv[1])
arm.reset(0)
watchdog = Watchdog(arm, kill_after_s=0.5)
watchdog.arm()
while watchdog.take():
    arm.act(np.array([1, 0, 0, 0, 0, 0], np.float32))
    watchdog.give()
    watchdog.feed()
    time.sleep(arm.spec.period_ns / 1e9)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_arm_that_pushes_is_held_when_its_program_is_killed_or_hangs(
    desk: Desk, how: signal.Signals
) -> None:
    pushing = desk.following.servos[1]
    pushing.is_blocked = True
    program = subprocess.Popen(
        [sys.executable, "-c", DRIVES, desk.robot],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    wait_for(lambda: pushing.goal > MIDDLE + 14 * STEPS_PER_DEGREE)
    program.send_signal(how)
    wait_for(lambda: pushing.goal < MIDDLE + (HOLD_LEAD + 0.2) * STEPS_PER_DEGREE)
    assert pushing.goal > MIDDLE + (HOLD_LEAD - 0.2) * STEPS_PER_DEGREE
    assert all(servo.is_on for servo in desk.following.servos.values()), "it stays up"
    program.wait()  # the watchdog ends one that hangs
    program.poll()


def record(desk: Desk, *more: str) -> "at_terminal.AtTerminal":
    return at_terminal.AtTerminal(
        processes.command(
            "edge.record",
            f'--robot="{desk.robot}"',
            f"--actor={desk.actor}",
            f"--output={desk.folder / 'out'}",
            f"--key_file={desk.folder / 'key.json'}",
            "--consent",
            *more,
        )
    )


def read_episode(desk: Desk) -> Episode:
    (path,) = (desk.folder / "out").glob("*.tfrecord")
    return reader.read_episode(path)


def test_person_records_with_a_leader_arm(desk: Desk) -> None:
    program = record(desk)
    program.wait_for("space: begin the next episode")
    program.press(b" ")
    for share in np.linspace(0, 1, 40):
        desk.leading.move([MIDDLE + share * (at - MIDDLE) for at in LIFTED])
        program.listen_for(0.05)
    program.listen_for(0.5)
    program.press(b"y")
    assert program.finish() == 0, program.said
    program.close()
    np.testing.assert_allclose(desk.following.goals, LIFTED, atol=4)
    assert not any(servo.is_on for servo in desk.following.servos.values())
    episode = read_episode(desk)
    assert (episode.metadata.operator, episode.metadata.success) == ("human", True)
    assert "simulated" not in episode.metadata.tags
    assert (episode.metadata.robot_model, episode.metadata.task) == (
        "so101",
        "demonstrate",
    )
    state, action = episode.steps["observation/state"], episode.steps["action"]
    np.testing.assert_allclose(state[-1, 0], 152 / STEPS_PER_DEGREE, atol=0.5)
    # What was commanded adds up to how the goals moved: 4 degrees in a step at 1.
    moved = np.cumsum(action[:-1], axis=0) * [4, 4, 4, 4, 4, 8]
    np.testing.assert_allclose(state[1:, 6:] - state[0, 6:], moved, atol=0.3)


@pytest.mark.parametrize("whose", ["following", "leading"])
def test_cable_out_in_mid_episode_is_one_line_and_the_episode_is_kept(
    desk: Desk, whose: str
) -> None:
    program = record(desk)
    program.wait_for("space: begin the next episode")
    program.press(b" ")
    program.listen_for(1.0)
    getattr(desk, whose).unplug()
    begin_s = time.monotonic()
    assert program.finish() == 1, program.said
    assert time.monotonic() - begin_s < 20
    program.close()
    assert "Traceback" not in program.said
    name = {"following": "lerobot:so101_follower", "leading": "leader:so101_leader"}
    last = program.said.strip().splitlines()[-1]
    assert name[whose] in last
    assert "cable" in last or "connect it" in last
    if whose == "leading":
        assert "the leader arm is gone" in program.said
        episode = read_episode(desk)
        assert episode.num_steps > 10
        assert episode.metadata.success is None
        # Its program ended in order, and switched it off.
        assert not any(servo.is_on for servo in desk.following.servos.values())
