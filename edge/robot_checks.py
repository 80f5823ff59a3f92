"""What a robot must hold to be driven, checked on the robot itself.

Without moving: what it says of itself, what it senses while it stands, and that it can
be held. With leave to move, under limits that are a share of its own: a short episode
in which each component of the action goes to and fro alone.

A check that fails says what to do. A note is what a person should look at; a check that
could not be made says why.
"""

from collections.abc import Callable, Iterator
from typing import Final

from edge import moving_checks, standing_checks
from edge.check_result import Check, Result, catch
from edge.robots.robot import Observation, Robot

REAL_SHARE: Final = 0.1
"""Share of its action's range that an arm is moved by when nobody says another."""


def check_robot(robot: Robot, move_share: float | None) -> Iterator[Check]:
    """Checks an open robot, and yields each check when it is made.

    Args:
        robot: open; nobody else drives it.
        move_share: how far it may be moved, as a share of its action's range, above 0
            and at most 1; None for not at all.
    """
    yield from standing_checks.check_spec(robot)
    observe: Callable[[], Observation] | None = getattr(robot, "observe", None)
    yield from catch("senses", lambda: standing_checks.check_senses(robot, observe))
    yield from catch("hold", lambda: standing_checks.check_hold(robot))
    if move_share is None:
        yield Check(
            "moves",
            Result.NOT_CHECKED,
            "nothing was moved",
            "clear its way, and run again with --move",
        )
        return
    if robot.spec.simulated:
        yield from catch(
            "moves", lambda: moving_checks.check_simulated_moves(robot, move_share)
        )
    else:
        yield from catch(
            "moves", lambda: moving_checks.check_moves(robot, move_share, observe)
        )
