"""The pictures of an episode as a moving GIF, at the pace of the robot."""

import io
from collections.abc import Iterator
from typing import Final

from PIL import Image, ImageDraw

from rlds.errors import ShowError
from rlds.show import facts
from rlds.show.found import Found

MOST_FRAMES: Final = 240
"""Frames of a GIF: every so manieth picture of a longer episode is taken."""
_SMALLEST: Final = 240  # pixels of the longer side; smaller pictures are enlarged
_LARGEST: Final = 480
_SHORTEST_MS: Final = 20  # browsers show a shorter frame for a tenth of a second
_BAR: Final = 4  # pixels below each picture that tell the time
_LIMIT_PIXELS: Final = 64_000_000


def render(found: Found) -> bytes:
    """Returns the GIF.

    Raises:
        ShowError: the episode has no pictures, or one that cannot be decoded.
    """
    if not found.episode.spec.picture_fields:
        raise ShowError(
            found.path,
            "observation/image in each step, for a GIF",
            "an episode without pictures",
            "name an --output that ends in .html",
        )
    count = found.episode.num_steps
    every = -(-count // MOST_FRAMES)
    frames = _draw_frames(found, every)
    first = next(frames)
    length_s = float(facts.seconds(found.episode)[-1])
    frame_ms = 1000 * length_s / max(count - 1, 1) * every
    raw = io.BytesIO()
    first.save(
        raw,
        "GIF",
        save_all=True,
        append_images=frames,
        duration=max(_SHORTEST_MS, round(frame_ms)),
        loop=0,
    )
    return raw.getvalue()


def _draw_frames(found: Found, every: int) -> Iterator[Image.Image]:
    episode = found.episode
    for number in range(0, episode.num_steps, every):
        seen = [
            _scale(
                _open(
                    episode.steps[name][number], f"{found.path}: step {number} {name}"
                )
            )
            for name in episode.spec.picture_fields
        ]
        height = max(image.height for image in seen)
        frame = Image.new("RGB", (sum(image.width for image in seen), height + _BAR))
        left = 0
        for image in seen:
            frame.paste(image, (left, 0))
            left += image.width
        passed = round(frame.width * (number + 1) / episode.num_steps)
        below = (0, height, passed, frame.height)
        ImageDraw.Draw(frame).rectangle(below, fill=(90, 160, 230))
        yield frame


def _open(raw: bytes, where: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(raw), formats=("JPEG",))
        if image.width * image.height > _LIMIT_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels")
        return image.convert("RGB")
    except Exception as e:  # of a decoder of others' bytes
        got = f"{len(raw)} bytes, {e}"
        raise ShowError(where, "a JPEG picture", got) from e


def _scale(image: Image.Image) -> Image.Image:
    longer = max(image.size)
    if longer < _SMALLEST:
        by = -(-_SMALLEST // longer)
        size = (image.width * by, image.height * by)
        return image.resize(size, Image.Resampling.NEAREST)
    if longer > _LARGEST:
        image.thumbnail((_LARGEST, _LARGEST))
    return image
