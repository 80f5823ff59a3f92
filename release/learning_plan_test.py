"""A plan that a robot could not follow is refused before the package is activated."""

from collections.abc import Callable
from typing import Any

import pytest

from base.errors import MalformedError
from base.json_fields import Fields
from release import learning_plan
from release.learning_plan import Calls, LearningPlan

INPUTS = {
    "begin": ("deltas", "last_good", "memories", "seed"),
    "step": ("weights", "memories", "state", "calls"),
    "end": ("state",),
}
OUTPUTS = {"begin": ("state",), "step": ("state",), "end": ("deltas",)}
PLAN: dict[str, Any] = {
    "loops": {
        "slow": [
            {"function": "begin", "calls": 1},
            {"function": "step", "calls": 600},
            {"function": "end", "calls": 1},
        ]
    },
    "memory_bytes": 1000,
}


def parse(value: dict[str, Any]) -> LearningPlan:
    fields = Fields({"learning": value}, "package.json", ("learning",))
    inner = fields.fields("learning", ("loops", "memory_bytes"))
    return learning_plan.parse(inner, INPUTS, OUTPUTS)


def test_plan_is_read_in_order() -> None:
    plan = parse(PLAN)
    assert plan.loops == {
        "slow": (Calls("begin", 1), Calls("step", 600), Calls("end", 1))
    }
    assert plan.memory_bytes == 1000


def test_package_may_have_no_loop() -> None:
    assert parse({"loops": {}, "memory_bytes": 1}).loops == {}


def loop(*entries: tuple[str, int]) -> Callable[[], dict[str, Any]]:
    listed = [{"function": name, "calls": calls} for name, calls in entries]
    return lambda: {"loops": {"slow": listed}, "memory_bytes": 1}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (loop(("begin", 1), ("dream", 1)), "a function of the package.*dream"),
        (loop(("step", 1), ("end", 1)), "known by then, not state.*step"),
        (loop(("begin", 1), ("step", 1)), "slow to return deltas"),
        (loop(("begin", 0), ("end", 1)), "at least 1"),
        (loop(("begin", 1), ("step", 100_001), ("end", 1)), "at most 100000"),
        (loop(), "1 to 64 entries"),
        (loop(*[("begin", 1)] * 64, ("end", 1)), "1 to 64 entries"),
        (lambda: {"loops": {"dream": []}, "memory_bytes": 1}, "dream"),
        (lambda: {"loops": {}, "memory_bytes": 0}, "at least 1"),
    ],
)
def test_plan_that_cannot_be_followed_is_refused_by_name(
    wrong: Callable[[], dict[str, Any]], message: str
) -> None:
    with pytest.raises(MalformedError, match=message):
        parse(wrong())


def test_name_of_an_array_begins_with_its_keyword() -> None:
    paths = ["state/views/gain", "state/loss", "deltas/head", "calls"]
    assert learning_plan.top_names(paths) == {"state", "deltas", "calls"}
