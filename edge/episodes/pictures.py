"""Looks at each picture before it becomes part of an episode; the step is kept anyway.

A camera may send a picture of another size, a grey one, one with alpha, half of one, or
one that is far too large. None of these is what a model was trained with, and some are
a trap for whoever decodes them. In the place of such a picture an episode has a black
one without an age, as for a camera that has not taken any. Whoever runs the robot is
told once in each episode, by camera and fault.

Nothing is decoded here: it takes some microseconds in each step. What only a decoder
sees is found when the pictures are masked, and when ingest decodes them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from edge.robots.robot import Camera
from rlds import blank_picture, jpeg_segments
from rlds.spec import NO_PICTURE_AGE, age_field, picture_field

_COLOURS: Final = 3
_COMPONENTS: Final = {1: "a grey one", 4: "one with alpha, or of four colours"}


def find_fault(jpeg: bytes, camera: Camera) -> tuple[str, str] | None:
    """What a picture should be and is instead; None if nothing is wrong with it."""
    if len(jpeg) > camera.largest_bytes:
        return f"at most {camera.largest_bytes} bytes", f"{len(jpeg)}"
    frame = jpeg_segments.read_frame(jpeg)
    if frame is None or not jpeg.endswith(b"\xff\xd9"):
        return "a whole JPEG", f"{len(jpeg)} bytes that are none"
    if (frame.width, frame.height) != (camera.width, camera.height):
        size = f"{frame.width} x {frame.height}"
        return f"{camera.width} x {camera.height} pixels", size
    if frame.components != _COLOURS:
        kind = _COMPONENTS.get(frame.components, f"{frame.components} components")
        return "a picture in colour", kind
    if jpeg.count(b"\xff\xda") > jpeg_segments.MAX_SCANS:
        return f"at most {jpeg_segments.MAX_SCANS} scans", "more"
    return None


class PictureCheck:
    """Looks at the pictures of one episode, step by step."""

    def __init__(
        self, cameras: Sequence[Camera], name: str, tell: Callable[[str], None]
    ) -> None:
        """Begins an episode.

        Args:
            cameras: those of the robot.
            name: of the episode, for what is told.
            tell: gets a line about the first picture of each kind that is dropped.
        """
        self._cameras = tuple(cameras)
        self._name = name
        self._tell = tell
        self._told: set[tuple[str, str]] = set()
        # A camera that is slower than control sends the same picture again.
        self._last: dict[str, tuple[bytes, bool]] = {}

    def settle(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the fields of a step, with black pictures for those that are faulty.

        Args:
            fields: one value per step field; a picture that is not there is empty.
        """
        if not self._cameras:
            return fields
        settled = dict(fields)
        for camera in self._cameras:
            name = picture_field(camera.name)
            if not self._is_good(settled[name], camera):
                settled[name] = blank_picture.make(camera.width, camera.height)
                settled[age_field(camera.name)] = NO_PICTURE_AGE
        return settled

    def _is_good(self, jpeg: bytes, camera: Camera) -> bool:
        if not jpeg:
            return False
        last, good = self._last.get(camera.name, (b"", False))
        if jpeg == last:
            return good
        fault = find_fault(jpeg, camera)
        self._last[camera.name] = jpeg, fault is None
        if fault is not None:
            self._tell_fault(camera, *fault)
        return fault is None

    def _tell_fault(self, camera: Camera, expected: str, got: str) -> None:
        if (camera.name, expected) not in self._told:
            self._told.add((camera.name, expected))
            self._tell(
                f"episode {self._name}, {picture_field(camera.name)}: expected"
                f" {expected}, got {got}; such pictures are dropped, and the steps kept"
            )
