"""Pictures that a simulator drew, which show nobody and so leave without masks.

Detectors of faces and of text fire on a drawn arm, and what is joined over time then
hides it: nothing could be learned from pictures of a simulated robot. Which simulators
draw, and which cameras, is written here and nowhere else. The robot's program decides
by the robot that it drives whether an episode is of one of them
(`edge/robots/drawn_cameras.py`); here is looked whether that can be true.

All pictures of an episode are drawn, or none is: one camera that exists beside a drawn
one, and every picture of the episode is masked.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from rlds import blank_picture, jpeg_segments
from rlds.episode import Episode, EpisodeMetadata
from rlds.errors import FieldNotCoveredError
from rlds.redaction_record import DrawnPictures, RedactionRecord
from rlds.spec import SIMULATED_TAG, EpisodeSpec, picture_field


@dataclass(frozen=True)
class Simulator:
    """A simulator of this repository that draws what its robot's cameras see.

    Attributes:
        robot_model: the robot, as its episodes name it.
        sizes: width and height of the pictures in pixels, by the camera's name.
    """

    robot_model: str
    sizes: Mapping[str, tuple[int, int]]


_FRONT: Final = MappingProxyType({"front": (64, 64)})
SIMULATORS: Final[Mapping[str, Simulator]] = MappingProxyType(
    {
        "so101-camera": Simulator("so101", _FRONT),
        "metaworld-camera": Simulator("sawyer", _FRONT),
    }
)
"""By what `environment_id` begins with; the version of the simulator follows."""
_VERSION: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){1,2}")


def find_simulator(spec: EpisodeSpec, metadata: EpisodeMetadata) -> str:
    """Returns the simulator that draws every camera of such an episode; "" for none.

    It says what can be: an episode that was recorded with a camera that exists and
    calls itself by the same names has the same fields.

    Args:
        spec: what the episode holds.
        metadata: what it says of itself, raw or redacted.
    """
    name, dash, version = metadata.environment_id.rpartition("-")
    simulator = SIMULATORS.get(name)
    if (
        simulator is None
        or not dash
        or not _VERSION.fullmatch(version)
        or SIMULATED_TAG not in metadata.tags
        or metadata.robot_model != simulator.robot_model
        or spec.image
        or not spec.cameras
        or not set(spec.cameras) <= set(simulator.sizes)
    ):
        return ""
    return name


def check_drawn(
    episode: Episode, record: RedactionRecord, drawn: DrawnPictures
) -> None:
    """Checks that pictures that are said to be drawn can be that.

    Args:
        episode: what is to leave.
        record: what the robot says it did.
        drawn: what of that it says of drawn pictures.

    Raises:
        FieldNotCoveredError: the episode is not of a simulated robot that draws all of
            its cameras, a picture has another size than those that are drawn, or
            the record says besides that pictures were masked.
    """
    name = find_simulator(episode.spec, episode.metadata)
    if not name or drawn.simulator != name or drawn.cameras != episode.spec.cameras:
        raise FieldNotCoveredError(
            ("drawn",),
            "pictures that are not masked to be all of a simulated robot that draws"
            f" them: {', '.join(SIMULATORS)}",
        )
    fields = [picture_field(camera) for camera in drawn.cameras]
    if (
        record.pictures is not None
        or record.detectors
        or record.frames_masked
        or not set(fields).isdisjoint(record.fields_covered)
    ):
        raise FieldNotCoveredError(
            ("drawn",), "pictures to be drawn or masked, and not both"
        )
    dropped = 0
    for camera, field in zip(drawn.cameras, fields, strict=True):
        images: Any = episode.steps[field]
        dropped += blank_picture.count(images)
        sizes = {_read_size(image) for image in images if not _is_blank(image)}
        if not sizes <= {SIMULATORS[name].sizes[camera]}:
            raise FieldNotCoveredError(
                ("drawn",), f"pictures of {camera} of the size in which {name} draws"
            )
    if drawn.frames_dropped != dropped:
        raise FieldNotCoveredError(
            ("frames_dropped",), f"{dropped} dropped, which is how many are black"
        )


def _is_blank(image: bytes) -> bool:
    return blank_picture.is_blank(image)


def _read_size(image: bytes) -> tuple[int, int] | None:
    frame = jpeg_segments.read_frame(image)
    return None if frame is None else (frame.width, frame.height)
