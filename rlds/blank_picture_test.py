import io

import numpy as np
import pytest
from PIL import Image

from rlds import blank_picture, jpeg_segments
from rlds.testing.episodes import JPEG

SIZES = [(1, 1), (8, 8), (9, 7), (64, 64), (320, 240), (17, 4000), (4096, 4096)]


@pytest.mark.parametrize("size", SIZES)
def test_blank_picture_decodes_to_zeros_of_its_size(size: tuple[int, int]) -> None:
    image = blank_picture.make(*size)
    assert jpeg_segments.find_fault(image) is None
    decoded = Image.open(io.BytesIO(image))
    assert decoded.size == size
    assert not np.asarray(decoded.convert("RGB")).any()


def test_blank_pictures_are_counted_and_no_others() -> None:
    blank = blank_picture.make(320, 240)
    assert len(blank) < 500
    black = io.BytesIO()
    Image.new("L", (320, 240)).save(black, "JPEG")
    others = (JPEG, b"", blank[:-1], blank + b"\0", black.getvalue())
    assert blank_picture.count((blank, blank_picture.make(5, 5), *others)) == 2


def test_blank_picture_with_another_size_in_its_header_is_none() -> None:
    at = blank_picture.make(64, 64).index(b"\xff\xc0") + 5
    image = bytearray(blank_picture.make(64, 64))
    for size in (b"\0\0", b"\0\x48", b"\xff\xff"):
        image[at : at + 2] = size
        assert not blank_picture.is_blank(bytes(image))


@pytest.mark.parametrize("size", [(0, 1), (1, 65_536), (8192, 8192)])
def test_size_that_no_reader_takes_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="size"):
        blank_picture.make(*size)
