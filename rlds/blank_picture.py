"""The one picture that shows nothing: black, of any size, for one that is dropped.

Models read zeros as no picture (`model/jpeg_frames.py`), and every reader of datasets
decodes it. It has one form, byte for byte, so that whoever checks an episode can count
the dropped pictures without decoding any.
Source: ITU-T T.81: a baseline image of one component, all of whose coefficients but
the first difference are 0.
"""

import functools
from collections.abc import Iterable

from rlds import jpeg_segments

# Each value of the quantization is 255, and the first block's mean is -5 times that,
# divided by 8: below black whatever the decoder rounds.
_QUANTA = b"\xff\xdb\x00\x43\x00" + b"\xff" * 64
# A difference of no bits has the code 0, one of 3 bits the code 10; the end of a block,
# which is all of it, has the code 0.
_HUFFMAN = (
    b"\xff\xc4\x00\x15\x00" + bytes([1, 1]) + bytes(14) + b"\x00\x03"
    b"\xff\xc4\x00\x14\x10" + bytes([1]) + bytes(15) + b"\x00"
)
_FRAME = b"\xff\xc0\x00\x0b\x08"
_REST = b"\x01\x01\x11\x00" + _HUFFMAN + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
_BEGIN = b"\xff\xd8" + _QUANTA + _FRAME
# The first block: 10, then -5 as 010, then the end. Each other block is 0 and 0.
_FIRST_BLOCK = "100100"
_BITS_PER_BLOCK = 2


@functools.lru_cache(maxsize=16)
def make(width: int, height: int) -> bytes:
    """Returns the black picture of a size in pixels.

    Raises:
        ValueError: the size is out of the range of readers.
    """
    if not (0 < width < 1 << 16 and 0 < height < 1 << 16) or (
        width * height > jpeg_segments.MAX_PIXELS
    ):
        raise ValueError(f"expected a size that readers take, got {width} x {height}")
    blocks = -(-width // 8) * -(-height // 8)
    bits = len(_FIRST_BLOCK) + _BITS_PER_BLOCK * (blocks - 1)
    size = -(-bits // 8)
    pixels = bytearray(size)
    pixels[0] = int(_FIRST_BLOCK.ljust(8, "0"), 2)
    pixels[-1] |= (1 << (8 * size - bits)) - 1  # filled with ones
    sizes = height.to_bytes(2) + width.to_bytes(2)
    return _BEGIN + sizes + _REST + bytes(pixels) + b"\xff\xd9"


def is_blank(image: bytes) -> bool:
    """Whether an image is the one that `make` gives for its size."""
    size = find_size(image)
    try:
        return size is not None and image == make(*size)
    except ValueError:
        return False


def find_size(image: bytes) -> tuple[int, int] | None:
    """Width and height of an image that begins as those of `make`; else None."""
    if not image.startswith(_BEGIN):
        return None
    height, width = (
        int.from_bytes(image[at : at + 2]) for at in (len(_BEGIN), len(_BEGIN) + 2)
    )
    return width, height


def count(images: Iterable[bytes]) -> int:
    """Returns how many images are blank."""
    return sum(is_blank(image) for image in images)
