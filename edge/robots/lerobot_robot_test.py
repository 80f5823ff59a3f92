"""LeRobot's own classes drive servos that speak their protocol, and say what fails."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.errors import (
    ActionShapeError,
    RobotPortError,
    RobotUnavailableError,
    UnknownRobotError,
)
from edge.robots import lerobot_classes, lerobot_robot, registry
from edge.robots.robot import Robot
from edge.testing import dynamixel_bus, feetech_bus
from edge.testing.feetech_bus import LEKIWI_JOINTS, MIDDLE, FeetechBus

STEPS_PER_DEGREE = 4095 / 360
STILL = np.zeros(6, np.float32)


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[FeetechBus]:
    with feetech_bus.plug_in() as plugged:
        plugged.calibrate(tmp_path, "blue")
        yield plugged


def name_arm(bus: FeetechBus, folder: Path, more: str = "") -> str:
    return f"lerobot:so101_follower@{bus.port},id=blue,calibration={folder}{more}"


@pytest.fixture
def arm(bus: FeetechBus, tmp_path: Path) -> Iterator[Robot]:
    robot = registry.open_robot(name_arm(bus, tmp_path))
    try:
        yield robot
    finally:
        robot.close()


def hear(robot: Robot) -> None:
    """An answer comes after all that was told before it."""
    robot.observe()  # type: ignore[attr-defined]


def settle(bus: FeetechBus, robot: Robot) -> np.ndarray:
    """Positions when the servos are where they were told to go."""
    time.sleep(0.2)
    return robot.act(STILL[: robot.spec.action_size]).observation.state[:6]


def test_arm_stands_where_it_is_when_it_is_opened(
    bus: FeetechBus, tmp_path: Path
) -> None:
    lying = [1200, 2900, 2200, 1500, 700, 2000]
    bus.move(lying)  # and each servo holds an old goal, the middle
    robot = registry.open_robot(name_arm(bus, tmp_path))
    assert all(servo.is_on for servo in bus.servos.values())
    time.sleep(0.2)
    first = robot.reset(0)
    np.testing.assert_allclose(bus.goals, lying, atol=1)
    np.testing.assert_allclose(first.state[:6], first.state[6:], atol=0.1)
    assert not robot.spec.simulated
    robot.close()
    assert not any(servo.is_on for servo in bus.servos.values())


def test_action_is_a_speed_and_the_state_says_where_and_whereto(
    bus: FeetechBus, arm: Robot
) -> None:
    before = arm.reset(0).state
    action = np.array([1, -1, 0.5, 0, 0, 1], np.float32)
    for _ in range(6):
        seen = arm.act(action).observation
        time.sleep(1 / arm.spec.control_hz)
    # 120 degrees/s at 30 Hz are 4 degrees in each step; the jaw goes twice that.
    wanted = np.array([24, -24, 12, 0, 0, 48], np.float32)
    np.testing.assert_allclose(seen.state[6:] - before[6:], wanted, atol=0.2)
    np.testing.assert_allclose(settle(bus, arm) - before[:6], wanted, atol=0.3)
    assert bus.servos[1].goal == pytest.approx(MIDDLE + 24 * STEPS_PER_DEGREE, abs=2)


def test_speed_rate_and_task_are_options(bus: FeetechBus, tmp_path: Path) -> None:
    options = ",speed=30,hz=10,task=pick-place"
    robot = registry.open_robot(name_arm(bus, tmp_path, options))
    assert (robot.spec.control_hz, robot.spec.task) == (10.0, "pick-place")
    before = robot.reset(0).state
    seen = robot.act(np.ones(6, np.float32)).observation.state
    np.testing.assert_allclose((seen - before)[6:11], 3.0, atol=0.1)
    robot.close()


def test_no_joint_is_told_to_leave_its_calibrated_range(
    bus: FeetechBus, arm: Robot
) -> None:
    arm.reset(0)
    for _ in range(40):
        arm.act(np.ones(6, np.float32))
        time.sleep(0.01)
    assert bus.servos[1].goal == pytest.approx(MIDDLE + 1000, abs=1)
    assert bus.servos[6].goal == pytest.approx(MIDDLE + 1000, abs=1)


def test_goal_of_a_blocked_joint_stays_near_so_that_it_does_not_leap(
    bus: FeetechBus, arm: Robot
) -> None:
    arm.reset(0)
    bus.servos[2].is_blocked = True
    for _ in range(10):
        arm.act(np.array([0, 1, 0, 0, 0, 0], np.float32))
    ahead = bus.servos[2].goal - MIDDLE
    assert ahead == pytest.approx(lerobot_robot.LEAD * STEPS_PER_DEGREE, abs=2)


def test_held_arm_that_pushes_stops_and_one_that_carries_stays_up(
    bus: FeetechBus, arm: Robot
) -> None:
    arm.reset(0)
    for servo in bus.servos.values():
        servo.is_blocked = True
    arm.act(np.array([0, 0.5, 0, 0, 0, -1], np.float32))
    carried, jaw = bus.servos[2].goal, bus.servos[6].goal
    for _ in range(3):
        arm.act(np.array([1, 0, 0, 0, 0, 0], np.float32))
    for _ in range(2):
        arm.hold()
        hear(arm)
        pushed = (bus.servos[1].goal - MIDDLE) / STEPS_PER_DEGREE
        assert pushed == pytest.approx(lerobot_robot.HOLD_LEAD, abs=0.2)
        assert (bus.servos[2].goal, bus.servos[6].goal) == (carried, jaw)


def test_answer_that_is_lost_is_asked_for_again(bus: FeetechBus, arm: Robot) -> None:
    arm.reset(0)
    bus.servos[4].lose_answers(1)
    arm.act(STILL)


def test_servo_that_falls_silent_is_one_line_at_once(
    bus: FeetechBus, arm: Robot
) -> None:
    arm.reset(0)
    bus.servos[4].is_deaf = True
    begin_s = time.monotonic()
    with pytest.raises(
        RobotPortError, match=r"servo 4 \(wrist_flex\), got.*its cable"
    ) as caught:
        arm.act(STILL)
    assert time.monotonic() - begin_s < 1.0  # 0.16 on a machine with nothing else
    assert "\n" not in str(caught.value)


def test_cable_that_falls_out_is_one_line_and_closing_is_no_trouble(
    bus: FeetechBus, arm: Robot
) -> None:
    arm.reset(0)
    bus.unplug()
    with pytest.raises(RobotPortError, match=r"look at its cable and its power"):
        arm.act(STILL)
    arm.close()
    arm.close()


def test_action_of_another_size_is_refused(arm: Robot) -> None:
    arm.reset(0)
    with pytest.raises(ActionShapeError, match="expected 6 numbers"):
        arm.act(np.zeros(4, np.float32))


def test_arm_can_be_opened_once_at_a_time(
    bus: FeetechBus, arm: Robot, tmp_path: Path
) -> None:
    del arm
    with pytest.raises(RobotUnavailableError, match="its port to be free"):
        registry.open_robot(name_arm(bus, tmp_path))


@pytest.mark.parametrize("port", ["/dev/no-such-port", "/dev/null"])
def test_port_that_is_none_is_one_line(
    bus: FeetechBus, tmp_path: Path, port: str
) -> None:
    name = name_arm(bus, tmp_path).replace(bus.port, port)
    with pytest.raises(RobotUnavailableError, match="a serial port"):
        registry.open_robot(name)


def refuse(bus: FeetechBus, folder: Path) -> str:
    """What is said of an arm that does not open, in one line; its port is free then."""
    with pytest.raises(RobotUnavailableError) as caught:
        registry.open_robot(name_arm(bus, folder))
    assert "\n" not in str(caught.value)
    with pytest.raises(RobotUnavailableError) as again:
        registry.open_robot(name_arm(bus, folder))
    assert str(again.value) == str(caught.value)
    return str(caught.value)


def test_servo_that_is_not_there_is_named(bus: FeetechBus, tmp_path: Path) -> None:
    bus.servos[3].is_deaf = True
    text = refuse(bus, tmp_path)
    assert "Missing motor IDs: - 3 (expected model: 777)" in text
    assert "//edge:calibrate --number_servos" in text


def test_servo_of_another_model_is_named(bus: FeetechBus, tmp_path: Path) -> None:
    bus.servos[3].put(3, 1284)
    assert "3 (elbow_flex): expected 777, found 1284" in refuse(bus, tmp_path)


def test_arm_without_a_calibration_file_says_how_to_calibrate(
    bus: FeetechBus, tmp_path: Path
) -> None:
    (tmp_path / "blue.json").unlink()
    text = refuse(bus, tmp_path)
    assert f"{tmp_path}/blue.json, got it is not there" in text
    assert f"//edge:calibrate -- --arm={name_arm(bus, tmp_path)}" in text


def test_calibration_of_another_arm_says_so(bus: FeetechBus, tmp_path: Path) -> None:
    file = tmp_path / "blue.json"
    other = json.loads(file.read_text())
    other["elbow_flex"]["range_max"] = 2500
    file.write_text(json.dumps(other))
    before = bus.goals
    assert "other numbers in them; is it this arm?" in refuse(bus, tmp_path)
    assert bus.goals == before
    assert not any(servo.is_on for servo in bus.servos.values())


@pytest.mark.parametrize("text", ["", "{", '{"elbow_flex": {"id": 1}}', "[]", "\0"])
def test_file_that_is_no_calibration_is_one_line(
    bus: FeetechBus, tmp_path: Path, text: str
) -> None:
    (tmp_path / "blue.json").write_text(text)
    assert "calibrate it: ./bazelw run" in refuse(bus, tmp_path)


def test_base_of_a_lekiwi_moves_and_stands_when_it_is_held(tmp_path: Path) -> None:
    with feetech_bus.plug_in(len(LEKIWI_JOINTS)) as bus:
        bus.calibrate(tmp_path, "lekiwi", LEKIWI_JOINTS)
        robot = registry.open_robot(f"lerobot:lekiwi@{bus.port},calibration={tmp_path}")
        assert (robot.spec.state_size, robot.spec.action_size) == (15, 9)
        robot.reset(0)
        action = np.zeros(9, np.float32)
        action[[0, 6]] = 1.0
        moved = robot.act(action).observation.state
        wheels = [bus.servos[number].speed for number in (7, 8, 9)]
        assert wheels[0] == -wheels[2] != 0
        assert wheels[1] == 0
        np.testing.assert_allclose(moved[12:], [0.2, 0, 0], atol=0.01)
        robot.hold()
        hear(robot)
        assert [bus.servos[number].speed for number in (7, 8, 9)] == [0, 0, 0]
        robot.close()


def test_koch_of_another_protocol_moves_in_shares_of_its_range(tmp_path: Path) -> None:
    with dynamixel_bus.plug_in(dynamixel_bus.FOLLOWER) as bus:
        bus.calibrate(tmp_path, "koch_follower")
        bus.move([1500, 2548, 2048, 1800, 2048, 1548])
        name = f"lerobot:koch_follower@{bus.port},calibration={tmp_path}"
        robot = registry.open_robot(name)
        assert robot.spec.robot_model == "koch"
        assert all(servo.is_on for servo in bus.servos.values())
        first = robot.reset(0).state
        wanted = [100 * (1500 - 2047.5) / 2047.5, 50, 0, -24.8, 0, 25]
        np.testing.assert_allclose(first[:6], wanted, atol=0.2)
        for _ in range(3):
            seen = robot.act(np.array([0, -1, 0, 0, 0, 1], np.float32)).observation
            time.sleep(1 / 30)
        moved = seen.state[6:] - first[6:]
        np.testing.assert_allclose(moved, [0, -12, 0, 0, 0, 24], atol=0.2)
        assert bus.servos[2].goal == pytest.approx(2548 - 120, abs=2)
        robot.hold()
        bus.servos[3].is_deaf = True
        with pytest.raises(
            RobotPortError, match=r"an answer of servo 3 \(elbow_flex\)"
        ):
            robot.act(STILL)
        robot.close()


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "TYPE is one of so100_follower, so101_follower, koch_follower, lekiwi"),
        ("so101", "TYPE is one of"),
        ("so101_leader@/dev/x", "TYPE is one of"),
        ("so101_follower", "a port is a path behind @"),
        ("so101_follower@ttyACM0", "a port is a path behind @"),
        ("so101_follower@/dev/x,fast", "any of id=, calibration=, speed=, hz=, task="),
        ("so101_follower@/dev/x,id=", "'id=' is not understood"),
        ("so101_follower@/dev/x,id=a,id=b", "'id=b' is not understood"),
        ("so101_follower@/dev/x,id=../a", "no path"),
        ("so101_follower@/dev/x,speed=0", "no number from 1 to 360"),
        ("so101_follower@/dev/x,speed=nan", "no number from 1 to 360"),
        ("so101_follower@/dev/x,hz=fast", "no number from 1 to 60"),
    ],
)
def test_name_that_is_not_understood_says_what_to_write(text: str, remedy: str) -> None:
    with pytest.raises(UnknownRobotError, match=remedy):
        registry.open_robot(f"lerobot:{text}")


def test_without_lerobot_the_line_says_how_to_get_it(
    bus: FeetechBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lerobot_classes, "_PACKAGE", "lerobot_of_nobody")
    text = refuse(bus, tmp_path)
    assert "start with `./bazelw run --config=lerobot`" in text
    assert lerobot_classes.LOCK in text
