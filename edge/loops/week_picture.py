"""Draws a simulated week as SVG: one row for each day, from noon to noon.

The picture refers to no font, script or other file, and colours are chosen so that it
can be read on a white and on a dark page.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final
from xml.sax import saxutils

from edge.loops.budgets import LOOPS, SLOW, Budgets
from edge.loops.mode import Mode
from edge.loops.simulated_week import DAY_S, HOUR_S, DayRecord, Sample, Week

_LEFT, _WIDTH, _RIGHT = 64, 640, 216
_TOP, _ROW, _GAP = 58, 52, 18
_BAR: Final = 14
_HOTTEST_C: Final = 90.0
_CURVE_S: Final = 600.0
_LEAST_WIDTH: Final = 2.0
_MODES: Final = {
    Mode.DRIVING: ("#f2d9a8", "driving"),
    Mode.IDLE: ("#e3e6ea", "idle"),
    Mode.ASLEEP: ("#c9d3e8", "asleep"),
}
COLORS: Final = {"fast": "#c8571b", "medium": "#2f8f5b", "slow": "#1f5fa8"}
"""Of the loops."""
_INK, _HEAT, _CHARGE = "#5a6270", "#b3262e", "#7a7f87"


def draw(week: Week, budgets: Budgets, titles: Sequence[str]) -> str:
    """Returns the text of an SVG file.

    Args:
        week: what happened.
        budgets: what the bars on the right are shares of.
        titles: a few words on each day.
    """
    height = _TOP + len(week.days) * (_ROW + _GAP) + 26
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 '
        f'{_LEFT + _WIDTH + _RIGHT} {height}" font-family="sans-serif" '
        f'font-size="10" fill="{_INK}">',
        "<title>Which loop ran when in a simulated week</title>",
        *_legend(),
    ]
    for day, record in enumerate(week.days):
        top = _TOP + day * (_ROW + _GAP)
        samples = _of_day(week.samples, day)
        parts.append(_text(4, top + 11, f"day {day + 1}", weight="bold"))
        parts.append(_text(_LEFT, top - 4, titles[day]))
        parts += _modes_and_loops(samples, day, top)
        parts += _curves(samples, day, top, budgets)
        parts += _shares(record, budgets, top)
    parts += _hours(height)
    parts.append("</svg>\n")
    return "\n".join(parts)


def _of_day(samples: Sequence[Sample], day: int) -> list[Sample]:
    return [x for x in samples if day * DAY_S <= x.time_s < (day + 1) * DAY_S]


def _x(time_s: float, day: int) -> float:
    return _LEFT + _WIDTH * (time_s - day * DAY_S) / DAY_S


def _modes_and_loops(samples: Sequence[Sample], day: int, top: float) -> Iterator[str]:
    end = _x((day + 1) * DAY_S, day)
    for mode, x, to in _spans([(s.mode, _x(s.time_s, day)) for s in samples], end):
        yield _rectangle(x, top, to - x, _ROW, _MODES[mode][0])
    for loop, x, to in _spans([(s.loop, _x(s.time_s, day)) for s in samples], end):
        if loop is not None:
            width = max(to - x, _LEAST_WIDTH)
            yield _rectangle(x, top + _ROW - _BAR, width, _BAR, COLORS[loop])


def _spans[T](
    values: Sequence[tuple[T, float]], end: float
) -> Iterator[tuple[T, float, float]]:
    """Joins neighbours of the same value; each with where it begins and ends."""
    begin = 0
    for index in range(1, len(values) + 1):
        if index == len(values) or values[index][0] != values[begin][0]:
            to = values[index][1] if index < len(values) else end
            yield values[begin][0], values[begin][1], to
            begin = index


def _curves(
    samples: Sequence[Sample], day: int, top: float, budgets: Budgets
) -> Iterator[str]:
    room = _ROW - _BAR - 4

    def y(share: float) -> float:
        return top + 2 + room * (1 - min(max(share, 0.0), 1.0))

    limit = y(budgets.temperature_c / _HOTTEST_C)
    yield (
        f'<path d="M{_LEFT} {limit:.1f}h{_WIDTH}" stroke="{_HEAT}" '
        'stroke-width="0.6" stroke-dasharray="2 3" fill="none"/>'
    )
    kept = [samples[0]] + [
        one
        for before, one in pairwise(samples)
        if one.time_s // _CURVE_S != before.time_s // _CURVE_S
    ]
    heat = [(_x(s.time_s, day), y(s.temperature_c / _HOTTEST_C)) for s in kept]
    yield _curve(heat, _HEAT)
    charge = [
        (_x(s.time_s, day), y(s.battery_percent / 100))
        for s in kept
        if s.battery_percent is not None
    ]
    if charge:
        yield _curve(charge, _CHARGE)


def _shares(record: DayRecord, budgets: Budgets, top: float) -> Iterator[str]:
    shares = (
        ("night", record.used.wall_s, budgets.wall_s_per_night, "s"),
        ("processor", record.used.processor_s, budgets.processor_s_per_day, "s"),
        ("disk", record.used.disk_bytes, budgets.disk_bytes_per_day, "bytes"),
    )
    left, room = _LEFT + _WIDTH + 66, 66
    for row, (name, used, allowed, unit) in enumerate(shares):
        y = top + 4 + 16 * row
        share = used / allowed if allowed else 0.0
        shown = f"{used / 60:.0f} min" if unit == "s" else f"{used / 1e6:.1f} MB"
        yield _text(left - 56, y + 8, name)
        yield _rectangle(left, y, room, 9, "#d5d9df")
        yield _rectangle(left, y, room * min(share, 1.0), 9, COLORS[SLOW])
        yield _text(left + room + 5, y + 8, f"{shown}, {share:.0%}")


def _legend() -> Iterator[str]:
    x = float(_LEFT)
    yield _text(4, 14, "mode")
    for color, name in _MODES.values():
        yield _rectangle(x, 5, 12, 10, color)
        yield _text(x + 16, 14, name)
        x += 72
    for name in LOOPS:
        yield _rectangle(x, 5, 12, 10, COLORS[name])
        yield _text(x + 16, 14, f"{name} loop")
        x += 86
    x = float(_LEFT)
    for color, name in ((_HEAT, "heat, limit dashed"), (_CHARGE, "battery")):
        yield f'<path d="M{x} 29h12" stroke="{color}" stroke-width="1.4"/>'
        yield _text(x + 16, 32, name)
        x += 120
    yield _text(_LEFT + _WIDTH + 10, 32, "used since noon, of the budget")


def _hours(height: float) -> Iterator[str]:
    for hours in range(0, 25, 3):
        x = _x(hours * HOUR_S, 0)
        yield _text(x, height - 12, f"{(hours + 12) % 24}:00", anchor="middle")


def _curve(points: Sequence[tuple[float, float]], color: str) -> str:
    where = " ".join(f"{x:.0f},{y:.1f}" for x, y in points)
    return f'<polyline points="{where}" stroke="{color}" fill="none"/>'


def _rectangle(x: float, y: float, width: float, height: float, color: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill="{color}"/>'
    )


def _text(
    x: float, y: float, text: str, anchor: str = "start", weight: str = "normal"
) -> str:
    more = "" if weight == "normal" else f' font-weight="{weight}"'
    if anchor != "start":
        more += f' text-anchor="{anchor}"'
    return f'<text x="{x:.0f}" y="{y:.0f}"{more}>{saxutils.escape(text)}</text>'
