"""A car at a serial port passes the checks, and stands when its program is killed."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from edge import robot_checks
from edge.check_result import Result
from edge.robots import registry
from edge.testing import servo_board
from edge.testing.servo_board import MIDDLE, ServoBoard, wait_for


@pytest.fixture
def board() -> Iterator[ServoBoard]:
    with servo_board.plug_in() as plugged:
        yield plugged


def test_car_passes_the_checks_of_a_robot_that_exists(board: ServoBoard) -> None:
    car = registry.open_robot(f"serial-car:{board.port}")
    checks = list(robot_checks.check_robot(car, 0.5))
    failed = [one for one in checks if one.result is Result.FAILED]
    assert not failed
    assert {one.name for one in checks} >= {"hold", "moves"}
    car.close()


DRIVES = """
import sys, time
import numpy as np
from edge.control.watchdog import Watchdog
from edge.robots import registry
car = registry.open_robot(sys.argv[1])
watchdog = Watchdog(car)
watchdog.arm()
while watchdog.take():
    car.act(np.ones(2, np.float32))
    watchdog.give()
    watchdog.feed()
    time.sleep(car.spec.period_ns / 1e9)
"""


def test_car_stands_still_when_the_program_that_drives_it_is_killed(
    board: ServoBoard,
) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", DRIVES, f"serial-car:{board.port}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    wait_for(lambda: board.targets.get(1) == MIDDLE + 500)
    time.sleep(0.5)  # it goes on, so the watchdog lets it
    assert board.targets[1] == MIDDLE + 500
    program.kill()
    program.wait()
    wait_for(lambda: set(board.targets.values()) == {MIDDLE})
