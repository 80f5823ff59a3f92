import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.control import safety
from edge.control.stop_rules import StopRules, Workspace
from edge.errors import ActionShapeError, SafetyConfigError
from edge.robots.robot import RobotSpec

CONFIG = safety.SafetyConfig(
    version="test", action_minimum=(-1.0, -2.0), action_maximum=(1.0, 0.5)
)
FILE = {
    "schema_version": 1,
    "version": "7",
    "action_minimum": [-1.0, -2],
    "action_maximum": [1.0, 0.5],
    "max_action_delta": None,
    "stop_rules": {"max_steps": 500, "non_finite_action": "stop"},
}


@given(st.tuples(st.floats(), st.floats()))
def test_executed_action_is_always_within_the_limits(
    values: tuple[float, float],
) -> None:
    wanted = np.array(values)
    safe = safety.safe_action(CONFIG, wanted, previous=None)
    assert safe.action.dtype == np.float32
    assert np.all(safe.action >= [-1.0, -2.0])
    assert np.all(safe.action <= [1.0, 0.5])
    assert safe.violation == (not np.isfinite(wanted).all())


def test_action_within_the_limits_is_executed_unchanged() -> None:
    wanted = np.array([0.1, -1.9])
    safe = safety.safe_action(CONFIG, wanted, previous=None)
    np.testing.assert_array_equal(safe.action, wanted.astype(np.float32))
    assert not safe.clamped


def test_action_outside_the_limits_is_clamped_without_a_violation() -> None:
    safe = safety.safe_action(CONFIG, np.array([3.0, 3.0]), previous=None)
    np.testing.assert_array_equal(safe.action, np.array([1.0, 0.5], np.float32))
    assert safe.clamped
    assert not safe.violation


def test_action_that_is_not_finite_holds_still_within_the_limits() -> None:
    config = safety.SafetyConfig("hold", (0.25,), (1.0,))
    safe = safety.safe_action(config, np.array([np.nan]), previous=None)
    np.testing.assert_array_equal(safe.action, np.array([0.25], np.float32))
    assert safe.violation


def test_change_is_limited_against_the_previous_action() -> None:
    config = safety.SafetyConfig("slow", (-1.0,), (1.0,), max_action_delta=0.25)
    previous = np.array([0.5], np.float32)
    safe = safety.safe_action(config, np.array([-1.0]), previous)
    np.testing.assert_array_equal(safe.action, np.array([0.25], np.float32))
    safe = safety.safe_action(config, np.array([2.0]), np.array([0.9], np.float32))
    np.testing.assert_array_equal(safe.action, np.array([1.0], np.float32))


def test_action_of_another_shape_is_refused() -> None:
    with pytest.raises(ActionShapeError, match=r"expected .* \(2,\), got \(3,\)"):
        safety.safe_action(CONFIG, np.zeros(3), previous=None)


def test_safety_file_of_a_package_is_parsed() -> None:
    config = safety.parse(json.dumps(FILE).encode())
    assert config == safety.SafetyConfig("7", (-1.0, -2.0), (1.0, 0.5), None, 500)


RULES = {
    "max_steps": 500,
    "non_finite_action": "stop",
    "action_limit": 3,
    "action_rate": 0.5,
    "workspace": {"channels": [0, 2], "minimum": [-1, 0.0], "maximum": [1, 0.5]},
    "late_in_a_row": 5,
    "late_share": None,
}


def test_safety_file_may_state_more_stop_rules() -> None:
    found = safety.parse(json.dumps(FILE | {"stop_rules": RULES}).encode())
    assert found.stop_rules == StopRules(
        action_limit=3.0,
        action_rate=0.5,
        workspace=Workspace((0, 2), (-1.0, 0.0), (1.0, 0.5)),
        late_in_a_row=5,
        late_share=None,
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"surprise": "stop"}, r"only fields .* got stop_rules\.surprise; update"),
        ({"action_limit": "far"}, r"stop_rules\.action_limit to be a number"),
        ({"action_rate": -1}, "a positive action_rate"),
        ({"late_in_a_row": 0.5}, "late_in_a_row to be an integer"),
        ({"late_share": 2}, "a positive late_share"),
        ({"workspace": {"channels": [0]}}, r"field stop_rules\.workspace\.maximum"),
        ({"workspace": [0, 1]}, r"an object at stop_rules\.workspace"),
        (
            {"workspace": {"channels": [0.5], "minimum": [0], "maximum": [1]}},
            "channels to be whole numbers",
        ),
        (
            {"workspace": {"channels": [0], "minimum": [1], "maximum": [0]}},
            "minimum below maximum",
        ),
    ],
)
def test_malformed_stop_rule_is_refused_with_the_reason(
    change: dict[str, object], reason: str
) -> None:
    content = FILE | {"stop_rules": RULES | change}
    with pytest.raises(SafetyConfigError, match=reason):
        safety.parse(json.dumps(content).encode())


def test_workspace_in_channels_that_the_robot_lacks_is_refused() -> None:
    spec = RobotSpec(3, 2, 10.0, "arm", "lab", "reach", (-1.0, -2.0), (1.0, 0.5), False)
    box = Workspace((1, 2), (0.0, 0.0), (1.0, 1.0))
    config = dataclasses.replace(CONFIG, stop_rules=StopRules(workspace=box))
    safety.check_fits(config, spec)
    with pytest.raises(SafetyConfigError, match=r"3 channels of arm, got .*\[1, 3\]"):
        box = Workspace((1, 3), (0.0, 0.0), (1.0, 1.0))
        config = dataclasses.replace(CONFIG, stop_rules=StopRules(workspace=box))
        safety.check_fits(config, spec)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema_version": 2}, "expected schema_version 1, got 2"),
        ({"surprise": 1}, "expected the keys"),
        ({"action_minimum": "low"}, "expected a list of numbers"),
        ({"action_minimum": [True, 0.0]}, "expected a number, got True"),
        ({"action_minimum": [-1.0]}, "as many action minima"),
        ({"action_minimum": [2.0, -2.0]}, "minimum below maximum"),
        ({"max_action_delta": 0}, "positive max_action_delta"),
        ({"version": ""}, "expected a version text"),
        ({"stop_rules": {"max_steps": 0, "non_finite_action": "stop"}}, "max_steps"),
        ({"stop_rules": {"max_steps": 1.5, "non_finite_action": "stop"}}, "whole"),
        ({"stop_rules": {"max_steps": 9, "non_finite_action": "go"}}, "'stop'"),
        ({"stop_rules": {}}, "expected stop_rules"),
    ],
)
def test_malformed_file_is_refused_with_the_reason(
    change: dict[str, object], reason: str
) -> None:
    with pytest.raises(SafetyConfigError, match=reason):
        safety.parse(json.dumps(FILE | change).encode())


@pytest.mark.parametrize(
    "raw", [b"\xff", b"[" * 100_000, b'{"a":' * 2000, b"7" * 5000, b"0" * 2**21]
)
def test_file_that_is_not_json_is_refused(raw: bytes) -> None:
    with pytest.raises(SafetyConfigError, match=r"a\.json: expected"):
        safety.parse(raw, source="a.json")


def test_limits_wider_than_the_robots_are_refused() -> None:
    spec = RobotSpec(3, 2, 10.0, "arm", "lab", "reach", (-1.0, -1.0), (1.0, 1.0), False)
    with pytest.raises(SafetyConfigError, match="within those of arm"):
        safety.check_fits(CONFIG, spec)
    safety.check_fits(safety.config_for(spec), spec)
