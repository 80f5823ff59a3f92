"""Sensors that stand still are noticed once, and a robot that does so is not blamed."""

from collections.abc import Iterable

import numpy as np

from edge.control.frozen_sensors import FROZEN_S, MOVES, FrozenSensors

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
