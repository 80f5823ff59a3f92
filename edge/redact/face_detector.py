"""Finds faces in a picture of any size: CenterFace, at several sizes, in four turns.

A camera on an arm is turned with it, and the network knows upright faces only. It finds
faces best that are 20 to 200 pixels high. Whoever asks says how a picture is looked at:
`masker.py` takes one way after the other, and `tracks.py` joins what they find.

Source: Xu et al. 2019, arXiv:1911.03599: a score, an offset and the logarithm of two
sizes for each cell of 4x4 pixels.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from edge.redact import boxes, network, weights
from edge.redact.boxes import Boxes
from edge.redact.network import Values
from edge.redact.picture import Pixels, resize

Look = tuple[int, float]
"""A quarter turn, counted against the clock, and a size as a part of the usual one."""

WEIGHTS: Final = weights.CENTERFACE
LEAST_SCORE: Final = 0.08
"""Of what is returned: `tracks.py` decides what it means."""
_CELL: Final = 4
_STRIDE: Final = 32  # sizes of the input are multiples of it
# The longer side of a picture of the usual size at least, and of any look at most: of a
# camera of 64x64 pixels a face at 1 m has 8.
_LONG_SIDES: Final = (320, 640)

# The file declares 10 pictures of 32x32 pixels; any number and size works. These are
# the lengths in its shapes, and what they become: without a length, which is any.
_FIXED: Final = tuple(
    b"\n\x02\x08\n\n\x02\x08" + bytes([channels]) + 2 * (b"\n\x02\x08" + bytes([side]))
    for channels, side in ((3, 32), (1, 8), (2, 8), (10, 8))
)
_TAIL: Final = 7600  # bytes at the end of the file, in which the shapes are


class FaceDetector:
    """One loaded network; not for several threads at once."""

    name: Final = WEIGHTS.name
    sha256: Final = WEIGHTS.sha256

    def __init__(self) -> None:
        """Loads it.

        Raises:
            DetectorError: the weights or the runtime are missing, or other ones.
        """
        raw = weights.read(WEIGHTS)
        tail = raw[-_TAIL:]
        for shape in _FIXED:
            free = b"\n\x02\x12\x00" + shape[4:8] + 2 * b"\n\x02\x12\x00"
            tail = tail.replace(shape, free)
        self._network = network.Network(WEIGHTS.name, raw[:-_TAIL] + tail)

    def find(self, pixels: Pixels, looks: Sequence[Look]) -> dict[int, Boxes]:
        """Returns the faces of a picture [h w 3], scores from `LEAST_SCORE`.

        Args:
            pixels: red, green and blue.
            looks: how it is looked at.

        Returns:
            What was found in each turn, in the picture as it is.
        """
        height, width = pixels.shape[:2]
        longest = max(height, width)
        found: dict[int, Boxes] = {}
        for turn, size in looks:
            wanted = size * max(longest, _LONG_SIDES[0])
            factor = min(wanted, _LONG_SIDES[1]) / longest
            scaled = resize(pixels, factor)
            down, across = scaled.shape[:2]
            here = self._look(np.rot90(scaled, turn))
            back = boxes.scale(boxes.turn_back(here, turn, across, down), 1 / factor)
            both = np.concatenate([found.get(turn, boxes.NONE), back])
            found[turn] = boxes.suppress(both, boxes.SAME)
        return found

    def _look(self, pixels: npt.NDArray[np.uint8]) -> Boxes:
        height, width = pixels.shape[:2]
        padded = np.zeros((1, 3, _round_up(height), _round_up(width)), np.float32)
        padded[0, :, :height, :width] = pixels.transpose(2, 0, 1)
        heat, sizes, offsets, _ = self._network.run(padded)
        return _decode(heat[0, 0], sizes[0], offsets[0])


def _decode(heat: Values, sizes: Values, offsets: Values) -> Boxes:
    rows, columns = np.nonzero(heat > LEAST_SCORE)
    at = (slice(None), rows, columns)
    down, across = np.exp(np.minimum(sizes[at], 8)) * _CELL
    y = (rows + offsets[at][0] + 0.5) * _CELL
    x = (columns + offsets[at][1] + 0.5) * _CELL
    found = np.stack(
        [
            x - across / 2,
            y - down / 2,
            x + across / 2,
            y + down / 2,
            heat[rows, columns],
        ],
        axis=1,
    )
    return boxes.suppress(found.astype(np.float32), boxes.SAME)


def _round_up(size: int) -> int:
    return -(-size // _STRIDE) * _STRIDE
