"""A robot that lives is told from elsewhere what its terminal's keys would say."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from base.testing import command
from edge.testing.living_robot import LivingRobot


@pytest.fixture
def robot(tmp_path: Path) -> Iterator[LivingRobot]:
    living = LivingRobot(tmp_path)
    yield living
    living.close()


def tell(robot: LivingRobot, mode: str) -> None:
    done = command.run(
        "edge.processes.tell", f"--home={robot.home.root}", f"--mode={mode}"
    )
    assert done.code == 0, done.err


def test_robot_told_to_sleep_learns_and_told_to_drive_drives(
    robot: LivingRobot,
) -> None:
    robot.drive()
    robot.show()
    robot.wait_until(
        lambda: not [*robot.home.new_memories.glob("*.tfrecord")],
        "what was shown is not taken in",
    )
    tell(robot, "asleep")
    robot.terminal.wait_for("asleep; told to sleep")
    robot.terminal.wait_for("learn: slow: delta ")
    for mode, shown in (
        ("driving", "drives; told to drive"),
        ("stopped", "idle; told to stay still"),
        ("driving", "drives; told to drive"),
        ("idle", "idle; told to stay still"),
    ):
        seen = robot.terminal.said.count(shown)
        tell(robot, mode)
        robot.terminal.wait_for(shown, seen + 1)
    tell(robot, "demonstrating")
    robot.terminal.wait_for("nobody may demonstrate here without --actor")
    robot.drive()
    assert "Traceback" not in robot.end()
