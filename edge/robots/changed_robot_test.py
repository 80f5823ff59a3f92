"""A changed robot differs from the robot in exactly what its change states."""

import dataclasses
from typing import TypedDict, Unpack

import numpy as np
import pytest

from edge.errors import ActionAfterEndError, ActionShapeError, RobotChangeError
from edge.robots.changed_robot import ChangedRobot, RobotChange, no_change
from edge.robots.clock import SimulatedClock
from edge.robots.robot import Robot
from edge.robots.simulated_point import SPEC, PointExpert, SimulatedPoint
from edge.testing.simulated_episodes import drive

NO_CHANGE = no_change(SPEC)


class Parts(TypedDict, total=False):
    sensor_scale: tuple[float, ...]
    sensor_bias: tuple[float, ...]
    actuator_gain: tuple[float, ...]
    latency_steps: int


def open_point(**parts: Unpack[Parts]) -> ChangedRobot:
    change = dataclasses.replace(NO_CHANGE, **parts)
    return ChangedRobot(SimulatedPoint(SimulatedClock(0)), change)


def read_states(robot: Robot, actions: tuple[float, ...], seed: int = 1) -> np.ndarray:
    seen = [robot.reset(seed).state]
    seen += [robot.act(np.array([a], np.float32)).observation.state for a in actions]
    return np.array(seen)


ACTIONS = (0.5, -1.0, 0.25, 1.0)


def test_robot_without_a_change_gives_the_same_observations() -> None:
    plain = SimulatedPoint(SimulatedClock(0))
    np.testing.assert_array_equal(
        read_states(open_point(), ACTIONS), read_states(plain, ACTIONS)
    )
    assert open_point().spec is SPEC


def test_sensors_are_scaled_and_then_biased_per_channel() -> None:
    robot = open_point(sensor_scale=(2.0, 1.0), sensor_bias=(0.25, -0.5))
    true = read_states(open_point(), ACTIONS)
    changed = read_states(robot, ACTIONS)
    scale, bias = np.array([[2.0, 1.0], [0.25, -0.5]], np.float32)
    expected = true * scale + bias
    np.testing.assert_array_equal(changed, expected)
    np.testing.assert_array_equal(robot.unchanged_observation.state, true[-1])
    assert changed.dtype == np.float32


def test_action_is_multiplied_by_the_gain_and_clipped_to_the_limits() -> None:
    moved = read_states(open_point(actuator_gain=(3.0,)), (0.25, -1.0))[:, 0]
    np.testing.assert_allclose(np.diff(moved), [0.075, -0.1], rtol=1e-6)


def test_delayed_actions_run_in_order_after_a_standstill() -> None:
    late = read_states(open_point(latency_steps=2), (*ACTIONS, 0.0, 0.0))
    np.testing.assert_array_equal(late[:3, 0], np.zeros(3))
    np.testing.assert_array_equal(late[2:], read_states(open_point(), ACTIONS))


def test_reset_drops_actions_that_have_not_arrived() -> None:
    robot = open_point(latency_steps=2)
    first = read_states(robot, ACTIONS)
    np.testing.assert_array_equal(read_states(robot, ACTIONS), first)


def test_success_and_end_are_those_of_the_wrapped_robot() -> None:
    robot = open_point(sensor_bias=(0.2, 0.0))
    seen = drive(robot, PointExpert(), seed=1, max_steps=60)
    # Its sensor reads 0.2 too far, so it stops 0.2 before the goal.
    assert not seen.success
    position, goal = robot.unchanged_observation.state
    assert position == pytest.approx(goal - 0.2, abs=1e-6)
    robot.close()
    with pytest.raises(ActionAfterEndError):
        robot.act(np.zeros(1, np.float32))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"sensor_scale": (1.0,)}, r"expected \(2, 2, 1\).*got \(1, 2, 1\)"),
        ({"sensor_bias": (0.0,) * 3}, r"got \(2, 3, 1\)"),
        ({"actuator_gain": ()}, r"got \(2, 2, 0\)"),
        ({"sensor_bias": (0.0, float("nan"))}, "finite"),
        ({"latency_steps": -1}, "at least 0"),
    ],
)
def test_change_that_does_not_fit_is_refused(parts: Parts, message: str) -> None:
    with pytest.raises(RobotChangeError, match=message):
        open_point(**parts)


def test_action_of_the_wrong_shape_is_refused_and_not_executed_later() -> None:
    robot = open_point(latency_steps=1)
    robot.reset(1)
    with pytest.raises(ActionShapeError, match=r"\(1,\), got \(2,\)"):
        robot.act(np.zeros(2, np.float32))
    robot.act(np.ones(1, np.float32))
    seen = robot.act(np.zeros(1, np.float32)).observation.state[0]
    assert seen == pytest.approx(0.1)


def test_unchanged_observation_before_a_reset_is_refused() -> None:
    with pytest.raises(RobotChangeError, match="call reset"):
        _ = open_point().unchanged_observation


def test_equal_changes_compare_equal_and_cannot_be_altered() -> None:
    assert RobotChange((1.0, 1.0), (0.0, 0.0), (1.0,), 0) == NO_CHANGE
    with pytest.raises(dataclasses.FrozenInstanceError):
        NO_CHANGE.latency_steps = 1  # type: ignore[misc]  # the test is about this
