"""What a night found out about the robot's body: as numbers, and in words.

A loop of a package may return `found` beside its new deltas. A robot's runtime knows
these arrays of it and leaves out every other one. A latency below 0, a gain of 0 and an
`explained` of 0 say that nobody looked or nothing was found.

| Array | Kept as | Says |
|---|---|---|
| `latency_steps` [] | `latency_steps` | control steps by which the arm answers later |
| `gain` [a] | `gain_0` … | how far it moves for each command; 1 is as in training |
| `sensor_offset` [n] | `sensor_offset_0` … | by how much a sensor shows too much |
| `sensor_silent` [n] | `sensor_silent_0` … | 1 for a sensor that is not always heard |
| `explained` [] | `explained` | share of the error that other sensors account for |

An offset is in the sensor's own unit. The names are those of
a receipt's counts and of a delta's record, so they stay as they are.
"""

import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

LATENCY, GAIN, OFFSET, SILENT, EXPLAINED = (
    "latency_steps",
    "gain",
    "sensor_offset",
    "sensor_silent",
    "explained",
)
_SHAPES: Final = {LATENCY: 0, GAIN: 1, EXPLAINED: 0, SILENT: 1, OFFSET: 1}
"""Axes of each array, what there may be many of last."""
_SAYS: Final[Mapping[str, Callable[[float], bool]]] = {
    LATENCY: lambda value: value >= 0,
    GAIN: lambda value: value > 0,
    OFFSET: lambda value: value != 0,
    SILENT: lambda value: value > 0,
    EXPLAINED: lambda value: value > 0,
}
"""Numbers of each array that say something."""
_MOST: Final = 32
"""Numbers that are kept: a receipt has room for 64."""
_AS_BEFORE: Final = 0.07
"""Gains are searched in steps of 6 %, so one step from 1 is no other gain."""
_TOLD_SENSORS: Final = 3

Found = Mapping[str, float]


def collect(returned: object) -> dict[str, float]:
    """The numbers of what a loop returned as `found`, by name; a package may say less.

    Args:
        returned: arrays by name, or anything else a package may have returned.
    """
    if not isinstance(returned, Mapping):
        return {}
    kept: dict[str, float] = {}
    for name, axes in _SHAPES.items():
        try:
            array = np.asarray(returned.get(name, math.nan), np.float64)
        except (TypeError, ValueError):  # a package may return anything
            continue
        if array.ndim != axes or array.size > 10 * _MOST:
            continue
        for index, value in enumerate(array.reshape(-1)):
            full = f"{name}_{index}" if axes else name
            if math.isfinite(value) and _SAYS[name](value) and len(kept) < _MOST:
                kept[full] = float(f"{value:.4g}")
    return kept


def describe(found: Found) -> str:
    """Says it on one line, such as `arm 8 steps late, gain 0.82`; "" for nothing."""
    if not found:
        return ""
    told = [*_tell_arm(found), *_tell_sensors(found)]
    if EXPLAINED in found:
        told.append(f"other sensors explain {found[EXPLAINED]:.0%} of the error")
    return ", ".join(told) or "the body as it was"


def _tell_arm(found: Found) -> list[str]:
    told = []
    if late := round(found.get(LATENCY, 0.0)):
        told.append(f"arm {late} step{'s' if late != 1 else ''} late")
    gains = _select(found, GAIN)
    other = {k: gain for k, gain in gains.items() if abs(gain - 1) > _AS_BEFORE}
    if other and max(gains.values()) - min(gains.values()) <= _AS_BEFORE:
        told.append(f"gain {sum(gains.values()) / len(gains):.2f}")
    elif other:
        told += [f"gain {gain:.2f} of command {k}" for k, gain in other.items()]
    return told


def _tell_sensors(found: Found) -> list[str]:
    offsets = _select(found, OFFSET)
    furthest = sorted(offsets, key=lambda k: -abs(offsets[k]))
    told = [
        f"sensor {k} off by {offsets[k]:+.2g}" for k in sorted(furthest[:_TOLD_SENSORS])
    ]
    if more := len(furthest) - _TOLD_SENSORS:
        told += [f"{more} more sensors off"] if more > 0 else []
    silent = _select(found, SILENT)
    if len(silent) == 1:
        told += [f"sensor {k} falls silent" for k in silent]
    elif silent:
        told.append(f"sensors {', '.join(map(str, silent))} fall silent")
    return told


def _select(found: Found, name: str) -> dict[int, float]:
    """The numbers of one array by their index."""
    mine = {
        full.removeprefix(f"{name}_"): value
        for full, value in found.items()
        if full.startswith(f"{name}_")
    }
    return {k: mine[str(k)] for k in sorted(int(k) for k in mine if k.isdecimal())}
