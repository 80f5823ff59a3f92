"""The flags by which a user gives eyes and ears to a robot whose driver has none."""

from absl import flags

from edge.robots import added_senses, camera_drivers, microphone_drivers
from edge.robots.added_senses import AddedSenses
from edge.robots.robot import RobotSpec

_CAMERA = "camera"
_MICROPHONE = "microphone"
CAMERAS = flags.DEFINE_multi_string(
    _CAMERA,
    [],
    f"a camera beside the robot, {camera_drivers.HELP}; once for each camera",
)
MICROPHONE = flags.DEFINE_string(
    _MICROPHONE,
    None,
    f"a microphone beside the robot, {microphone_drivers.HELP} (default: none)",
)


def read() -> AddedSenses:
    """Returns the senses that the flags name.

    Raises:
        CameraError, MicrophoneError: one has another form, or what it needs is not
            installed.
    """
    named = MICROPHONE.value
    return AddedSenses(
        tuple(map(camera_drivers.parse, CAMERAS.value or ())),
        microphone_drivers.parse(named) if named else None,
    )


def add_to(spec: RobotSpec) -> RobotSpec:
    """A robot's properties with the senses that the flags name; none is opened.

    Raises:
        CameraError, MicrophoneError: one has another form, or the robot has it already.
    """
    cameras = tuple(camera_drivers.read(text)[0] for text in CAMERAS.value or ())
    return added_senses.add_to_spec(spec, cameras, hears=bool(MICROPHONE.value))


def hand_on() -> list[str]:
    """Returns the flags for another program, as often as they were given."""
    named = [f"--{_MICROPHONE}={MICROPHONE.value}"] if MICROPHONE.value else []
    return [*(f"--{_CAMERA}={text}" for text in CAMERAS.value or ()), *named]
