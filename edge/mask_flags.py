"""The flag that says what is masked in pictures beside faces and lines of text."""

from collections.abc import Callable

from absl import flags

from edge.redact import masker
from edge.redact.masker import Masker

MASK_PAGES = flags.DEFINE_bool(
    "mask_pages",
    False,
    "whether screens and paper with text become black as a whole in pictures that may"
    " leave, and not only their lines",
)


def open_masker(tell: Callable[[str], None]) -> Masker | None:
    """Returns what masks the pictures of a robot with a camera; see `masker`."""
    return masker.open_masker(tell, with_pages=bool(MASK_PAGES.value))
