"""Images of an episode become frames; damaged ones are refused by step."""

import dataclasses
import io
import struct

import numpy as np
import pytest
from PIL import Image

from model import errors, jpeg_frames
from model.testing import small_models

SIZES = dataclasses.replace(small_models.SIZES, image_height=16, image_width=32)


def jpeg(height: int = 64, width: int = 128, mode: str = "RGB") -> bytes:
    """Left half bright, right half dark."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = (250, 120, 20)
    content = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(content, "JPEG", quality=95)
    return content.getvalue()


@pytest.mark.parametrize("size", [(16, 32), (64, 128), (480, 640), (9, 11)])
def test_image_of_any_size_is_scaled_to_the_frame(size: tuple[int, int]) -> None:
    frames = jpeg_frames.decode([jpeg(*size)], SIZES, "episode e")
    assert frames.shape == (1, 16, 32, 3)
    assert frames.dtype == np.uint8
    np.testing.assert_allclose(frames[0, 4, 3], (250, 120, 20), atol=8)
    np.testing.assert_allclose(frames[0, 12, 29], 0, atol=8)


def test_grey_image_becomes_three_equal_colours() -> None:
    frame = jpeg_frames.decode([jpeg(mode="L")], SIZES, "episode e")[0]
    np.testing.assert_array_equal(frame[..., 0], frame[..., 2])


def test_step_without_an_image_is_all_zero() -> None:
    frames = jpeg_frames.decode([jpeg(), b"", jpeg()], SIZES, "episode e")
    assert frames[0].any()
    assert not frames[1].any()
    np.testing.assert_array_equal(frames[0], frames[2])


def huge(side: int) -> bytes:
    """A JPEG whose header claims `side` rows and columns."""
    content = bytearray(jpeg())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", side, side)
    return bytes(content)


def repeat_last_scan(times: int) -> bytes:
    """A progressive image that goes over its pixels again and again."""
    content = io.BytesIO()
    Image.new("RGB", (64, 64)).save(content, "JPEG", progressive=True)
    image = content.getvalue()
    scan = image[image.rindex(b"\xff\xda") : -2]
    return image[:-2] + scan * times + image[-2:]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xd8", "2 bytes that do not decode"),
        (jpeg()[:-200], "bytes that do not decode"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "bytes that do not decode"),
        (huge(6_000), "at most 16777216 pixels, got 6000 x 6000"),
        (huge(60_000), "bytes that do not decode"),
        (repeat_last_scan(1000), "at most 32 scans, got 10[0-9][0-9]"),
    ],
)
def test_damaged_image_is_refused_with_episode_and_step(
    content: bytes, message: str
) -> None:
    with pytest.raises(errors.FrameError, match=f"episode e, step 1: .*{message}"):
        jpeg_frames.decode([jpeg(), content], SIZES, "episode e")


def test_random_damage_gives_a_frame_or_a_frame_error() -> None:
    random, whole, refused = np.random.default_rng(0), jpeg(), 0
    for _ in range(300):
        content = bytearray(whole)
        for at in random.integers(2, len(content), 4):
            content[at] = random.integers(256)
        try:
            frames = jpeg_frames.decode([bytes(content)], SIZES, "episode e")
            assert frames.shape == (1, 16, 32, 3)
        except errors.FrameError as e:
            refused += 1
            assert str(e).startswith("episode e, step 0: expected")
    assert 0 < refused < 300


def test_model_without_a_camera_is_refused() -> None:
    with pytest.raises(errors.ConfigError, match="image_height 0"):
        jpeg_frames.decode([jpeg()], small_models.SIZES, "episode e")
