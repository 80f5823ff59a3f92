"""Finds lines of text: a licence plate is one, and a page or a screen is many.

No weights for plates alone have a licence that fits (docs/privacy.md), and a plate that
nobody can read as text is no plate. So every line of text counts as a plate.

Source: Liao et al. 2020, arXiv:1911.08947: for each pixel how much it is the middle of
a line; the line is larger by its area divided by its circumference.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from edge.redact import network, weights
from edge.redact.boxes import NONE, Boxes
from edge.redact.picture import Pixels, resize

WEIGHTS: Final = weights.TEXT_LINES
LEAST_SCORE: Final = 0.15
"""Of what is returned: `tracks.py` decides what it means."""
_STRIDE: Final = 32
_LONG_SIDES: Final = (320, 640)  # as for faces
# Channels are in the order blue, green and red, as the network was trained.
_MEAN: Final = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
_SPREAD: Final = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)
# Pixels of the map are joined in cells: lines are some cells high.
_CELL: Final = 4
_UNCLIP: Final = 1.8


class TextDetector:
    """One loaded network; not for several threads at once."""

    name: Final = WEIGHTS.name
    sha256: Final = WEIGHTS.sha256

    def __init__(self) -> None:
        """Loads it.

        Raises:
            DetectorError: the weights or the runtime are missing, or other ones.
        """
        self._network = network.Network(WEIGHTS.name, weights.read(WEIGHTS))

    def find(self, pixels: Pixels) -> Boxes:
        """Returns the lines of text of a picture [h w 3], scores from `LEAST_SCORE`."""
        longest = max(pixels.shape[:2])
        factor = min(max(longest, _LONG_SIDES[0]), _LONG_SIDES[1]) / longest
        scaled = resize(pixels, factor)
        height, width = scaled.shape[:2]
        padded = np.zeros((1, 3, _round_up(height), _round_up(width)), np.float32)
        values = scaled[..., ::-1].transpose(2, 0, 1).astype(np.float32) / 255
        padded[0, :, :height, :width] = (values - _MEAN) / _SPREAD
        (middle,) = self._network.run(padded)
        found = find_lines(middle[0, 0])
        found[:, :4] /= factor
        return found


def find_lines(middle: npt.NDArray[np.float32]) -> Boxes:
    """Returns the lines of a map [h w] of their middles, h and w multiples of 4."""
    height, width = (size // _CELL for size in middle.shape)
    cells = middle.reshape(height, _CELL, width, _CELL).max(axis=(1, 3))
    found = []
    for rows, columns in _join(cells > LEAST_SCORE):
        across = float(columns.max() - columns.min() + 1) * _CELL
        down = float(rows.max() - rows.min() + 1) * _CELL
        grown = _UNCLIP * across * down / (2 * (across + down))
        left, top = float(columns.min()) * _CELL, float(rows.min()) * _CELL
        score = float(cells[rows, columns].max())
        found.append(
            (
                left - grown,
                top - grown,
                left + across + grown,
                top + down + grown,
                score,
            )
        )
    return np.array(found, np.float32) if found else NONE


def _join(
    marked: npt.NDArray[np.bool_],
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Groups marked cells that touch, also at a corner: rows and columns of each."""
    rows, columns = np.nonzero(marked)
    number = {cell: n for n, cell in enumerate(zip(rows, columns, strict=True))}
    parent = list(range(len(rows)))

    def root(one: int) -> int:
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    for n, (row, column) in enumerate(zip(rows, columns, strict=True)):
        for near in (
            (row, column - 1),
            (row - 1, column - 1),
            (row - 1, column),
            (row - 1, column + 1),
        ):
            other = number.get(near)
            if other is not None:
                parent[root(n)] = root(other)
    roots = np.array([root(n) for n in range(len(rows))], np.int64)
    return [(rows[roots == one], columns[roots == one]) for one in np.unique(roots)]


def _round_up(size: int) -> int:
    return -(-size // _STRIDE) * _STRIDE
