"""A car at a serial port does what it is told, stands when it should, and says why."""

from collections.abc import Iterator

import numpy as np
import pytest

from edge.errors import RobotPortError, RobotUnavailableError, UnknownRobotError
from edge.robots import registry, serial_car
from edge.robots.serial_car import Wiring
from edge.testing import servo_board
from edge.testing.servo_board import MIDDLE, ServoBoard, wait_for


@pytest.fixture
def board() -> Iterator[ServoBoard]:
    with servo_board.plug_in() as plugged:
        yield plugged


@pytest.mark.parametrize(
    ("behind", "steering", "motor", "speed"),
    [("", 0, 1, 0.25), (",steering=5,motor=2,speed=1", 5, 2, 1.0)],
)
def test_action_is_a_pulse_at_each_output_and_the_state_is_what_is_put_out(
    board: ServoBoard, behind: str, steering: int, motor: int, speed: float
) -> None:
    car = registry.open_robot(f"serial-car:{board.port}{behind}")
    assert board.targets == {steering: MIDDLE, motor: MIDDLE}, "before anybody drives"
    assert not car.spec.simulated
    first = car.reset(0)
    np.testing.assert_array_equal(first.state, [0, 0])
    for action in ([1.0, -1.0], [-0.5, 0.5], [0.0, 0.0]):
        seen = car.act(np.array(action, np.float32)).observation
        assert seen.t_monotonic_ns > first.t_monotonic_ns
        np.testing.assert_allclose(seen.state, action, atol=1e-3)
        wanted = {
            steering: MIDDLE + 2000 * action[0],
            motor: MIDDLE + round(2000 * speed * action[1]),
        }
        assert board.targets == wanted
    car.act(np.ones(2, np.float32))
    car.close()
    wait_for(lambda: set(board.targets.values()) == {MIDDLE})


def test_car_can_be_opened_once_at_a_time(board: ServoBoard) -> None:
    car = registry.open_robot(f"serial-car:{board.port}")
    with pytest.raises(RobotUnavailableError, match="its port to be free"):
        registry.open_robot(f"serial-car:{board.port}")
    car.close()
    registry.open_robot(f"serial-car:{board.port}").close()


def test_board_that_does_not_answer_is_one_line(board: ServoBoard) -> None:
    car = registry.open_robot(f"serial-car:{board.port}")
    board.is_deaf = True
    with pytest.raises(RobotPortError, match=r"none within 200 ms; look at its cable"):
        car.act(np.zeros(2, np.float32))
    car.close()
    with pytest.raises(RobotUnavailableError, match="a board that speaks"):
        registry.open_robot(f"serial-car:{board.port}")


def test_cable_that_falls_out_is_one_line_and_closing_is_no_trouble(
    board: ServoBoard,
) -> None:
    car = registry.open_robot(f"serial-car:{board.port}")
    board.unplug()
    with pytest.raises(RobotPortError, match=r"look at its cable and its power"):
        car.act(np.zeros(2, np.float32))
    car.close()


@pytest.mark.parametrize("port", ["/dev/no-such-port", "/dev/null"])
def test_port_that_is_none_is_one_line(port: str) -> None:
    with pytest.raises(RobotUnavailableError, match="a serial port"):
        registry.open_robot(f"serial-car:{port}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ttyACM0",
        "/dev/x,steering",
        "/dev/x,steering=24",
        "/dev/x,steering=0.5",
        "/dev/x,motor=0",
        "/dev/x,speed=0",
        "/dev/x,speed=1.5",
        "/dev/x,speed=nan",
        "/dev/x,steering=2,steering=3",
        "/dev/x,brake=1",
    ],
)
def test_wiring_that_is_not_understood_says_what_to_write(text: str) -> None:
    with pytest.raises(UnknownRobotError, match=r"serial-car:/dev/ttyACM0,steering=0"):
        serial_car.parse_wiring(text)


def test_wiring_says_the_outputs_and_the_speed() -> None:
    assert serial_car.parse_wiring("/dev/x") == Wiring("/dev/x", 0, 1, 0.25)
    assert serial_car.parse_wiring("/dev/x,motor=3") == Wiring("/dev/x", 0, 3, 0.25)
