"""A changed robot does exactly what its change says, and nothing else."""

import dataclasses

import numpy as np
import pytest

from edge.errors import ActionAfterEndError, ActionShapeError, RobotChangeError
from edge.robots.changed_robot import ChangedRobot, RobotChange, no_change
from edge.robots.clock import SimulatedClock
from edge.robots.simulated_point import SPEC, PointExpert, SimulatedPoint
from edge.testing.drive import drive

NONE = no_change(SPEC)


def point(**parts: int | tuple[float, ...]) -> ChangedRobot | None:
    change = dataclasses.replace(NONE, **parts)
    return ChangedRobot(SimulatedPoint(SimulatedClock(0)), change)


def states(
    robot: ChangedRobot | SimulatedPoint, actions: tuple[float, ...], seed: int = 1
) -> np.ndarray:
    seen = [robot.reset(seed).state]
    seen += [robot.act(np.array([a], np.float32)).observation.state for a in actions]
    return np.array(seen)


ACTIONS = (0.5, -1.0, 0.25, 1.0)


def test_no_change_leaves_every_number_as_it_is() -> None:
    plain = SimulatedPoint(SimulatedClock(0))
    np.testing.assert_array_equal(states(point(), ACTIONS), states(plain, ACTIONS))
    assert point().spec is SPEC


def test_sensors_are_scaled_first_and_then_biased_per_channel() -> None:
    robot = point(sensor_scale=(2.0, 1.0), sensor_bias=(0.25, -0.5))
    true = states(point(), ACTIONS)
    changed = states(robot, ACTIONS)
    expected = true * np.float32([2, 1]) + np.float32([0.25, -0.5])
    np.testing.assert_array_equal(changed, expected)
    np.testing.assert_array_equal(robot.unchanged_observation.state, true[-1])
    assert changed.dtype == np.float32


def test_actuator_does_gain_times_the_action_within_the_limits() -> None:
    moved = states(point(actuator_gain=(3.0,)), (0.25, -1.0))[:, 0]
    np.testing.assert_allclose(np.diff(moved), [0.075, -0.1], rtol=1e-6)


def test_late_actions_run_in_order_and_the_robot_stands_still_before() -> None:
    late = states(point(latency_steps=2), (*ACTIONS, 0.0, 0.0))
    np.testing.assert_array_equal(late[:3, 0], np.zeros(3))
    np.testing.assert_array_equal(late[2:], states(point(), ACTIONS))


def test_actions_on_the_way_are_lost_at_a_reset() -> None:
    robot = point(latency_steps=2)
    first = states(robot, ACTIONS)
    np.testing.assert_array_equal(states(robot, ACTIONS), first)


def test_success_and_end_are_those_of_the_robot_itself() -> None:
    robot = point(sensor_bias=(0.2, 0.0))
    seen = drive(robot, PointExpert(), seed=1, max_steps=60)
    # Believes itself 0.2 further than it is, so it stops as much before the goal.
    assert not seen.success
    place, goal = robot.unchanged_observation.state
    assert place == pytest.approx(goal - 0.2, abs=1e-6)
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
def test_change_that_does_not_fit_is_refused(
    parts: dict[str, int]
    | dict[str, tuple[float, ...]]
    | dict[str, tuple[object, ...]],
    message: str,
) -> None:
    with pytest.raises(RobotChangeError, match=message):
        point(**parts)


def test_action_of_another_shape_is_refused_before_it_is_kept() -> None:
    robot = point(latency_steps=1)
    robot.reset(1)
    with pytest.raises(ActionShapeError, match=r"\(1,\), got \(2,\)"):
        robot.act(np.zeros(2, np.float32))
    robot.act(np.ones(1, np.float32))
    seen = robot.act(np.zeros(1, np.float32)).observation.state[0]
    assert seen == pytest.approx(0.1)


def test_reading_what_an_operator_sees_before_a_reset_is_refused() -> None:
    with pytest.raises(RobotChangeError, match="call reset"):
        _ = point().unchanged_observation


def test_change_is_a_value() -> None:
    assert RobotChange((1.0, 1.0), (0.0, 0.0), (1.0,), 0) == NONE
    with pytest.raises(dataclasses.FrozenInstanceError):
        NONE.latency_steps = 1
