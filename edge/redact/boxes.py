"""Boxes in a picture, as detectors find them: plain arrays and a few functions."""

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float32]
"""[n 5]: left, top, right, bottom in pixels, and a score from 0 to 1."""

Area = tuple[int, int, int, int]
"""Left, top, right and bottom in whole pixels; right and bottom are outside."""

SAME = 0.3
"""Overlap from which two boxes of a detector are the same thing."""

NONE: Boxes = np.zeros((0, 5), np.float32)


def scale(boxes: Boxes, factor: float) -> Boxes:
    """Makes the coordinates `factor` times as large."""
    found = boxes.copy()
    found[:, :4] *= factor
    return found


def turn_back(boxes: Boxes, turns: int, width: int, height: int) -> Boxes:
    """Gives boxes of a turned picture their place in the picture as it was.

    Args:
        boxes: in the picture that `numpy.rot90(picture, turns)` gives.
        turns: quarter turns, counted against the clock.
        width: of the picture as it was, in pixels.
        height: likewise.
    """
    left, top, right, bottom, score = boxes.T
    match turns % 4:
        case 1:
            corners = (width - bottom, left, width - top, right)
        case 2:
            corners = (width - right, height - bottom, width - left, height - top)
        case 3:
            corners = (top, height - right, bottom, height - left)
        case _:
            corners = (left, top, right, bottom)
    return np.stack([*corners, score], axis=1)


def overlap(one: Boxes, many: Boxes) -> npt.NDArray[np.float32]:
    """Intersection over union of one box, [5], with each of many: [n]."""
    across = np.minimum(one[2], many[:, 2]) - np.maximum(one[0], many[:, 0])
    down = np.minimum(one[3], many[:, 3]) - np.maximum(one[1], many[:, 1])
    both = np.clip(across, 0, None) * np.clip(down, 0, None)
    share: npt.NDArray[np.float32] = both / np.maximum(
        _area(one) + _area(many) - both, 1e-6
    )
    return share


def suppress(boxes: Boxes, most: float) -> Boxes:
    """Keeps the best of boxes that overlap by more than `most`, best first."""
    left = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    kept = []
    while len(left):
        kept.append(left[0])
        left = left[1:][overlap(left[0], left[1:]) <= most]
    return np.array(kept, np.float32).reshape(-1, 5)


def _area(boxes: Boxes) -> npt.NDArray[np.float32]:
    corners = boxes.T
    area: npt.NDArray[np.float32] = corners[2] - corners[0]
    area *= corners[3] - corners[1]
    return area
