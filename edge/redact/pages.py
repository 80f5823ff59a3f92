"""Finds pages and screens: many lines of text beside each other."""

from typing import Final

import numpy as np

from edge.redact.boxes import NONE, Boxes

_LEAST_LINES: Final = 3
# Lines belong together if less than so many heights of a line are between them.
_REACH: Final = 1.5


def find_pages(lines: Boxes) -> Boxes:
    """Returns a box around each group of lines [n 5], larger than that by a line."""
    left = list(range(len(lines)))
    found = []
    while left:
        group, fresh = [], [left.pop()]
        while fresh:
            one = fresh.pop()
            group.append(one)
            near = [other for other in left if _touch(lines[one], lines[other])]
            left = [other for other in left if other not in near]
            fresh += near
        if len(group) >= _LEAST_LINES:
            found.append(_surround(lines[group]))
    return np.array(found, np.float32) if found else NONE


def _touch(one: Boxes, other: Boxes) -> bool:
    reach = _REACH * min(one[3] - one[1], other[3] - other[1])
    apart = np.maximum(one[:2], other[:2]) - np.minimum(one[2:4], other[2:4])
    return bool((apart < reach).all())


def _surround(lines: Boxes) -> list[float]:
    more = float(np.median(lines[:, 3] - lines[:, 1]))
    low, high = lines[:, :2].min(axis=0), lines[:, 2:4].max(axis=0)
    return [*(low - more).tolist(), *(high + more).tolist(), float(lines[:, 4].max())]
