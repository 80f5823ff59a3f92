"""When a robot asks its channel, so that ten thousand robots do not ask at once.

Robots that get their power back together would ask together. Each waits for a time that
its name decides: first a share of the period, then the period and a jitter.

| Question | Wait before it |
|---|---|
| the first, where no package is active | none |
| the first | 0 to one period |
| every other | the period, less or more up to the jitter |
| where nothing can drive | none, then 30 s, twice as long each time up to a period |

The wait is measured by a clock that is never set, so neither a wrong time nor its
correction makes many robots ask, or one robot none.
"""

import hashlib
from typing import Final

_FIRST_PAUSE_S: Final = 30.0
"""A store that was away for a moment brings the package by then."""


def wait_s(
    robot_id: str, number: int, period_s: float, jitter_s: float, *, has_package: bool
) -> float:
    """Returns how long a robot waits before it asks its channel.

    Args:
        robot_id: name of the robot.
        number: of the check since the process began, from 0.
        period_s: mean interval between checks, in seconds.
        jitter_s: largest deviation from it, in seconds.
        has_package: whether a package is active.
    """
    share = _draw(robot_id, number)
    if number == 0:
        return share * period_s if has_package else 0.0
    return max(period_s + (2.0 * share - 1.0) * jitter_s, 0.0)


def wait_in_need_s(robot_id: str, number: int, period_s: float) -> float:
    """Returns how long a robot waits since it last asked, where nothing can drive it.

    Args:
        robot_id: name of the robot.
        number: of the check since nothing could, from 0.
        period_s: mean interval between checks otherwise, in seconds.
    """
    if number == 0:
        return 0.0
    pause_s = min(_FIRST_PAUSE_S * 2.0 ** min(number - 1, 20), period_s)
    return pause_s * (0.5 + 0.5 * _draw(robot_id, number))


def _draw(robot_id: str, number: int) -> float:
    """Returns a number from 0 to below 1 that robot and question decide."""
    raw = hashlib.sha256(f"poll\0{robot_id}\0{number}".encode()).digest()
    return int.from_bytes(raw[:8], "big") / 2.0**64
