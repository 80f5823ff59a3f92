"""What a new JPEG holds of the old one: nothing but the pixels outside the masks."""

import io

import numpy as np
import pytest
from PIL import Image

from edge.errors import RedactionError
from edge.redact import picture
from edge.redact.boxes import Area
from rlds import jpeg_segments

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 255, (60, 90, 3)).astype(np.uint8)
AREA: Area = (21, 13, 40, 30)
# What is black then: whole blocks of 8x8.
BLOCKS = (slice(8, 32), slice(16, 40))


def encode(pixels: picture.Pixels, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def with_metadata() -> bytes:
    """A picture with a place, a preview that shows everything, and a comment."""
    exif = Image.Exif()
    exif[0x010E] = "Ada Lovelace at home"
    exif[0x8825] = {2: (52.0, 30.0, 58.0), 4: (13.0, 22.0, 39.0)}
    preview = encode(PIXELS[:16, :16])
    return encode(PIXELS, exif=exif.tobytes(), comment=b"Ada") + preview


def test_pictures_that_differ_under_the_mask_alone_become_the_same_bytes() -> None:
    other = PIXELS.copy()
    other[BLOCKS] = RANDOM.integers(0, 255, other[BLOCKS].shape)
    one, two = picture.mask(PIXELS, [AREA]), picture.mask(other, [AREA])
    assert one == two
    assert picture.mask(PIXELS, []) != picture.mask(other, [])


def test_mask_is_black_and_the_rest_is_as_it_was() -> None:
    shown = picture.decode(picture.mask(np.full_like(PIXELS, 200), [AREA])).copy()
    # The encoder rounds: black beside something bright is not 0 everywhere.
    assert shown[BLOCKS].max() < 16
    shown[BLOCKS] = 200
    rest = np.abs(shown.astype(int) - 200)
    assert np.median(rest) == 0


def test_nothing_of_the_old_file_is_in_the_new_one() -> None:
    old = with_metadata()
    assert jpeg_segments.find_fault(old) is not None
    new = picture.mask(picture.decode(old), [])
    assert jpeg_segments.find_fault(new) is None
    assert b"Ada" in old and b"Ada" not in new
    assert new.count(b"\xff\xd8") == 1
    assert not Image.open(io.BytesIO(new)).getexif()


def test_turn_that_exif_asks_for_is_not_made() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert picture.decode(encode(PIXELS, exif=exif.tobytes())).shape == PIXELS.shape


@pytest.mark.parametrize(
    "area", [(-50, -50, 500, 500), (0, 0, 90, 60), (85, 55, 95, 65)]
)
def test_area_beyond_the_border_is_cut_there(area: Area) -> None:
    shown = picture.decode(picture.mask(np.full_like(PIXELS, 200), [area]))
    assert shown.shape == PIXELS.shape
    assert shown[-1, -1].max() < 16


@pytest.mark.parametrize(
    "image",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8 not a picture",
        encode(PIXELS)[:300],
        with_metadata()[2:],
    ],
)
def test_damaged_picture_is_refused(image: bytes) -> None:
    with pytest.raises(RedactionError, match="whole JPEG"):
        picture.decode(image)


def test_picture_of_other_kinds_is_decoded_or_refused() -> None:
    grey = Image.fromarray(PIXELS[..., 0])
    buffer = io.BytesIO()
    grey.save(buffer, "JPEG")
    assert picture.decode(buffer.getvalue()).shape == PIXELS.shape
    buffer = io.BytesIO()
    grey.convert("CMYK").save(buffer, "JPEG")
    assert picture.decode(buffer.getvalue()).shape == PIXELS.shape
    buffer = io.BytesIO()
    grey.save(buffer, "PNG")
    with pytest.raises(RedactionError):
        picture.decode(buffer.getvalue())


def test_picture_of_too_many_pixels_or_scans_is_refused_before_it_is_decoded() -> None:
    at = encode(PIXELS).index(b"\xff\xc0") + 5
    huge = bytearray(encode(PIXELS))
    huge[at : at + 4] = (5000).to_bytes(2) + (5000).to_bytes(2)
    with pytest.raises(RedactionError, match="pixels"):
        picture.decode(bytes(huge))
    with pytest.raises(RedactionError, match="scans"):
        picture.decode(encode(PIXELS) + b"\xff\xda" * 40)


@pytest.mark.parametrize("factor", [0.01, 0.5, 1, 3])
def test_scaled_picture_has_at_least_one_pixel(factor: float) -> None:
    height, width = picture.resize(PIXELS, factor).shape[:2]
    assert height == max(1, round(60 * factor))
    assert width == max(1, round(90 * factor))
