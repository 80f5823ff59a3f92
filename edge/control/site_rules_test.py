import json
from pathlib import Path

import pytest

from edge.control import site_rules
from edge.control.safety import SafetyConfig
from edge.control.stop_rules import StopRules, Workspace
from edge.errors import SafetyConfigError
from edge.robots.robot import RobotSpec

BOX = {"channels": [0, 1], "minimum": [-0.5, 0], "maximum": [0.5, 1]}


def write(folder: Path, rules: object, **changes: object) -> Path:
    path = folder / "site.json"
    content = {"schema_version": 1, "stop_rules": rules} | changes
    path.write_text(json.dumps(content))
    return path


def add(package: StopRules, site: StopRules) -> SafetyConfig:
    own = SafetyConfig("1", (-1.0,), (1.0,), max_steps=7, stop_rules=package)
    spec = RobotSpec(3, 1, 50.0, "arm", "desk", "wipe", (-1.0,), (1.0,), False)
    return site_rules.add(own, site, spec)


def test_rules_of_a_site_are_read_and_what_it_leaves_out_stays_off(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, {"workspace": BOX, "late_share": 0.5})
    found = site_rules.read(str(path))
    box = Workspace((0, 1), (-0.5, 0.0), (0.5, 1.0))
    assert found == StopRules(workspace=box, late_share=0.5)


def test_site_without_a_file_has_no_rule() -> None:
    assert site_rules.read(None) == StopRules()


def test_stricter_of_two_rules_holds_and_the_rest_of_the_config_stays() -> None:
    package = StopRules(action_limit=2.0, action_rate=0.5, late_in_a_row=5)
    site = StopRules(action_limit=3.0, action_rate=0.25, late_share=0.1)
    found = add(package, site)
    assert found.stop_rules == StopRules(
        action_limit=2.0, action_rate=0.25, late_in_a_row=5, late_share=0.1
    )
    assert (found.version, found.max_steps) == ("1", 7)


def test_robot_must_be_inside_both_workspaces() -> None:
    package = StopRules(workspace=Workspace((0, 2), (-1.0, 0.0), (0.25, 1.0)))
    site = StopRules(workspace=Workspace((0, 1), (-0.5, 0.0), (0.5, 1.0)))
    found = add(package, site).stop_rules.workspace
    assert found == Workspace((0, 2, 1), (-0.5, 0.0, 0.0), (0.25, 1.0, 1.0))
    assert add(package, StopRules()).stop_rules == package
    assert add(StopRules(), site).stop_rules == site


def test_workspaces_without_a_common_part_are_refused() -> None:
    package = StopRules(workspace=Workspace((0,), (0.0,), (1.0,)))
    site = StopRules(workspace=Workspace((0,), (2.0,), (3.0,)))
    with pytest.raises(SafetyConfigError, match="minimum below maximum"):
        add(package, site)


def test_workspace_of_a_site_in_a_channel_that_the_robot_lacks_is_refused() -> None:
    site = StopRules(workspace=Workspace((3,), (0.0,), (1.0,)))
    with pytest.raises(SafetyConfigError, match="the 3 channels of arm"):
        add(StopRules(), site)


@pytest.mark.parametrize(
    ("rules", "changes", "reason"),
    [
        ({}, {}, "a rule of action_limit, action_rate"),
        ({"max_steps": 5}, {}, r"only fields .* got stop_rules\.max_steps"),
        ({"workspace": {}}, {}, r"field stop_rules\.workspace\.\w+"),
        ([], {}, "an object at stop_rules"),
        ({"late_share": 0.1}, {"schema_version": 2}, "schema_version to be 1"),
        ({"late_share": 0.1}, {"more": 1}, "only fields of the format, got more"),
    ],
)
def test_malformed_file_of_a_site_is_refused_with_the_reason(
    tmp_path: Path, rules: object, changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(SafetyConfigError, match=reason):
        site_rules.read(str(write(tmp_path, rules, **changes)))
