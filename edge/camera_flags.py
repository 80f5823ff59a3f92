"""The flag by which a user gives cameras to a robot whose driver has none."""

from absl import flags

from edge.robots import camera_drivers, seeing_robot
from edge.robots.camera_drivers import NamedCamera
from edge.robots.robot import RobotSpec

NAME = "camera"
CAMERAS = flags.DEFINE_multi_string(
    NAME,
    [],
    f"a camera beside the robot, {camera_drivers.HELP}; once for each camera",
)


def read() -> tuple[NamedCamera, ...]:
    """Returns the cameras that the flag names.

    Raises:
        CameraError: one has another form, or what it needs is not installed.
    """
    return tuple(map(camera_drivers.parse, CAMERAS.value or ()))


def add_to(spec: RobotSpec) -> RobotSpec:
    """A robot's properties with the cameras that the flag names; none is opened.

    Raises:
        CameraError: one has another form, or the name of another one.
    """
    named = (camera_drivers.read(text)[0] for text in CAMERAS.value or ())
    return seeing_robot.add_cameras(spec, tuple(named))


def hand_on() -> list[str]:
    """Returns the flag for another program, as often as it was given."""
    return [f"--{NAME}={text}" for text in CAMERAS.value or ()]
