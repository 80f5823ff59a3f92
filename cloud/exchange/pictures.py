"""Pictures of other people's data as JPEG of a bounded size."""

import concurrent.futures
import io
import os
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from PIL import Image

from cloud.errors import BadEpisodeError
from cloud.exchange.recorded import bad
from rlds import blank_picture
from rlds.jpeg_segments import MAX_PIXELS

QUALITY = 90
"""Of the JPEG that a picture in another form becomes."""
_JPEG = b"\xff\xd8"
_TOGETHER = 64
"""Pictures that are in memory undecoded at a time."""


def fit(width: int, height: int, longest: int) -> tuple[int, int]:
    """Returns the size of a picture whose longer side is at most `longest` pixels.

    Args:
        width: its width.
        height: its height.
        longest: 0 for any size.
    """
    larger = max(width, height)
    if not longest or larger <= longest:
        return width, height
    return (
        max(1, round(width * longest / larger)),
        max(1, round(height * longest / larger)),
    )


def encode_all(
    encoded: Sequence[bytes], longest: int, episode: str, field: str
) -> tuple[bytes, ...]:
    """Returns pictures as JPEG; one that is JPEG of a fitting size stays as it is.

    Args:
        encoded: JPEG, PNG or another form that Pillow reads.
        longest: longest side in pixels; 0 for any.
        episode: name of the episode, for errors.
        field: name of the pictures, for errors.

    Raises:
        BadEpisodeError: one does not decode, or is too large.
    """

    def one(step: int) -> bytes:
        try:
            return _encode(encoded[step], longest)
        except BadEpisodeError:
            raise
        except Exception as e:
            raise bad(episode, field, "a picture", f"{e} at step {step}") from e

    return _map_in_order(one, range(len(encoded)))


def encode_pixels(frames: Iterable[np.ndarray]) -> tuple[bytes, ...]:
    """Returns frames u8 [h w 3] as JPEG, of which only some are in memory at a time."""
    return _map_in_order(lambda frame: _save(Image.fromarray(frame)), frames)


def _map_in_order[T](
    work: Callable[[T], bytes], given: Iterable[T]
) -> tuple[bytes, ...]:
    """Applies `work` with all cores, which the codecs use without Python's lock."""
    made: list[bytes] = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        waiting: list[concurrent.futures.Future[bytes]] = []
        for one in given:
            waiting.append(pool.submit(work, one))
            if len(waiting) == _TOGETHER:
                made.append(waiting.pop(0).result())
        made += [future.result() for future in waiting]
    return tuple(made)


def _encode(raw: bytes, longest: int) -> bytes:
    with Image.open(io.BytesIO(raw)) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ValueError(f"{width} x {height} pixels, more than {MAX_PIXELS}")
        size = fit(width, height, longest)
        if blank_picture.is_blank(raw):  # a camera had none: it stays known as such
            return blank_picture.make(*size)
        if image.format == "JPEG" and size == image.size and image.mode == "RGB":
            image.load()  # one that is cut short is found here, not in training
            return raw
        if image.format == "JPEG":
            image.draft("RGB", (2 * size[0], 2 * size[1]))
        colour = image.convert("RGB")
        if colour.size != size:
            colour = colour.resize(size, Image.Resampling.BOX)
        return _save(colour)


def _save(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
