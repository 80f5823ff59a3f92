from typing import Any

import pytest

from edge.loops.calls import Function, run_calls
from release.learning_plan import Calls

LOOP = [Calls("begin", 1), Calls("step", 3), Calls("end", 1)]


def begin(deltas: int) -> dict[str, Any]:
    return {"state": [deltas]}


def step(state: list[int], calls: int, index: int) -> dict[str, Any]:
    return {"state": [*state, 10 * calls + index]}


def end(state: list[int]) -> dict[str, Any]:
    return {"deltas": state}


FUNCTIONS: dict[str, tuple[Function, tuple[str, ...]]] = {
    "begin": (begin, ("deltas",)),
    "step": (step, ("state", "calls", "index")),
    "end": (end, ("state",)),
}


def test_each_call_takes_what_the_ones_before_returned() -> None:
    ended = run_calls(LOOP, FUNCTIONS, {"deltas": 7, "unused": 1})
    assert ended is not None
    assert ended["deltas"] == [7, 30, 31, 32]
    assert ended["unused"] == 1


@pytest.mark.parametrize("stop", range(5))
def test_loop_stops_between_any_two_calls(stop: int) -> None:
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(len(asked))
        return len(asked) > stop

    assert run_calls(LOOP, FUNCTIONS, {"deltas": 7}, should_stop) is None
    assert len(asked) == stop + 1


def test_values_that_were_given_stay_as_they_were() -> None:
    given = {"deltas": 7}
    run_calls(LOOP, FUNCTIONS, given)
    assert given == {"deltas": 7}


def test_part_of_a_dictionary_replaces_that_part() -> None:
    def fast(deltas: dict[str, int]) -> dict[str, Any]:
        return {"deltas": {"adapters": deltas["adapters"] + 1}}

    given = {"deltas": {"adapters": 1, "head": 2}}
    ended = run_calls([Calls("fast", 2)], {"fast": (fast, ("deltas",))}, given)
    assert ended is not None
    assert ended["deltas"] == {"adapters": 3, "head": 2}
