"""What a life came to: success on each day as a table, and as a picture.

Each rate is shown with its 95 % interval, because a day is twenty episodes and not a
thousand.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax import saxutils

from base import canonical_json

_LEFT, _TOP, _WIDTH, _HEIGHT = 56, 64, 600, 240
_INK, _DRIVEN, _GRID = "#5a6270", "#1f5fa8", "#d5d9df"
_Z: Final = 1.96  # of a normal distribution, for 95 %


@dataclass(frozen=True)
class Day:
    """Episodes that the robot drove by itself on one day.

    Attributes:
        name: such as `day 1`.
        robot: whether it was `unchanged` or `changed`.
        delta: digest of the delta that it began the day with; "" for none.
        successes: episodes that fulfilled their task.
        episodes: episodes driven.
        shown: episodes that the expert showed on this day.
        night: what the night after it came to; "" if there was none.
    """

    name: str
    robot: str
    delta: str
    successes: int
    episodes: int
    shown: int = 0
    night: str = ""

    @property
    def rate(self) -> float:
        """Share of the episodes that succeeded; 0 without one."""
        return self.successes / self.episodes if self.episodes else 0.0

    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the rate; (0, 1) without an episode.

        Source: Wilson 1927, Probable inference, JASA 22 (158).
        """
        n, p = self.episodes, self.rate
        if not n:
            return 0.0, 1.0
        middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n * n)) / (1 + _Z**2 / n)
        # Rounding could end a step outside.
        return max(0.0, middle - half), min(1.0, middle + half)


def format_table(days: Sequence[Day]) -> str:
    """Returns one line per day, and one below it for its night."""
    width = max(len("day"), *(len(day.name) for day in days))
    lines = [
        f"{'day':<{width}}  {'robot':<9}  success  95 % interval  shown  delta",
    ]
    for day in days:
        low, high = day.interval()
        between = f"{low:.0%} to {high:.0%}"
        lines.append(
            f"{day.name:<{width}}  {day.robot:<9}  {day.rate:>7.0%}  {between:<13}"
            f"  {day.shown or '-':>5}  {day.delta[:12] or '-'}"
        )
        if day.night:
            lines.append(f"{'':<{width}}  night: {day.night}")
    return "\n".join(lines)


def summarize(days: Sequence[Day]) -> str:
    """Says what the robot has won back and what it has forgotten.

    Args:
        days: the first before the change, the second the first on the changed robot,
            the last but one as changed and the last as unchanged, with the last delta.
    """
    before, changed, after, again = days[0], days[1], days[-2], days[-1]
    lost = before.rate - changed.rate
    text = f"the change cost {100 * lost:.0f} points"
    if lost > 0:
        text += f"; won back {(after.rate - changed.rate) / lost:.0%} of them"
    return f"{text}; forgotten {100 * (before.rate - again.rate):.0f} points"


def encode(days: Sequence[Day]) -> bytes:
    """The days as canonical JSON, for programs that compare lives."""
    value = {"days": [dataclasses.asdict(day) for day in days]}
    return canonical_json.encode(value)


def draw(days: Sequence[Day], title: str) -> str:
    """Returns the text of an SVG file that refers to no other file or font."""
    width, height = _LEFT + _WIDTH + 24, _TOP + _HEIGHT + 64
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="11" fill="{_INK}">',
        f"<title>{saxutils.escape(title)}</title>",
        _text(_LEFT, 18, title, weight="bold"),
        *_draw_legend(),
        *_draw_grid(),
        *_draw_days(days),
        "</svg>\n",
    ]
    return "\n".join(lines)


def _draw_legend() -> Iterator[str]:
    y = 38.0
    x = float(_LEFT)
    for robot, name in (("unchanged", "robot unchanged"), ("changed", "robot changed")):
        yield _circle(x + 6, y, robot)
        yield _text(x + 17, y + 4, name)
        x += 130
    yield _bar(x + 6, y - 8, y + 8)
    yield _text(x + 14, y + 4, "95 % interval")
    yield _text(x + 120, y + 4, "below each day: what it drove with")


def _draw_grid() -> Iterator[str]:
    for percent in (0, 25, 50, 75, 100):
        y = _y(percent / 100)
        yield f'<path d="M{_LEFT} {y:.1f}h{_WIDTH}" stroke="{_GRID}"/>'
        yield _text(_LEFT - 8, y + 4, f"{percent} %", anchor="end")


def _draw_days(days: Sequence[Day]) -> Iterator[str]:
    points = []
    for number, day in enumerate(days):
        x = _LEFT + _WIDTH * (number + 0.5) / len(days)
        low, high = day.interval()
        points.append(f"{x:.1f},{_y(day.rate):.1f}")
        yield _bar(x, _y(low), _y(high))
        yield _circle(x, _y(day.rate), day.robot)
        bottom = _TOP + _HEIGHT
        yield _text(x, bottom + 18, day.name, anchor="middle")
        yield _text(x, bottom + 33, day.robot, anchor="middle")
        delta = f"delta {day.delta[:8]}" if day.delta else "no delta"
        yield _text(x, bottom + 48, delta, anchor="middle")
    yield (
        f'<polyline points="{" ".join(points)}" fill="none" stroke="{_DRIVEN}" '
        'stroke-width="1" opacity="0.6"/>'
    )


def _bar(x: float, low: float, high: float) -> str:
    return (
        f'<path d="M{x:.1f} {low:.1f}V{high:.1f}" stroke="{_DRIVEN}" '
        'stroke-width="2" opacity="0.4"/>'
    )


def _circle(x: float, y: float, robot: str) -> str:
    fill = _DRIVEN if robot == "changed" else "#ffffff"
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{fill}" '
        f'stroke="{_DRIVEN}" stroke-width="2"/>'
    )


def _y(share: float) -> float:
    return _TOP + _HEIGHT * (1 - share)


def _text(
    x: float, y: float, text: str, anchor: str = "start", weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{saxutils.escape(text)}</text>'
    )
