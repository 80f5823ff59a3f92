"""A changed robot differs from the robot in exactly what its change states."""

import dataclasses
from typing import TypedDict, Unpack

import numpy as np
import pytest

from edge.errors import ActionAfterEndError, ActionShapeError, RobotChangeError
from edge.robots import changed_robot
from edge.robots import metaworld_robot as sawyer
from edge.robots.changed_robot import (
    CHANGES,
    ChangedRobot,
    Gaps,
    MotorSensors,
    RobotChange,
    no_change,
    parse_change,
    strengthen,
)
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
    play: tuple[float, ...]
    motor_sensors: MotorSensors
    gaps: Gaps


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


def test_reversal_moves_nothing_until_the_play_is_taken_up() -> None:
    robot = open_point(play=(0.5,))
    moved = np.diff(
        read_states(robot, (0.25, 0.5, -0.25, -0.25, -0.25, 0.5, 0.5))[:, 0]
    )
    # It begins in the middle of its play, so half of that is lost at first.
    np.testing.assert_allclose(
        moved, [0.0, 0.05, 0.0, 0.0, -0.025, 0.0, 0.05], atol=1e-7
    )
    again = np.diff(read_states(robot, (0.25,))[:, 0])
    np.testing.assert_array_equal(again, [0.0])  # an episode begins anew


def test_play_of_one_component_leaves_the_others_alone() -> None:
    np.testing.assert_array_equal(
        read_states(open_point(play=(0.0,)), ACTIONS),
        read_states(open_point(), ACTIONS),
    )


def test_sensor_that_is_not_heard_keeps_its_last_value() -> None:
    gaps = Gaps(channels=(0,), share=0.5, mean_steps=4.0)
    actions = (0.01,) * 400
    true = read_states(open_point(), actions)
    heard = read_states(open_point(gaps=gaps), actions)
    np.testing.assert_array_equal(heard[:, 1], true[:, 1])
    assert heard[0, 0] == true[0, 0], "the first reading is heard"
    stale = heard[:, 0] != true[:, 0]
    np.testing.assert_array_equal(heard[1:, 0][stale[1:]], heard[:-1, 0][stale[1:]])
    assert 0.35 < stale.mean() < 0.65, "half of the time"
    gaps_begun = np.count_nonzero(stale[1:] & ~stale[:-1])
    assert 2.5 < stale.sum() / gaps_begun < 6.0, "four steps in the mean"
    np.testing.assert_array_equal(
        read_states(open_point(gaps=gaps), actions), heard, "decided by the seed"
    )
    other = read_states(open_point(gaps=gaps), actions, seed=2)[:, 0]
    assert (other != heard[:, 0]).any()


def test_sensor_is_biased_before_it_is_kept() -> None:
    gaps = Gaps(channels=(0,), share=0.9, mean_steps=50.0)
    robot = open_point(sensor_bias=(0.25, 0.0), gaps=gaps)
    seen = read_states(robot, (0.1,) * 20)[:, 0]
    assert seen[0] == 0.25
    assert len(set(seen.tolist())) < 21
    assert robot.unchanged_observation.state[0] == pytest.approx(0.2)


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_of_the_table_fits_the_robot_that_it_is_for(name: str) -> None:
    change = CHANGES[name]
    sizes = (len(change.sensor_scale), len(change.actuator_gain))
    assert sizes == (sawyer.STATE_SIZE, sawyer.ACTION_SIZE)
    assert len(change.play) in (0, sawyer.ACTION_SIZE)
    assert change != RobotChange((1.0,) * 39, (0.0,) * 39, (1.0,) * 4, 0)


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
        ({"play": (-0.1,)}, "at least 0"),
        ({"play": (float("inf"),)}, "finite"),
        ({"play": (0.1, 0.1)}, "play of 1 components"),
        ({"gaps": Gaps((2,), 0.5, 4.0)}, r"the 2 channels.*\(2,\)"),
    ],
)
def test_change_that_does_not_fit_is_refused(parts: Parts, message: str) -> None:
    with pytest.raises(RobotChangeError, match=message):
        open_point(**parts)


@pytest.mark.parametrize("numbers", [(1.0, 4.0), (-0.1, 4.0), (0.5, 0.9)])
def test_gaps_out_of_range_are_refused(numbers: tuple[float, float]) -> None:
    with pytest.raises(RobotChangeError, match="a share from 0 to below 1"):
        Gaps((0,), *numbers)
    with pytest.raises(RobotChangeError, match="channels"):
        Gaps((), 0.5, 4.0)


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


def test_sensors_on_the_motors_read_as_if_there_were_no_play() -> None:
    forth_and_back = (0.5, 0.5, 0.5, -0.5, -0.5, -0.5)
    plain = open_point()
    moved = np.diff(read_states(plain, (0.5,))[:, 0])[0] / 0.5
    sensors = MotorSensors((0,), (), per_action=float(moved))
    true = read_states(plain, forth_and_back)[:, 0]
    behind = read_states(open_point(play=(0.6,)), forth_and_back)[:, 0]
    seen = read_states(open_point(play=(0.6,), motor_sensors=sensors), forth_and_back)
    assert np.abs(true - behind).max() > 0.2 * moved
    np.testing.assert_allclose(seen[:, 0], true, atol=1e-6)


@pytest.mark.parametrize("name", CHANGES)
def test_change_of_strength_one_is_the_change_and_of_zero_none(name: str) -> None:
    assert parse_change(f"{name}:1") == parse_change(name) == CHANGES[name]
    nothing = parse_change(f"{name.replace(' ', '-')}:0")
    gaps = nothing.gaps
    assert gaps is None or gaps.share == 0
    rest = dataclasses.replace(nothing, gaps=None, play=(), motor_sensors=None)
    assert rest == changed_robot.NO_CHANGE
    assert not any(nothing.play)


def test_strength_multiplies_what_adds_and_is_the_power_of_what_multiplies() -> None:
    change = dataclasses.replace(
        NO_CHANGE,
        sensor_scale=(2.0, 1.0),
        sensor_bias=(0.25, -0.5),
        actuator_gain=(4.0,),
        latency_steps=3,
        play=(0.5,),
        gaps=Gaps((0,), share=0.5, mean_steps=4.0),
        things_moved_m=(0.1, -0.2, 0.0),
    )
    twice = strengthen(change, 2.0)
    assert twice.things_moved_m == (0.2, -0.4, 0.0)
    assert (twice.sensor_scale, twice.sensor_bias) == ((4.0, 1.0), (0.5, -1.0))
    assert (twice.actuator_gain, twice.latency_steps, twice.play) == (
        (16.0,),
        6,
        (1.0,),
    )
    assert twice.gaps == Gaps((0,), share=2 / 3, mean_steps=4.0)
    sensors = dataclasses.replace(
        NO_CHANGE, sensor_scale=(2.0, 1.0), sensor_bias=(1.0, 0)
    )
    back = strengthen(sensors, -1.0)
    assert (back.sensor_scale, back.sensor_bias) == ((0.5, 1.0), (-1.0, 0))


@pytest.mark.parametrize("name", ["latency", "backlash", "sensor-gaps"])
def test_change_that_cannot_be_turned_round_is_refused(name: str) -> None:
    with pytest.raises(RobotChangeError):
        parse_change(f"{name}:-1")
