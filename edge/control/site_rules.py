"""Stop rules of the place where a robot stands, beside those of the package.

A package drives many robots and knows none of their desks: where the wall is, an
operator says in a file, which holds for every package and for demonstrations too.

    {"schema_version": 1,
     "stop_rules": {"workspace": {"channels": [0, 1, 2],
                                  "minimum": [-0.3, 0.4, 0.05],
                                  "maximum": [0.3, 0.8, 0.4]}}}

The rules are those of `safety.json` that may be left out. Where both state one, the
stricter holds.
"""

import dataclasses
from pathlib import Path

from base import plain_file
from base.errors import MalformedError, OversizedError
from base.json_fields import Fields, decode
from edge.control import stop_rules
from edge.control.safety import SafetyConfig, check_fits
from edge.control.stop_rules import StopRules, Workspace
from edge.errors import SafetyConfigError
from edge.robots.robot import RobotSpec
from release.limits import LIMITS

SCHEMA_VERSION = 1


def read(name: str | None) -> StopRules:
    """Reads the file of a site; without one there is no rule.

    Raises:
        SafetyConfigError: it is malformed, or states no rule or one that is unknown.
        OSError: it cannot be read.
    """
    if name is None:
        return StopRules()
    path = Path(name)
    raw = plain_file.read(path, LIMITS.manifest_bytes)
    try:
        value = decode(raw, path, LIMITS.manifest_bytes)
        fields = Fields(value, path, ("schema_version", "stop_rules"))
        fields.version(SCHEMA_VERSION)
        rules = stop_rules.read(
            fields.fields("stop_rules", (), optional=stop_rules.NAMES)
        )
    except (MalformedError, OversizedError) as e:
        raise SafetyConfigError(path, e.expected, e.got, "correct the file") from e
    if rules == StopRules():
        raise SafetyConfigError(
            path, f"a rule of {', '.join(stop_rules.NAMES)}", "none", "state one"
        )
    return rules


def add(config: SafetyConfig, rules: StopRules, spec: RobotSpec) -> SafetyConfig:
    """Returns the config of a robot with the rules of the site added to its own.

    Raises:
        SafetyConfigError: the two workspaces have nothing in common, or the site's is
            in a channel that the robot does not have.
    """
    own = config.stop_rules
    both = StopRules(
        action_limit=_lower(own.action_limit, rules.action_limit),
        action_rate=_lower(own.action_rate, rules.action_rate),
        workspace=_intersect(own.workspace, rules.workspace),
        late_in_a_row=_lower(own.late_in_a_row, rules.late_in_a_row),
        late_share=_lower(own.late_share, rules.late_share),
    )
    added = dataclasses.replace(config, stop_rules=both)
    check_fits(added, spec)
    return added


def describe(rules: StopRules) -> dict[str, str]:
    """Returns what the name of a simulated episode depends on; nothing without rules.

    So episodes that were recorded without rules keep their names.
    """
    return {} if rules == StopRules() else {"stop_rules": str(rules)}


def _lower[Number: (int, float)](
    one: Number | None, two: Number | None
) -> Number | None:
    stated = [value for value in (one, two) if value is not None]
    return min(stated) if stated else None


def _intersect(one: Workspace | None, two: Workspace | None) -> Workspace | None:
    """The box inside both; a channel that only one of them names keeps its side."""
    if one is None or two is None:
        return one or two
    sides: dict[int, tuple[float, float]] = {}
    for box in (one, two):
        for channel, low, high in zip(
            box.channels, box.minimum, box.maximum, strict=True
        ):
            lowest, highest = sides.get(channel, (low, high))
            sides[channel] = max(low, lowest), min(high, highest)
    return Workspace(
        tuple(sides),
        tuple(low for low, _ in sides.values()),
        tuple(high for _, high in sides.values()),
    )
