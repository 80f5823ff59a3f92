"""The flag by which a user gives cameras to a robot whose driver has none."""

from absl import flags

from edge.robots import camera_drivers
from edge.robots.camera_drivers import NamedCamera

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


def hand_on() -> list[str]:
    """Returns the flag for another program, as often as it was given."""
    return [f"--{NAME}={text}" for text in CAMERAS.value or ()]
