import io

import numpy as np
import pytest
from PIL import Image

from rlds import jpeg_segments
from rlds.testing.episodes import JPEG

_SCAN = JPEG.index(b"\xff\xda")
_AFTER_START, _END = 2, len(JPEG) - 2


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2) + content


def _insert(segment: bytes, position: int = _AFTER_START) -> bytes:
    return JPEG[:position] + segment + JPEG[position:]


ADOBE = _segment(0xEE, b"Adobe\0\x64\0\0\0\0\1")


@pytest.mark.parametrize(
    "image",
    [
        JPEG,
        _insert(ADOBE),
        _insert(b"\xff\xff\xff", _SCAN),  # fill bytes before a marker
        JPEG[:_END] + b"\xff\xd0\xff\x00" + JPEG[_END:],  # a restart, and FF as data
    ],
)
def test_image_of_pixels_alone_has_no_fault(image: bytes) -> None:
    assert jpeg_segments.find_fault(image) is None


@pytest.mark.parametrize(
    "image",
    [
        _insert(_segment(0xE1, b"Exif\0\0MM\0*GPS 52.516275 13.377704")),
        _insert(_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")),
        _insert(_segment(0xE2, b"MPF\0")),
        _insert(_segment(0xED, b"Photoshop 3.0\0Ada")),
        _insert(_segment(0xFE, b"taken by Ada Lovelace")),
        _insert(_segment(0xEE, b"Adobe, taken by Ada Lovelace")),
        _insert(_segment(0xE0, b"JFXX\0\x10a preview that no mask touched")),
        _insert(_segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\1\1rgb")),
        _insert(_segment(0xFE, b"between two scans"), _SCAN),
        _insert(_segment(0xFE, b"after the pixels"), _END),
    ],
)
def test_image_with_metadata_or_a_preview_is_refused(image: bytes) -> None:
    assert "without metadata" in str(jpeg_segments.find_fault(image))


def _sized(height: int, width: int) -> bytes:
    at = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:at] + height.to_bytes(2) + width.to_bytes(2) + JPEG[at + 4 :]


@pytest.mark.parametrize(("height", "width"), [(4096, 4097), (65_535, 65_535), (0, 9)])
def test_image_of_too_many_pixels_or_of_none_is_refused(
    height: int, width: int
) -> None:
    assert jpeg_segments.find_fault(_sized(4096, 4096)) is None
    assert jpeg_segments.find_fault(_sized(height, width)) == (
        "a JPEG image of 1 to 16777216 pixels"
    )


def test_image_of_two_sizes_is_refused() -> None:
    at = JPEG.index(b"\xff\xc0")
    size = JPEG[at : at + 2 + int.from_bytes(JPEG[at + 2 : at + 4])]
    assert "pixels" in str(jpeg_segments.find_fault(_insert(size, _SCAN)))


def test_image_of_too_many_scans_is_refused() -> None:
    scan = JPEG[_SCAN:_END]
    most = JPEG[:_END] + scan * (jpeg_segments.MAX_SCANS - 1) + JPEG[_END:]
    assert jpeg_segments.find_fault(most) is None
    more = JPEG[:_END] + scan * jpeg_segments.MAX_SCANS + JPEG[_END:]
    assert jpeg_segments.find_fault(more) == "a JPEG image of at most 32 scans"


def test_bytes_after_the_image_are_refused() -> None:
    assert jpeg_segments.find_fault(JPEG + JPEG) == "nothing after the image"


@pytest.mark.parametrize("size", range(len(JPEG)))
def test_image_that_is_cut_short_is_refused(size: int) -> None:
    assert jpeg_segments.find_fault(JPEG[:size]) is not None


@pytest.mark.parametrize(
    "image", [b"", b"\x89PNG", b"\xff\xd8\xff\xd9", b"\xff\xd8" + bytes(100)]
)
def test_other_bytes_are_refused(image: bytes) -> None:
    assert jpeg_segments.find_fault(image) is not None


@pytest.mark.parametrize(
    "segment",
    [
        _segment(0xF0, b"Ada Lovelace"),  # reserved for extensions
        _segment(0x02, b"Ada Lovelace"),
        _segment(0xC8, b"Ada Lovelace"),
        _segment(0xDC, b"Ada"),
        _segment(0xDB, b"\2" + b"A" * 65),
        _segment(0xDB, b""),
        _segment(0xC4, b"\2" + b"\1" + bytes(15) + b"AB"),
        _segment(0xDD, b"\0\0A"),
        b"\xff\xd3",
    ],
)
def test_image_with_a_segment_that_its_pixels_do_not_need_is_refused(
    segment: bytes,
) -> None:
    assert "JPEG image" in str(jpeg_segments.find_fault(_insert(segment)))


def test_image_with_more_tables_than_any_camera_writes_is_refused() -> None:
    table = _segment(0xDB, b"\2" + bytes(64))
    assert jpeg_segments.find_fault(_insert(table * 9)) is None
    fault = jpeg_segments.find_fault(_insert(table * 130))
    assert fault == "a JPEG image with at most 8192 bytes of segments"


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("quality", [5, 95])
def test_pictures_of_a_usual_encoder_have_no_fault(
    progressive: bool, quality: int
) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (240, 320, 3), np.uint8)
    raw = io.BytesIO()
    Image.fromarray(noise).save(
        raw, "jpeg", quality=quality, progressive=progressive, optimize=True
    )
    assert jpeg_segments.find_fault(raw.getvalue()) is None
