"""Decodes the JPEG images of episodes into frames of the size a model reads.

This is the training side: a robot's camera driver hands over pixels, and no JPEG is
decoded between two control steps. The bytes come from outside, so the size in an
image's header and the number of its scans are checked before any pixel is decoded.
"""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from model import errors
from model.config import WaveCoreConfig
from model.senses import COLOURS
from rlds.jpeg_segments import MAX_PIXELS, MAX_SCANS

_SCAN = b"\xff\xda"  # nothing else than this marker in the bytes of pixels


def decode(images: Sequence[bytes], config: WaveCoreConfig, source: str) -> np.ndarray:
    """Frames u8 [t h w 3] of the encoded images of one episode.

    An image of another size is scaled, each pixel the mean of those it covers. Empty
    bytes mean that no image was taken; they give a frame of zeros, which the model
    reads as no frame.

    Args:
        images: one JPEG per step, as `rlds.episode` holds them.
        config: gives h and w.
        source: name of the episode, for errors.

    Raises:
        ConfigError: the model has no camera.
        FrameError: an image is not a JPEG, is cut short, or has more pixels or scans
            than `rlds.jpeg_segments` allows; names the episode and the step.
    """
    h, w = config.image_height, config.image_width
    if not h:
        raise errors.ConfigError(
            source,
            "a model with a camera",
            "image_height 0",
            "configure image_height and image_width",
        )
    frames = np.zeros((len(images), h, w, COLOURS), np.uint8)
    for t, content in enumerate(images):
        if content:
            frames[t] = _decode_one(content, (w, h), f"{source}, step {t}")
    return frames


def check(images: Sequence[bytes], source: str) -> None:
    """Decodes each image of an episode and keeps none.

    Raises:
        FrameError: as `decode`.
    """
    for t, content in enumerate(images):
        _decode_one(content, (1, 1), f"{source}, step {t}")


def _decode_one(content: bytes, size: tuple[int, int], source: str) -> np.ndarray:
    if content.count(_SCAN) > MAX_SCANS:
        raise errors.FrameError(
            source,
            f"an image of at most {MAX_SCANS} scans",
            content.count(_SCAN),
            "encode it again before it is recorded",
        )
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            _check_size(image.size, source)
            # Decodes at an eighth, a quarter or half size if that is large enough.
            image.draft("RGB", (2 * size[0], 2 * size[1]))
            scaled = image.convert("RGB").resize(size, Image.Resampling.BOX)
            return np.asarray(scaled, np.uint8)
    except errors.FrameError:
        raise
    except Exception as e:  # Pillow raises a dozen types on damaged images.
        reason = " ".join(str(e).split())[:200] or type(e).__name__
        raise errors.FrameError(
            source,
            "a JPEG image",
            f"{len(content)} bytes that do not decode ({reason})",
            "record the episode again, or leave it out",
        ) from e


def _check_size(size: tuple[int, int], source: str) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise errors.FrameError(
            source,
            f"an image of at most {MAX_PIXELS} pixels",
            f"{size[0]} x {size[1]}",
            "scale it before it is recorded",
        )
