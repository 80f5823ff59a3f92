"""One JPEG picture of an episode: its pixels, and a new JPEG without what is masked.

A picture is always decoded to pixels and encoded from pixels, also where nothing is
masked: no thumbnail, no Exif and no byte of the old file gets into the new one.
"""

import io
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge.errors import RedactionError
from edge.redact.boxes import Area
from rlds import jpeg_segments

Pixels = npt.NDArray[np.uint8]

QUALITY: Final = 90
_BLOCK: Final = 8
_SCAN: Final = b"\xff\xda"
_FIELD: Final = "observation/image"


def decode(image: bytes) -> Pixels:
    """Returns the pixels [h w 3] of a JPEG, as a model will see them.

    A turn that Exif asks for is not made: nothing that reads episodes makes it.

    Raises:
        RedactionError: it is no whole JPEG, or has too many pixels or scans.
    """
    if image.count(_SCAN) > jpeg_segments.MAX_SCANS:
        raise _refuse(f"at most {jpeg_segments.MAX_SCANS} scans", "more")
    try:
        with Image.open(io.BytesIO(image), formats=("JPEG",)) as opened:
            if opened.width * opened.height > jpeg_segments.MAX_PIXELS:
                raise _refuse(
                    f"at most {jpeg_segments.MAX_PIXELS} pixels",
                    f"{opened.width} x {opened.height}",
                )
            return np.asarray(opened.convert("RGB"), np.uint8)
    except RedactionError:
        raise
    except Exception as e:  # Pillow raises a dozen types on damaged images
        raise _refuse("a whole JPEG picture", type(e).__name__) from e


def mask(pixels: Pixels, areas: Sequence[Area]) -> bytes:
    """Returns a new JPEG of the pixels, black in the areas.

    An area is enlarged to whole blocks of 8x8: what was in the rest of a block has left
    traces in the whole of it, when the camera encoded it.
    """
    height, width = pixels.shape[:2]
    filled = pixels.copy() if areas else pixels
    for left, top, right, bottom in areas:
        filled[
            max(0, top) // _BLOCK * _BLOCK : min(height, _round_up(bottom)),
            max(0, left) // _BLOCK * _BLOCK : min(width, _round_up(right)),
        ] = 0
    buffer = io.BytesIO()
    Image.fromarray(filled).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def resize(pixels: Pixels, factor: float) -> Pixels:
    """Scales a picture; each pixel of a smaller one is the mean of those it covers."""
    height, width = pixels.shape[:2]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    if size == (width, height):
        return pixels
    resampling = Image.Resampling.BOX if factor < 1 else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(pixels).resize(size, resampling), np.uint8)


def _round_up(position: int) -> int:
    return -(-position // _BLOCK) * _BLOCK


def _refuse(expected: str, got: str) -> RedactionError:
    return RedactionError(_FIELD, expected, got, "the picture is dropped")
