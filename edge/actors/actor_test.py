"""What an actor asks of a robot stays within the robot's range."""

import dataclasses

import numpy as np
import pytest

from edge.actors.actor import Ending, Signal, scale, still
from edge.robots.simulated_point import SPEC

UNEVEN = dataclasses.replace(
    SPEC, action_size=3, action_minimum=(-1.0, 0.5, -4.0), action_maximum=(3.0, 2.0, 0)
)


def test_robot_stays_still_as_far_as_its_limits_let() -> None:
    np.testing.assert_array_equal(still(UNEVEN), np.array([0, 0.5, 0], np.float32))


@pytest.mark.parametrize(
    ("axes", "action"),
    [
        ((0, 0, 0), (0, 0.5, 0)),
        ((1, 1, 1), (3, 2, 0)),
        ((-1, -1, -1), (-1, 0.5, -4)),
        ((0.5, 0.5, -0.5), (1.5, 1.25, -2)),
    ],
)
def test_axes_reach_from_rest_to_the_limit_of_each_side(
    axes: tuple[float, ...], action: tuple[float, ...]
) -> None:
    found = scale(UNEVEN, np.array(axes, np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, action)


def test_stop_key_and_lost_device_hold_the_robot_still_and_a_verdict_does_not() -> None:
    still_for = {one for one in Ending if Signal(ending=one).holds_still}
    assert still_for == {Ending.STOP, Ending.LOST}
    assert not Signal(takes_over=True).holds_still
