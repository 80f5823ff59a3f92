"""The child that looks at pictures: it decodes, detects, fills and encodes.

Pictures are bytes of a camera, and the networks and the JPEG library are code that is
not ours: what they do to this process, or how long they take, is the parent's to bound
(`masker.py`). It reads and writes nothing but its two pipes and the weights.

    python -m edge.redact.mask_worker
"""

import os
import sys
from collections.abc import Sequence
from typing import BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from edge import raw_memory
from edge.errors import DetectorError, RedactionError
from edge.redact import mask_messages
from edge.redact.boxes import Boxes
from edge.redact.mask_messages import MASK, Header

_LEAST_PRIORITY = 19

Pixels = npt.NDArray[np.uint8]


class FaceFinder(Protocol):
    """Finds faces in a picture."""

    def find(
        self, pixels: Pixels, looks: Sequence[tuple[int, float]]
    ) -> dict[int, Boxes]:
        """Returns the boxes of a picture [h w 3] in each turn, looked at so."""


class LineFinder(Protocol):
    """Finds lines of text in a picture."""

    def find(self, pixels: Pixels) -> Boxes:
        """Returns the boxes of a picture [h w 3]."""


Detectors = tuple[FaceFinder, LineFinder]


def main() -> None:
    """Answers one message after the other, until its input ends."""
    os.nice(_LEAST_PRIORITY)
    raw_memory.hide()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    try:
        detectors = _load()
    except (DetectorError, ImportError) as e:
        _say(sink, {"fault": str(e)})
        return
    _say(sink, {"ready": True})
    while (message := mask_messages.read(source)) is not None:
        header, image = message
        try:
            answer, changed = _answer(header, image, detectors)
        except RedactionError as e:
            answer, changed = {"fault": str(e)}, b""
        _say(sink, answer, changed)


def _load() -> Detectors:
    """Loads the detectors; what finds lines serves plates and pages.

    Raises:
        DetectorError: weights or the runtime are missing.
        ImportError: the JPEG library is.
    """
    from edge.redact.face_detector import FaceDetector
    from edge.redact.text_detector import TextDetector

    return FaceDetector(), TextDetector()


def _answer(header: Header, image: bytes, detectors: Detectors) -> tuple[Header, bytes]:
    """Answers one message.

    Raises:
        RedactionError: the picture cannot be decoded.
    """
    from edge.redact import picture

    pixels = picture.decode(image)
    if header["do"] == MASK:
        return {}, picture.mask(pixels, [tuple(area) for area in header["areas"]])
    faces, lines = detectors
    found = faces.find(pixels, header["looks"])
    return {
        "size": pixels.shape[1::-1],
        "faces": {turn: boxes.tolist() for turn, boxes in found.items()},
        "lines": lines.find(pixels).tolist() if header["lines"] else [],
    }, b""


def _say(sink: BinaryIO, header: Header, image: bytes = b"") -> None:
    sink.write(mask_messages.encode(header, image))
    sink.flush()


if __name__ == "__main__":
    main()
