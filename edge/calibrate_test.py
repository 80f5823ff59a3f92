"""LeRobot calibrates at a terminal, and what it wrote opens the arm."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.robots import registry
from edge.testing import at_terminal, feetech_bus, processes
from edge.testing.feetech_bus import FeetechBus

MIDDLES = [1000, 2500, 2048, 3000, 1800, 2200]


@pytest.fixture
def bus() -> Iterator[FeetechBus]:
    with feetech_bus.plug_in() as plugged:
        plugged.move(MIDDLES)
        yield plugged


def name_arm(bus: FeetechBus, folder: Path) -> str:
    return f"lerobot:so101_follower@{bus.port},id=new,calibration={folder}"


def test_new_arm_is_calibrated_and_then_opens(bus: FeetechBus, tmp_path: Path) -> None:
    arm = name_arm(bus, tmp_path)
    with at_terminal.start("edge.calibrate", f"--arm={arm}") as program:
        program.wait_for("middle of its range of motion and press ENTER")
        program.press(b"\n")
        program.wait_for("Recording positions")
        for way in (-500, 700):
            bus.move([middle + way for middle in MIDDLES])
            program.listen_for(0.5)
        program.press(b"\n")
        assert program.finish() == 0, program.said
        assert f"calibrated: {tmp_path}/new.json" in program.said
    file = json.loads((tmp_path / "new.json").read_text())
    assert file["shoulder_lift"] == {
        "id": 2,
        "drive_mode": 0,
        "homing_offset": MIDDLES[1] - 2047,
        "range_min": 2047 - 500,
        "range_max": 2047 + 700,
    }
    robot = registry.open_robot(arm)
    state = robot.reset(0).state
    np.testing.assert_allclose(state[:4], 600 * 360 / 4095, atol=0.2)
    assert state[5] == 100.0
    robot.close()


def test_file_that_is_there_is_written_into_the_servos_again(
    bus: FeetechBus, tmp_path: Path
) -> None:
    bus.calibrate(tmp_path, "new")
    bus.servos[2].put(9, 77)
    arm = name_arm(bus, tmp_path)
    with at_terminal.start("edge.calibrate", f"--arm={arm}") as program:
        # A terminal of no kind shows only the end of so long a line.
        program.wait_for("press ENTER to run calibration: ")
        program.press(b"\n")
        assert program.finish() == 0, program.said
    registry.open_robot(arm).close()


def test_servo_of_a_new_arm_gets_its_number(tmp_path: Path) -> None:
    with feetech_bus.plug_in(1) as single:
        arm = f"leader:so101_leader@{single.port},id=new,calibration={tmp_path}"
        command = ("edge.calibrate", f"--arm={arm}", "--number_servos")
        with at_terminal.start(*command) as program:
            program.wait_for("to the 'gripper' motor only and press enter")
            program.press(b"\n")
            program.wait_for("'gripper' motor id set to 6")
            assert single.servos[1].get(5, 1) == 6
            single.unplug()
            program.press(b"\n")
            assert program.finish() == 1
            assert "expected LeRobot to come to its end" in program.said


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        ("leader:so101_leader@/dev/no-such-port,calibration=HERE", "a serial port"),
        (
            "leader:so101_leader@/dev/no-such-port,calibration=/proc/no",
            "a folder for its calibration file",
        ),
        ("so101", "an arm is lerobot:TYPE@PORT or leader:TYPE@PORT"),
        ("leader:so101_follower@/dev/x", "TYPE is one of so100_leader"),
    ],
)
def test_arm_that_is_none_is_one_line(arm: str, said: str, tmp_path: Path) -> None:
    named = arm.replace("HERE", str(tmp_path))
    done = subprocess.run(
        processes.command("edge.calibrate", f"--arm={named}"),
        env=processes.environment(),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_terminal_that_is_none_is_one_line(bus: FeetechBus, tmp_path: Path) -> None:
    done = subprocess.run(
        processes.command("edge.calibrate", f"--arm={name_arm(bus, tmp_path)}"),
        env=processes.environment(),
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "EOF when reading a line" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "new.json").exists()
