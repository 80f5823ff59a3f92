"""Changes of a simulated Sawyer arm, each of which costs a trained model success.

An observation of Meta-World holds hand (3), gripper (1) and objects (14), the same
again as they were one step before, and the goal (3).
"""

import dataclasses
from collections.abc import Iterable, Mapping

from edge.robots import metaworld_robot as sawyer
from edge.robots.changed_robot import RobotChange

_HAND = (0, 1, 2, 18, 19, 20)

NO_CHANGE = RobotChange(
    sensor_scale=(1.0,) * sawyer.STATE_SIZE,
    sensor_bias=(0.0,) * sawyer.STATE_SIZE,
    actuator_gain=(1.0,) * sawyer.ACTION_SIZE,
    latency_steps=0,
)


def _channels(
    neutral: float, changed: Iterable[float], channels: tuple[int, ...] = _HAND
) -> tuple[float, ...]:
    values = dict(zip(channels, changed, strict=True))
    return tuple(values.get(i, neutral) for i in range(sawyer.STATE_SIZE))


CHANGES: Mapping[str, RobotChange] = {
    # The arm's own encoders read 3 cm off in each direction.
    "sensor bias": dataclasses.replace(
        NO_CHANGE, sensor_bias=_channels(0.0, (0.03, -0.03, 0.03) * 2)
    ),
    # Longer links than the arm believes; 6 cm at the far end of the table.
    "sensor scale": dataclasses.replace(
        NO_CHANGE, sensor_scale=_channels(1.0, (1.07,) * len(_HAND))
    ),
    # Another drive: each command moves the hand two and a half times as far.
    "actuator gain": dataclasses.replace(NO_CHANGE, actuator_gain=(2.5, 2.5, 2.5, 1.0)),
    # A radio link: 100 ms at 80 Hz.
    "latency": dataclasses.replace(NO_CHANGE, latency_steps=8),
    "all together": RobotChange(
        sensor_scale=_channels(1.0, (1.03,) * len(_HAND)),
        sensor_bias=_channels(0.0, (0.02, -0.02, 0.02) * 2),
        actuator_gain=(1.5, 1.5, 1.5, 1.0),
        latency_steps=2,
    ),
}
"""Name to change, from one part of the robot to all of them."""
