"""Reads the segments of a JPEG image: is it whole, and does it hold pixels only?

A camera writes more than a picture: when, where and by which device it was taken
(Exif), a preview that no mask has touched (JFIF, Exif), comments, and whatever follows
the end. An image that leaves a robot holds none of these. No pixel is decoded here.
Source: ITU-T T.81, annex B; JFIF 1.02; Adobe's APP14 as libjpeg writes it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

MAX_PIXELS = 16_777_216
"""Largest image: 16 megapixels, 48 MB as bytes; a robot's camera has one or two."""
MAX_SCANS = 32
"""Most scans of an image. One of a few bytes makes a decoder go over all pixels once
more. A usual progressive image has ten."""
_START, _END, _SCAN, _COMMENT = 0xD8, 0xD9, 0xDA, 0xFE
_APPLICATIONS = range(0xE0, 0xF0)
_JFIF, _ADOBE = 0xE0, 0xEE
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended, progressive
# In a scan FF 00 is data and FF D0 to D7 restart it; any other FF XX ends it.
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
# A camera writes about ten segments, a progressive image some dozen scans.
_MAX_MARKERS = 4096
# Of all segments together: a camera's take 600, those of a progressive image 3,000.
_MAX_SEGMENTS_BYTES = 8192
_JFIF_SIZE, _ADOBE_SIZE = 14, 12  # bytes of content


@dataclass(frozen=True)
class Frame:
    """What a JPEG says of its pixels.

    Attributes:
        width: in pixels.
        height: in pixels.
        components: 1 in grey, 3 in colour, 4 with alpha or of four colours.
    """

    width: int
    height: int
    components: int


def read_frame(image: bytes) -> Frame | None:
    """Reads the size in a JPEG, whatever else is in it; None if it has none.

    It looks at no pixel, so it takes the same short time for pictures of any size.
    """
    if not image.startswith(bytes([0xFF, _START])):
        return None
    position = 2
    for _ in range(_MAX_MARKERS):
        front = image[position : position + 4]
        if len(front) < 4 or front[0] != 0xFF:
            return None
        marker, size = front[1], int.from_bytes(front[2:])
        if marker == 0xFF:  # fill bytes
            position += 1
            continue
        if marker in _FRAMES:
            content = image[position + 4 : position + 10]
            if size < 8 or len(content) < 6:
                return None
            height, width = int.from_bytes(content[1:3]), int.from_bytes(content[3:5])
            return Frame(width, height, content[5]) if width and height else None
        if marker in (_SCAN, _END) or size < 2:
            return None
        position += 2 + size
    return None


def find_fault(image: bytes) -> str | None:
    """Returns what a redacted image would have had instead; None if nothing is wrong.

    The time is linear in the size of the image.
    """
    if not image.startswith(bytes([0xFF, _START])):
        return "a JPEG image"
    position, frame, scans, told_bytes = 2, False, 0, 0
    for _ in range(_MAX_MARKERS):
        if position + 1 >= len(image) or image[position] != 0xFF:
            return "a whole JPEG image"
        marker = image[position + 1]
        if marker == 0xFF:  # fill bytes
            position += 1
            continue
        if marker == _END:
            if not (frame and scans):
                return "a JPEG image with pixels"
            return None if position + 2 == len(image) else "nothing after the image"
        size = int.from_bytes(image[position + 2 : position + 4])
        content = image[position + 4 : position + 2 + size]
        if size < 2 or len(content) != size - 2:
            return "a whole JPEG image"
        told = marker == _COMMENT or marker in _APPLICATIONS
        if told and not _is_harmless(marker, content):
            return "a JPEG image without metadata (Exif, comments, previews)"
        told_bytes += size
        if not told and not _is_needed(marker, content):
            return "a JPEG image of no segments but those that its pixels need"
        if told_bytes > _MAX_SEGMENTS_BYTES:
            return f"a JPEG image with at most {_MAX_SEGMENTS_BYTES} bytes of segments"
        if marker in _FRAMES:
            pixels = int.from_bytes(content[1:3]) * int.from_bytes(content[3:5])
            if frame or not 0 < pixels <= MAX_PIXELS:
                return f"a JPEG image of 1 to {MAX_PIXELS} pixels"
            frame = True
        position += 2 + size
        if marker == _SCAN:
            scans += 1
            if scans > MAX_SCANS:
                return f"a JPEG image of at most {MAX_SCANS} scans"
            found = _AFTER_SCAN.search(image, position)
            if found is None:
                return "a whole JPEG image"
            position = found.start()
    return f"a JPEG image of at most {_MAX_MARKERS} segments and fill bytes"


def _is_harmless(marker: int, content: bytes) -> bool:
    """Whether a segment says only how to read the pixels: no preview, no text."""
    if marker == _JFIF:
        return (
            len(content) == _JFIF_SIZE
            and content.startswith(b"JFIF\0")
            and content.endswith(b"\0\0")  # a preview of 0 by 0 pixels
        )
    return marker == _ADOBE and len(content) == _ADOBE_SIZE and content[:5] == b"Adobe"


def _is_needed(marker: int, content: bytes) -> bool:
    """Whether a segment is one that a decoder needs, and no longer than it says."""
    match marker:
        case 0xDB:  # DQT
            return _measure_tables(content, _measure_quanta)
        case 0xC4:  # DHT
            return _measure_tables(content, _measure_huffman)
        case 0xDD:  # DRI
            return len(content) == 2
        case 0xDA:  # SOS
            return len(content) == 4 + 2 * content[0] if content else False
        case _:
            wanted = 6 + 3 * content[5] if len(content) > 5 else -1
            return marker in _FRAMES and len(content) == wanted


def _measure_tables(content: bytes, measure: Callable[[bytes], int]) -> bool:
    """Whether a segment is one table after the other, at least one and whole."""
    found = 0
    while content:
        size = measure(content)
        if size > len(content):
            return False
        content = content[size:]
        found += 1
    return found > 0


def _measure_quanta(content: bytes) -> int:
    return 1 + 64 * (2 if content[0] >> 4 else 1)


def _measure_huffman(content: bytes) -> int:
    return 17 + sum(content[1:17])
