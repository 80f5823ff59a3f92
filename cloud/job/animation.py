"""Small animations of recorded episodes, as SVG text that is embedded in a page.

Each shows the path of the gripper from above and from the side, and a dot that moves
along it as fast as the robot did. They move by SVG's own means (SMIL, SVG 1.1, section
19), so the page needs no script, and a program that does not animate shows the paths.
"""

import html
import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from base.errors import one_line
from cloud.evaluate.trajectories import Trajectory

SUCCESS_COLOR: Final = "#1d7a3e"
FAILURE_COLOR: Final = "#b3261e"
UNKNOWN_COLOR: Final = "#1f5fa8"
_SIDE: Final = 120.0
_GAP: Final = 12.0
_MOST_POINTS: Final = 80
_SHORTEST_S: Final = 1.0
_LONGEST_S: Final = 8.0
_PAUSE: Final = 0.15
"""Share of the time in which the dot rests at the end before it begins again."""


def draw(shown: Sequence[Trajectory]) -> str:
    """Draws an animation of the first success, and of every other ending there is.

    Args:
        shown: episodes, the first of each task first.

    Returns:
        HTML: a figure for each.
    """
    chosen = [one for one in shown if one.success is not True]
    chosen = [one for one in shown if one.success][:1] + chosen
    figures = "".join(_figure(one) for one in chosen)
    return f'<div style="display:flex;flex-wrap:wrap;gap:1rem">{figures}</div>'


def _figure(one: Trajectory) -> str:
    path_m = np.asarray(one.positions_m, np.float64).reshape(-1, 3)
    finite = path_m[np.isfinite(path_m).all(axis=1)]
    kept = np.unique(np.linspace(0, len(finite) - 1, _MOST_POINTS).round().astype(int))
    path_m = finite[kept] if len(finite) else np.zeros((1, 3))
    color = {True: SUCCESS_COLOR, False: FAILURE_COLOR, None: UNKNOWN_COLOR}[
        one.success
    ]
    said_s = one.seconds if math.isfinite(one.seconds) else _SHORTEST_S
    seconds = min(max(said_s, _SHORTEST_S), _LONGEST_S)
    # Both views have one scale, which holds the longest side of the path.
    low, high = path_m.min(axis=0), path_m.max(axis=0)
    scale = (_SIDE - 2 * _GAP) / max(float((high - low).max()), 1e-3)
    middle = (low + high) / 2
    views = "".join(
        _view(
            _GAP + number * _SIDE,
            scale * (path_m - middle)[:, axes],
            color,
            seconds,
        )
        for number, axes in enumerate(([0, 1], [1, 2]))
    )
    said = html.escape(one_line(f"{one.task}: {one.label}"))
    width = 2 * (_SIDE + _GAP)
    return (
        f'<figure style="margin:0;width:{width:g}px">'
        f'<svg viewBox="0 0 {width:g} {_SIDE:g}" width="{width:g}" role="img" '
        f'aria-label="{said}">{views}</svg>'
        f'<figcaption style="font-size:.8rem">{said}</figcaption></figure>'
    )


def _view(left: float, path: np.ndarray, color: str, seconds: float) -> str:
    """One view of a path [t 2], around the middle, its second axis upwards."""
    x = left + _SIDE / 2 + path[:, 0]
    y = _SIDE / 2 - path[:, 1]
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    # The last point once more: the dot rests there.
    times = [*np.linspace(0, 1 - _PAUSE, len(x)), 1.0]
    key_times = ";".join(f"{t:.4f}" for t in times)
    moves = "".join(
        f'<animate attributeName="{name}" dur="{seconds:.2f}s" '
        f'repeatCount="indefinite" keyTimes="{key_times}" values="'
        + ";".join(f"{v:.1f}" for v in [*values, values[-1]])
        + '"/>'
        for name, values in (("cx", x), ("cy", y))
    )
    return (
        f'<rect x="{left:g}" y="0" width="{_SIDE:g}" height="{_SIDE:g}" '
        'fill="#f5f6f8"/>'
        f'<polyline points="{points}" fill="none" stroke="#b0b7c0"/>'
        f'<circle cx="{x[-1]:.1f}" cy="{y[-1]:.1f}" r="4" fill="{color}">{moves}'
        "</circle>"
    )
