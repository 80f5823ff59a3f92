"""Which cameras a robot draws itself, so that nobody can be in their pictures.

It is decided by the class of the robot that is open, and by nothing that is said: no
flag, no name, no tag and no spec. A robot with a camera beside it is a `SeeingRobot`, a
class of somebody else's is a `GuardedRobot`, and a class that is made from one of these
is another one: none of them draws all that it sees, whatever it calls itself.
"""

from typing import Final

from edge.robots.metaworld_camera import MetaworldCameraRobot
from edge.robots.robot import Robot
from edge.robots.so101_robot import So101Robot

_DRAWING: Final = (So101Robot, MetaworldCameraRobot)
"""All cameras of these are drawn; `rlds.drawn_pictures` knows them, too."""


def find_drawn(robot: Robot) -> frozenset[str]:
    """Names of the cameras of a robot, if it draws all of them; else none.

    Args:
        robot: the one that is driven, as it was opened.
    """
    if type(robot) not in _DRAWING:
        return frozenset()
    return frozenset(camera.name for camera in robot.spec.cameras)
