"""Turns a picture of an episode into a frame: pixels of the size that a model reads.

Training decodes what was recorded, and a robot what its cameras took, with the same
lines: a model sees no difference. The bytes come from outside, so the size in a
picture's header and the number of its scans are checked before any pixel is decoded.
"""

import io
from typing import Any

import numpy as np

from rlds.errors import PictureError
from rlds.jpeg_segments import MAX_PIXELS, MAX_SCANS

Frame = np.ndarray[Any, np.dtype[np.uint8]]

_SCAN = b"\xff\xda"  # nothing else than this marker in the bytes of pixels


def decode(jpeg: bytes, width: int, height: int, source: str) -> Frame:
    """Returns the frame u8 [h w 3], red, green and blue, of a picture.

    A picture of another size is scaled, each pixel the mean of those it covers.

    Args:
        jpeg: the picture.
        width: w.
        height: h.
        source: name of the picture, for errors.

    Raises:
        PictureError: it is not a JPEG, is cut short, or has more pixels or scans than
            `rlds.jpeg_segments` allows.
    """
    # What masks pictures brings it; a robot without a camera does not load it.
    from PIL import Image

    if jpeg.count(_SCAN) > MAX_SCANS:
        raise PictureError(
            source,
            f"an image of at most {MAX_SCANS} scans",
            jpeg.count(_SCAN),
            "encode it again before it is recorded",
        )
    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
            _check_size(image.size, source)
            # Decodes at an eighth, a quarter or half size if that is large enough.
            image.draft("RGB", (2 * width, 2 * height))
            scaled = image.convert("RGB").resize((width, height), Image.Resampling.BOX)
            return np.asarray(scaled, np.uint8)
    except PictureError:
        raise
    except Exception as e:  # Pillow raises a dozen types on damaged images.
        reason = " ".join(str(e).split())[:200] or type(e).__name__
        raise PictureError(
            source,
            "a JPEG image",
            f"{len(jpeg)} bytes that do not decode ({reason})",
            "record the episode again, or leave it out",
        ) from e


def _check_size(size: tuple[int, int], source: str) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise PictureError(
            source,
            f"an image of at most {MAX_PIXELS} pixels",
            f"{size[0]} x {size[1]}",
            "scale it before it is recorded",
        )
