"""Pictures that tests send in the place of a camera."""

import io

from PIL import Image


def encode(width: int, height: int, shade: int = 0, mode: str = "RGB") -> bytes:
    """Returns a JPEG of one shade, 0 to 255."""
    raw = io.BytesIO()
    colour = (shade, shade, shade) if mode == "RGB" else shade
    Image.new(mode, (width, height), colour).save(raw, "JPEG")
    return raw.getvalue()
