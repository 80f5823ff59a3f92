"""Steps of a robot that sees and hears, no two of which sense the same.

So whoever reads an episode finds out whether each step still has its own pictures and
its own sound, and all of them.
"""

import functools
import io
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from edge.control.control_step import ControlStep
from edge.robots import camera_drivers
from edge.robots.robot import Camera, RobotSpec, Vector
from edge.testing import ring_steps
from rlds.episode import Episode
from rlds.spec import age_field, picture_field

_GRID: Final = 8  # squares of a picture, along each side
_KINDS: Final = 150
_PROBE_BYTES: Final = 24  # no other bytes are the same by chance


def make_step(number: int, robot: RobotSpec) -> ControlStep:
    """A step with all that a robot senses; its state is its number."""
    pictures = {camera.name: draw(number, camera) for camera in robot.cameras}
    return ring_steps.step(number, sound=hear(number, robot), pictures=pictures)


def hear(number: int, robot: RobotSpec) -> Vector | None:
    """What is heard in a step [bands]; None if the robot is deaf."""
    microphone = robot.microphone
    if microphone is None:
        return None
    return np.linspace(-20.0, -1.0 - number / 1e3, microphone.bands, dtype=np.float32)


@functools.lru_cache(maxsize=2 * _KINDS)
def draw(number: int, camera: Camera) -> bytes:
    """The JPEG that a camera takes in a step; those of one episode differ."""
    random = np.random.default_rng([number % _KINDS, *camera.name.encode()])
    squares = random.integers(0, 256, (_GRID, _GRID, 3), np.uint8)
    size = camera.width, camera.height
    drawn = Image.fromarray(squares).resize(size, Image.Resampling.NEAREST)
    return camera_drivers.encode(np.asarray(drawn))


def check_senses(part: Episode, robot: RobotSpec) -> None:
    """Each step of a raw episode has the sound and the pictures that it was given."""
    numbers = ring_steps.numbers(part)
    for camera in robot.cameras:
        pictures = part.steps[picture_field(camera.name)]
        expected = [draw(number, camera) for number in numbers]
        assert list(pictures) == expected
        assert not part.steps[age_field(camera.name)].any()
        for one in set(expected):
            with Image.open(io.BytesIO(one)) as opened:
                assert np.asarray(opened).shape == (camera.height, camera.width, 3)
    if robot.microphone is not None:
        heard = [hear(number, robot) for number in numbers]
        np.testing.assert_array_equal(part.steps["observation/audio_mel"], heard)


def list_files_with_pictures(folder: Path, robot: RobotSpec) -> list[str]:
    """The files below a folder in which a picture of such steps can be read."""
    probes = set()
    for camera in robot.cameras:
        for number in range(_KINDS):
            middle = len(draw(number, camera)) * 3 // 4
            probes.add(draw(number, camera)[middle : middle + _PROBE_BYTES])
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and any(probe in path.read_bytes() for probe in probes)
    ]
