"""The newest pictures of a robot's cameras as the frames that a package's step reads.

The step has one input for all cameras: their frames beside each other, in the order in
which an episode lists its cameras. A camera without a picture is silent: zeros. One
picture is decoded once, however many steps hold it; one of 320x240 takes a millisecond.
A picture that does not decode counts as none, and the one before it stays: a robot does
not stop for it, and the recorder says what was wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.robots.robot import Observation, Vector
from release.package import TensorSpec
from rlds import frames
from rlds.errors import PictureError

_UNNAMED = "image"
_NAMED = "image_"


@dataclass(frozen=True)
class Eye:
    """One camera that a package reads.

    Attributes:
        camera: its name; "" for the only one of a robot whose episodes name none.
        height: rows of its frame.
        width: columns of its frame.
    """

    camera: str
    height: int
    width: int


def list_eyes(observed: Mapping[str, TensorSpec]) -> tuple[Eye, ...]:
    """Returns the cameras that a package states it reads, in the step's order.

    Args:
        observed: its `robot.observation`.
    """
    found = []
    for name in sorted(observed):
        shape = observed[name].shape
        is_camera = name == _UNNAMED or name.startswith(_NAMED)
        if is_camera and len(shape) == 3:
            camera = "" if name == _UNNAMED else name.removeprefix(_NAMED)
            found.append(Eye(camera, shape[0], shape[1]))
    return tuple(found)


class Sight:
    """Decodes what the cameras of one robot see, step by step."""

    def __init__(self, eyes: Sequence[Eye]) -> None:
        """Begins without a picture.

        Args:
            eyes: the cameras that the package reads.
        """
        self._eyes = tuple(eyes)
        self._seen: list[bytes] = []
        self._frames: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
        self.reset()

    @property
    def size(self) -> int:
        """Numbers that the step gets: of all frames, three of each pixel."""
        return sum(3 * eye.height * eye.width for eye in self._eyes)

    def reset(self) -> None:
        """Forgets what was seen; an episode begins."""
        self._seen = [b""] * len(self._eyes)
        self._frames = [
            np.zeros((eye.height, eye.width, 3), np.uint8) for eye in self._eyes
        ]

    def look(self, observation: Observation) -> Vector:
        """Returns the frames of all cameras beside each other, flat, f32."""
        for number, eye in enumerate(self._eyes):
            picture = observation.pictures.get(eye.camera)
            if picture is None and not eye.camera and len(observation.pictures) == 1:
                (picture,) = observation.pictures.values()
            if picture is None or picture.jpeg == self._seen[number]:
                continue
            self._seen[number] = picture.jpeg
            try:
                self._frames[number] = frames.decode(
                    picture.jpeg, eye.width, eye.height, f"camera {eye.camera}"
                )
            except PictureError:
                continue
        return np.concatenate(self._frames, axis=1).astype(np.float32).ravel()
