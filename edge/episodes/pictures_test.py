"""A picture that no episode takes is dropped, said once, and costs no step."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge.episodes.pictures import PictureCheck, find_fault
from edge.robots.robot import Camera
from rlds import blank_picture

FRONT = Camera("front", 32, 24, 20.0)
NAME, AGE = "observation/image_front", "image_age_ns_front"


def encode(mode: str = "RGB", size: tuple[int, int] = (32, 24), **how: Any) -> bytes:
    raw = io.BytesIO()
    Image.new(mode, size, 100 if mode == "L" else None).save(raw, "JPEG", **how)
    return raw.getvalue()


GOOD = encode()
PNG = io.BytesIO()
Image.new("RGBA", (32, 24)).save(PNG, "PNG")
BAD = [
    (b"", "a whole JPEG"),
    (b"\xff\xd8", "a whole JPEG"),
    (GOOD[: len(GOOD) // 2], "a whole JPEG"),
    (GOOD[:-1], "a whole JPEG"),
    (GOOD[2:], "a whole JPEG"),
    (PNG.getvalue(), "a whole JPEG"),
    (b"\xff\xd8" + b"\xff" * 10_000 + b"\xff\xd9", "a whole JPEG"),
    (encode(size=(64, 48)), "32 x 24 pixels"),
    (encode(size=(24, 32)), "32 x 24 pixels"),
    (encode("L"), "a picture in colour"),
    (encode("CMYK"), "a picture in colour"),
    (GOOD[:-2] + bytes(20_000) + GOOD[-2:], "at most 16384 bytes"),
    (GOOD[:-2] + 40 * b"\xff\xda\0\2" + GOOD[-2:], "at most 32 scans"),
]


@pytest.mark.parametrize("jpeg", [GOOD, encode(progressive=True), encode(exif=b"Exif")])
def test_picture_of_the_camera_has_no_fault(jpeg: bytes) -> None:
    assert find_fault(jpeg, FRONT) is None


@pytest.mark.parametrize(("jpeg", "expected"), BAD)
def test_picture_that_no_episode_takes_is_named(jpeg: bytes, expected: str) -> None:
    fault = find_fault(jpeg, FRONT)
    assert fault is not None
    assert fault[0] == expected


def test_faulty_picture_becomes_black_and_is_told_of_once() -> None:
    told: list[str] = []
    check = PictureCheck((FRONT,), "one", told.append)
    black = blank_picture.make(32, 24)
    for jpeg, expected in ((GOOD, GOOD), (GOOD[:-1], black), (b"", black)):
        found = check.settle({NAME: jpeg, AGE: 5, "reward": 1.0})
        age = 5 if expected == GOOD else -1
        assert found == {NAME: expected, AGE: age, "reward": 1.0}
    check.settle({NAME: GOOD[:-3], AGE: 5})
    assert told == [
        f"episode one, {NAME}: expected a whole JPEG, got {len(GOOD) - 1} bytes that"
        " are none; such pictures are dropped, and the steps kept"
    ]
    check.settle({NAME: encode("L"), AGE: 5})
    assert "got a grey one" in told[1]
    assert len(told) == 2


def test_any_bytes_are_a_picture_or_a_fault() -> None:
    random = np.random.default_rng(3)
    for _ in range(3000):
        raw = bytearray(GOOD)
        for at in random.integers(0, len(raw), 3):
            raw[at] = random.integers(256)
        find_fault(bytes(raw[: random.integers(len(raw) + 1)]), FRONT)
