"""The cameras and the microphone that somebody adds to a robot."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from edge.robots import microphone_drivers, seeing_robot
from edge.robots.camera_drivers import NamedCamera
from edge.robots.hearing_robot import HearingRobot
from edge.robots.microphone_drivers import NamedMicrophone
from edge.robots.robot import Camera, Robot, RobotSpec
from edge.robots.seeing_robot import SeeingRobot


@dataclass(frozen=True)
class AddedSenses:
    """What is added to a robot.

    Attributes:
        cameras: each with its own name.
        microphone: None for none.
    """

    cameras: tuple[NamedCamera, ...] = ()
    microphone: NamedMicrophone | None = None

    def add_to(self, robot: Robot, tell: Callable[[str], None]) -> Robot:
        """Returns an open robot with these senses, which must be driven by that alone.

        Args:
            robot: open.
            tell: gets a line about a sense that cannot be opened or read.

        Raises:
            CameraError, MicrophoneError: the robot has such a sense already.
        """
        if self.microphone is not None:
            robot = HearingRobot(robot, self.microphone, tell)
        if self.cameras:
            robot = SeeingRobot(robot, self.cameras, tell)
        return robot


NO_SENSES: Final = AddedSenses()


def add_to_spec(
    spec: RobotSpec, cameras: tuple[Camera, ...], *, hears: bool
) -> RobotSpec:
    """A robot's properties with senses that are added; none is opened.

    Raises:
        CameraError, MicrophoneError: it has such a sense already.
    """
    if hears:
        spec = replace(spec, microphone=microphone_drivers.add_to(spec))
    return seeing_robot.add_cameras(spec, cameras)
