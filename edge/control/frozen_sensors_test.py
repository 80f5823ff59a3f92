"""Sensors that stand still are noticed once, and a robot that does so is not blamed."""

from collections.abc import Iterable

import numpy as np

from edge.control.frozen_sensors import FROZEN_S, MOVES, PART_S, FrozenSensors

HZ = 10.0
ENOUGH = round(FROZEN_S * HZ)
STILL = np.array([0.5, np.nan], np.float32)


def count(actions: Iterable[float], states: Iterable[np.ndarray]) -> list[int]:
    """The steps at which something was noticed, counted from 0."""
    minimum, maximum = np.array([-1.0], np.float32), np.array([1.0], np.float32)
    frozen = FrozenSensors(minimum, maximum, HZ)
    return [
        number
        for number, (action, state) in enumerate(zip(actions, states, strict=False))
        if frozen.notice(np.array([action], np.float32), state)
    ]


def test_robot_whose_limits_are_those_of_its_numbers_is_watched_too() -> None:
    most = np.full(1, np.finfo(np.float32).max)
    frozen = FrozenSensors(-most, most, HZ)
    noticed = [frozen.notice((-1) ** k * most, STILL) for k in range(ENOUGH + 1)]
    assert noticed == [False] * ENOUGH + [True]


def wave(steps: int, size: float = 0.1) -> list[float]:
    return [size * (-1) ** k for k in range(steps)]


def test_state_that_stands_still_under_other_commands_is_noticed_once() -> None:
    assert count(wave(200), [STILL] * 200) == [ENOUGH]


def test_state_is_compared_though_its_driver_writes_into_the_same_array() -> None:
    state = STILL.copy()

    def write() -> Iterable[np.ndarray]:
        for number in range(200):
            state[0] = number
            yield state

    assert count(wave(200), write()) == []


def test_sensor_that_says_each_state_several_times_is_not_frozen() -> None:
    states = [np.array([k // (ENOUGH - 1)], np.float32) for k in range(200)]
    assert count(wave(200), states) == []


def test_robot_that_stands_where_it_was_told_to_is_not_blind() -> None:
    assert count([0.0] * 200, [STILL] * 200) == []
    assert count([0.7] * 200, [STILL] * 200) == []
    assert count(wave(200, 0.9 * MOVES), [STILL] * 200) == []


def test_steps_without_a_command_do_not_count() -> None:
    actions = [one for two in zip(wave(200), [0.0] * 200, strict=True) for one in two]
    assert count(actions, [STILL] * 400) == [2 * ENOUGH]


def test_state_that_changes_again_begins_a_new_count() -> None:
    states = [STILL] * (ENOUGH - 1) + [STILL + 1] * (ENOUGH - 1) + [STILL] * 200
    assert count(wave(400), states) == [3 * ENOUGH - 2]


def read(*columns: Iterable[float]) -> list[np.ndarray]:
    return [np.array(row, np.float32) for row in zip(*columns, strict=True)]


MANY = 200
ENOUGH_OF_PART = round(PART_S * HZ)
GOES_ON = np.linspace(0.0, 1.0, MANY)


def stop_at(step: int) -> np.ndarray:
    return np.clip(GOES_ON, 0.0, GOES_ON[step])


def test_sensor_that_stops_while_another_goes_on_is_noticed_once_and_named() -> None:
    minimum, maximum = np.array([-1.0], np.float32), np.array([1.0], np.float32)
    frozen = FrozenSensors(minimum, maximum, HZ)
    states = read(GOES_ON, stop_at(50), np.zeros(MANY))
    noticed = [frozen.notice(minimum, state) for state in states]
    assert sum(noticed) == 1
    assert 0 <= noticed.index(True) - (50 + ENOUGH_OF_PART) <= ENOUGH_OF_PART // 2
    assert frozen.which == (1,)
    assert "sensor 1 stood still" in frozen.tell() and "unlike others" in frozen.tell()


def test_sensor_of_which_nothing_new_was_ever_heard_is_not_blamed_alone() -> None:
    assert count(wave(MANY), read(GOES_ON, np.zeros(MANY))) == []
    assert count(wave(MANY), read(GOES_ON, np.full(MANY, np.nan))) == []


def test_object_that_was_pushed_for_a_while_and_lies_is_not_blamed() -> None:
    pushed = np.clip(GOES_ON, GOES_ON[20], GOES_ON[50])
    assert count(wave(MANY), read(GOES_ON, pushed)) == []


def test_joint_that_rests_for_a_while_and_moves_again_is_not_blamed() -> None:
    rests = np.where(np.arange(MANY) % 60 < 60 - ENOUGH_OF_PART + 1, GOES_ON, 0.0)
    assert count(wave(MANY), read(GOES_ON, rests)) == []


def test_robot_of_which_all_sensors_stop_after_one_did_is_noticed_again() -> None:
    both = [(50, 50 + ENOUGH_OF_PART), (150, 150 + ENOUGH)]
    states = read(stop_at(150), stop_at(50))
    first, second = count(wave(MANY), states)
    assert both[0][1] <= first < 150 < both[1][1] <= second + 1
