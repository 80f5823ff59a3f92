"""Whether one robot recorded the episodes of a dataset, at one control rate.

A model of two robots fits neither, and one of two rates acts too fast or too slowly at
both. Everything is said with how many episodes it concerns and which.
"""

import collections
from collections.abc import Mapping, Sequence

import numpy as np

from base.errors import one_line

RATE_TOLERANCE = 0.05
"""Relative difference of control periods that a driver's own clock explains."""

_NS_PER_S = 1e9
_NAMED = 3  # episodes


def measure_period_ns(times_ns: np.ndarray) -> int | None:
    """Returns the median time between two steps i64 [t]; None of a single step."""
    return int(np.median(np.diff(times_ns))) if len(times_ns) > 1 else None


def describe_rates(periods_ns: Mapping[str, int | None]) -> list[str]:
    """Returns a line about episodes of another rate, and one about those without time.

    Args:
        periods_ns: median time between two steps of each episode, by its id.
    """
    lines = []
    still = [name for name, period in periods_ns.items() if period == 0]
    if still:
        lines.append(
            f"no time passes between the steps of {len(still)} of {len(periods_ns)} "
            f"episodes: {_name(still)}"
        )
    known = {name: period for name, period in periods_ns.items() if period}
    if not known:
        return lines
    common = float(np.median(list(known.values())))
    others = [
        name
        for name, period in known.items()
        if abs(period / common - 1.0) > RATE_TOLERANCE
    ]
    if others:
        rates = sorted({f"{_NS_PER_S / known[name]:.3g}" for name in others})
        lines.append(
            f"{len(others)} of {len(periods_ns)} episodes have {_some(rates)} control "
            f"steps per second and not {_NS_PER_S / common:.3g}: {_name(others)}"
        )
    return lines


def describe_values(values: Mapping[str, object]) -> str:
    """Lists the values of episodes, the most frequent first, with their numbers.

    The episodes of all but the first are named, such as
    `sawyer (53), panda (2: 019b…, 019b…)`.

    Args:
        values: a value for each episode, by its id.
    """
    found: dict[str, list[str]] = collections.defaultdict(list)
    for name, value in values.items():
        found[one_line(value)].append(name)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return _some(
        [
            f"{value} ({len(names)}{f': {_name(names)}' if position else ''})"
            for position, (value, names) in enumerate(ordered)
        ]
    )


def _name(names: Sequence[str]) -> str:
    return _some(sorted(names))


def _some(texts: Sequence[str]) -> str:
    more = "" if len(texts) <= _NAMED else f" and {len(texts) - _NAMED} more"
    return ", ".join(texts[:_NAMED]) + more
