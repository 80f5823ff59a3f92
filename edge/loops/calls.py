"""Runs what a package says about learning: calls of its functions, one after the other.

A package lists, for each loop, which of its functions to call and how often
(`learning`). What a function returns is kept under its name and handed to the next one
that takes it; a part of a dictionary, such as the deltas of two surfaces, replaces that
part. So a package may learn in a new way under an old runtime. Each call
is short; between two of them the robot can be needed, and then learning stops.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from release.learning_plan import Calls

Function = Callable[..., Mapping[str, Any]]


def run_calls(
    loop: Sequence[Calls],
    functions: Mapping[str, tuple[Function, Iterable[str]]],
    values: Mapping[str, Any],
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any] | None:
    """Makes the calls of a loop; returns all values by name, or None if it stopped.

    Args:
        loop: what to call, in order.
        functions: each function of the loop, and the names of the values that it takes.
        values: what is known before the first call. `calls` and `index`, how often the
            present function is called in a row and which of these calls it is, from 0,
            are added.
        should_stop: asked before every call.

    Raises:
        KeyError: a function takes a value that nothing has returned yet; a package is
            checked for that when it is opened.
    """
    known = dict(values)
    for entry in loop:
        function, names = functions[entry.function]
        for index in range(entry.calls):
            if should_stop():
                return None
            now = {**known, "calls": entry.calls, "index": index}
            returned = function(**{name: now[name] for name in names})
            for name, value in returned.items():
                known[name] = _replace(known.get(name), value)
    return known


def _replace(before: object, after: object) -> object:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return {**before, **after}
    return after
