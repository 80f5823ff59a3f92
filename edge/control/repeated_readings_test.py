"""Old readings between new ones are noticed; slow arms and coarse encoders are not."""

from collections.abc import Iterable

import numpy as np
import pytest

from edge.control.frozen_sensors import PART_S, FrozenSensors
from edge.control.repeated_readings import RepeatedReadings

HZ = 10.0
STRETCH = round(PART_S * HZ)
STEPS = 5 * STRETCH
TOLD = np.array([0.5], np.float32)
MOVING = np.cumsum(np.random.default_rng(3).uniform(0.1, 1.0, (STEPS, 6)), axis=0)


def count(states: Iterable[np.ndarray], action: np.ndarray = TOLD) -> list[str]:
    """What sensors are said to do, in the order in which it is noticed."""
    frozen = FrozenSensors(-np.ones_like(action), np.ones_like(action), HZ)
    return [
        frozen.tell()
        for state in states
        if frozen.notice(action, np.asarray(state, np.float32))
    ]


@pytest.mark.parametrize("times", [2, 3, 5, 8])
def test_driver_that_says_each_reading_several_times_is_noticed_once(
    times: int,
) -> None:
    (line,) = count(np.repeat(MOVING, times, axis=0)[:STEPS])
    # The first reading of an episode is always new.
    old = STRETCH - -(-STRETCH // times)
    assert line == f"sensors repeated their last reading in {old} of {STRETCH} steps"


def test_readings_that_are_old_at_random_are_noticed() -> None:
    fresh = np.random.default_rng(1).uniform(size=STEPS) < 0.6
    newest = np.maximum.accumulate(np.where(fresh, np.arange(STEPS), 0))
    assert len(count(MOVING[newest])) == 1


def test_reading_that_is_late_now_and_then_is_not_blamed() -> None:
    newest = np.arange(STEPS)
    newest[::10] -= 1
    assert count(MOVING[np.maximum(newest, 0)]) == []


@pytest.mark.parametrize("coarse", [3.0, 10.0])
def test_coarse_encoders_of_a_slow_arm_are_not_blamed(coarse: float) -> None:
    assert count(np.floor(MOVING / coarse)) == []


def test_arm_that_has_arrived_or_moves_in_bursts_is_not_blamed() -> None:
    rests = np.where(np.arange(STEPS) % 30 < 15, 1.0, 0.0)
    bursts = np.cumsum(MOVING * rests[:, None], axis=0)
    assert count(bursts) == []
    assert count(MOVING[np.minimum(np.arange(STEPS), STRETCH)]) == []


def test_robot_that_is_told_nothing_may_say_the_same() -> None:
    assert count(np.repeat(MOVING, 2, axis=0)[:STEPS], 0 * TOLD) == []


def test_single_number_shows_nothing_at_once() -> None:
    assert count(np.repeat(MOVING[:, :1], 2, axis=0)[:STEPS]) == []


def test_a_stretch_is_looked_at_by_itself() -> None:
    repeats = RepeatedReadings(STRETCH)
    new = [np.full(3, k % 2 == 0) for k in range(STRETCH)] + [np.ones(3, bool)] * STEPS
    noticed = [repeats.notice(TOLD, one) for one in new]
    assert noticed.index(True) == STRETCH - 1 and sum(noticed) == 1
    assert (repeats.repeated, repeats.steps) == (0, STRETCH)
