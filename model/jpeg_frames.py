"""Decodes the JPEG images of episodes into frames of the size a model reads.

This is the training side; `rlds.frames` decodes each, as a robot does with what its
cameras take.
"""

from collections.abc import Sequence

import numpy as np

from model import errors
from model.config import WaveCoreConfig
from model.senses import COLOURS
from rlds import frames
from rlds.episode import Episode
from rlds.errors import PictureError


def decode(images: Sequence[bytes], config: WaveCoreConfig, source: str) -> np.ndarray:
    """Frames u8 [t h w 3] of the encoded images of one camera in one episode.

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
    found = np.zeros((len(images), h, w, COLOURS), np.uint8)
    for t, content in enumerate(images):
        if content and t and content == images[t - 1]:
            found[t] = found[t - 1]  # its camera was slower than control
        elif content:
            found[t] = _decode_one(content, (w, h), f"{source}, step {t}")
    return found


def decode_cameras(episode: Episode, config: WaveCoreConfig) -> np.ndarray:
    """Frames u8 [t h q*w 3] of all q cameras of an episode, beside each other.

    Their order is that of `EpisodeSpec.picture_fields`.

    Raises:
        ConfigError: the model has another number of cameras.
        FrameError: as `decode`.
    """
    source = f"episode {episode.metadata.episode_id}"
    names = episode.spec.picture_fields
    if len(names) != config.image_count:
        raise errors.ConfigError(
            source,
            f"pictures of {config.image_count} cameras, as the model has",
            ", ".join(names) or "none",
            "train on episodes with the same cameras",
        )
    of_each = [
        decode(episode.steps[name], config, f"{source}, {name}") for name in names
    ]
    return np.concatenate(of_each, axis=2)


def check(images: Sequence[bytes], source: str) -> None:
    """Decodes each image of an episode and keeps none.

    Raises:
        FrameError: as `decode`.
    """
    for t, content in enumerate(images):
        _decode_one(content, (1, 1), f"{source}, step {t}")


def _decode_one(content: bytes, size: tuple[int, int], source: str) -> np.ndarray:
    try:
        return frames.decode(content, *size, source)
    except PictureError as e:
        raise errors.FrameError(e.source, e.expected, e.got, e.remedy) from e
