"""Curves and marks of many steps as small SVG, whatever the number of steps.

A curve has at most `BUCKETS` pairs of points: the lowest and the highest value of the
steps that share a bucket. So a spike of one step in 10,000 is still seen, which a
sample of every tenth step would miss.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from rlds.episode import Array

WIDTH: Final = 1000
HEIGHT: Final = 100
"""Size of the drawing, in its own units; the page stretches it to what is there."""
BUCKETS: Final = 480
_LAST_DIGITS: Final = 2 * float(np.finfo(np.float32).eps)
_MARGIN: Final = 6  # units above and below the curve


def find_extremes(values: Array, buckets: int = BUCKETS) -> tuple[Array, Array, Array]:
    """Returns position, lowest and highest value of each bucket of steps.

    Shapes: values [T] to three arrays [B], B the smaller of T and `buckets`. A
    position is a number of steps, the middle of its bucket.
    """
    count = len(values)
    edges = np.linspace(0, count, min(count, buckets) + 1).astype(np.int64)
    starts, ends = edges[:-1], edges[1:]
    return (
        (starts + ends - 1) / 2,
        np.minimum.reduceat(values, starts),
        np.maximum.reduceat(values, starts),
    )


def draw_curve(values: Array, low: float, high: float) -> str:
    """Returns the `d` of an SVG path for values [T] between `low` and `high`."""
    at, lowest, highest = find_extremes(np.asarray(values, np.float64))
    last = max(len(values) - 1, 1)
    x = np.rint(at * (WIDTH / last)).astype(np.int64)
    span = high - low or 1.0
    scale = (HEIGHT - 2 * _MARGIN) / span

    def place(found: Array) -> Array:
        return np.rint(HEIGHT - _MARGIN - (found - low) * scale).astype(np.int64)

    if len(values) == 1:
        (y,) = place(lowest)
        return f"M0 {y}H{WIDTH}"
    if len(values) <= BUCKETS:
        points = list(zip(x.tolist(), place(lowest).tolist(), strict=True))
        return _join(points)
    # Down in one bucket and up in the next, so that neighbours are near.
    points = []
    pairs = zip(x, place(lowest), place(highest), strict=True)
    for number, (along, bottom, top) in enumerate(pairs):
        both = [(int(along), int(bottom)), (int(along), int(top))]
        points += both if number % 2 else both[::-1]
    return _join(points)


def _join(points: Sequence[tuple[int, int]]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in points)


def find_runs(marks: Array) -> list[tuple[int, int]]:
    """Returns first and last step of each run of steps that are marked, [T] bool."""
    padded = np.concatenate(([False], np.asarray(marks, np.bool_), [False]))
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def draw_marks(marks: Array) -> str:
    """Returns the `d` of an SVG path that fills the steps that are marked, [T] bool.

    At least a unit wide each, and at most `BUCKETS` of them: a mark is never lost.
    """
    _, _, seen = find_extremes(np.asarray(marks, np.bool_))
    width = WIDTH / len(seen)
    parts = []
    for first, last in find_runs(seen):
        left, right = round(first * width), round((last + 1) * width)
        parts.append(f"M{left} 0H{max(right, left + 2)}V{HEIGHT}H{left}Z")
    return "".join(parts)


def format_number(value: float) -> str:
    """Formats a value for people, with four digits that count."""
    return f"{value:.4g}"


def format_limits(low: float, high: float) -> tuple[str, str]:
    """Formats two limits with as many digits as it takes to tell them apart."""
    for digits in range(4, 10):
        told = f"{low:.{digits}g}", f"{high:.{digits}g}"
        if told[0] != told[1]:
            break
    return told if low != high else (format_number(low), format_number(high))


def is_still(low: float, high: float) -> bool:
    """Whether a channel between these did not change, but for its last digit as f32."""
    return high - low <= _LAST_DIGITS * max(abs(low), abs(high))
