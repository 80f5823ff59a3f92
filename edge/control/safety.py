"""Limits on actions, stop rules, and the pure function that applies them.

A package has its own `safety.json`; the default limits of a robot are those of its
spec. An action outside the limits is saturation, which is normal (a good policy pushes
against them): the action is clamped and both values are recorded. An action that is not
a number is a *violation* of a stop rule: the robot holds still and the episode ends. A
config may have more such rules (`stop_rules.py`); one without them reads as before.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from base.errors import MalformedError, OversizedError
from base.json_fields import Fields, decode
from edge.control import stop_rules
from edge.control.stop_rules import StopRules
from edge.errors import ActionShapeError, SafetyConfigError
from edge.robots.robot import RobotSpec, Vector
from release.limits import LIMITS

SCHEMA_VERSION = 1
DEFAULT_MAX_STEPS = 500
_KEYS = {
    "schema_version",
    "version",
    "action_minimum",
    "action_maximum",
    "max_action_delta",
    "stop_rules",
}
_REQUIRED_RULES = ("max_steps", "non_finite_action")
_NO_RULES = StopRules()


@dataclass(frozen=True)
class SafetyConfig:
    """Limits on actions and the rules that end an episode.

    Attributes:
        version: name of this config in packages and reports.
        action_minimum: lowest executed value per component.
        action_maximum: highest executed value per component.
        max_action_delta: largest change of a component from one executed action to the
            next; None for no limit.
        max_steps: an episode ends after this many actions.
        stop_rules: what else ends it, as a safety violation.
    """

    version: str
    action_minimum: tuple[float, ...]
    action_maximum: tuple[float, ...]
    max_action_delta: float | None = None
    max_steps: int = DEFAULT_MAX_STEPS
    stop_rules: StopRules = _NO_RULES

    def __post_init__(self) -> None:
        """Checks that the limits are finite and each minimum is below its maximum.

        Raises:
            SafetyConfigError: a limit is missing or not finite, a minimum is not below
                its maximum, or `max_action_delta` or `max_steps` is not positive.
        """
        if not self.action_minimum or len(self.action_minimum) != len(
            self.action_maximum
        ):
            raise SafetyConfigError(
                "safety config",
                "as many action minima as maxima",
                f"{len(self.action_minimum)} and {len(self.action_maximum)}",
            )
        for low, high in zip(self.action_minimum, self.action_maximum, strict=True):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise SafetyConfigError(
                    "safety config",
                    "finite limits with minimum below maximum",
                    f"{low} and {high}",
                )
        delta = self.max_action_delta
        if delta is not None and not (math.isfinite(delta) and delta > 0):
            raise SafetyConfigError(
                "safety config", "a positive max_action_delta", delta
            )
        if self.max_steps <= 0:
            raise SafetyConfigError(
                "safety config", "a positive max_steps", self.max_steps
            )


@dataclass(frozen=True)
class SafeAction:
    """The action that the robot executes.

    Attributes:
        action: [action_size] f32 within the limits.
        clamped: whether the limits changed the proposed action.
        violation: whether a stop rule fired; the action then holds the robot still.
    """

    action: Vector
    clamped: bool
    violation: bool


def config_for(spec: RobotSpec) -> SafetyConfig:
    """The robot's own limits as a safety config."""
    return SafetyConfig(
        version=f"{spec.robot_model}-default",
        action_minimum=spec.action_minimum,
        action_maximum=spec.action_maximum,
    )


def parse(raw: bytes, source: str = "safety.json") -> SafetyConfig:
    """Reads the `safety.json` of a package.

    Args:
        raw: the file's bytes.
        source: the name used in errors.

    Raises:
        SafetyConfigError: the bytes are not a safety config of this version.
    """
    try:
        value = decode(raw, source, LIMITS.manifest_bytes)
    except (MalformedError, OversizedError) as e:
        raise SafetyConfigError(source, e.expected, e.got) from e
    if not isinstance(value, dict) or set(value) != _KEYS:
        raise SafetyConfigError(source, f"the keys {sorted(_KEYS)}", _list_keys(value))
    if value["schema_version"] != SCHEMA_VERSION:
        raise SafetyConfigError(
            source,
            f"schema_version {SCHEMA_VERSION}",
            f"{value['schema_version']!r}",
            "update this runtime",
        )
    max_steps, rules = _parse_rules(value["stop_rules"], source)
    delta = value["max_action_delta"]
    return SafetyConfig(
        version=_read_text(value["version"], source),
        action_minimum=_read_numbers(value["action_minimum"], source),
        action_maximum=_read_numbers(value["action_maximum"], source),
        max_action_delta=None if delta is None else _read_numbers([delta], source)[0],
        max_steps=max_steps,
        stop_rules=rules,
    )


def _parse_rules(value: object, source: str) -> tuple[int, StopRules]:
    """Reads the limit on steps and the optional rules; an unknown rule is refused."""
    if not isinstance(value, dict) or not {*_REQUIRED_RULES} <= set(value):
        raise SafetyConfigError(
            source, "stop_rules with max_steps and non_finite_action", _list_keys(value)
        )
    if value["non_finite_action"] != "stop":
        raise SafetyConfigError(
            source, "non_finite_action 'stop'", f"{value['non_finite_action']!r}"
        )
    try:
        fields = Fields(value, source, _REQUIRED_RULES, "stop_rules", stop_rules.NAMES)
        rules = stop_rules.read(fields)
    except MalformedError as e:
        remedy = "update this runtime, or correct the safety config"
        raise SafetyConfigError(source, e.expected, e.got, remedy) from e
    return _read_count(value["max_steps"], source), rules


def _list_keys(value: object) -> object:
    return sorted(value) if isinstance(value, dict) else value


def check_fits(config: SafetyConfig, spec: RobotSpec) -> None:
    """Checks that a config fits the robot's action.

    Raises:
        SafetyConfigError: the sizes differ, a limit is outside the robot's own, or the
            workspace names a channel that the robot does not have.
    """
    if len(config.action_minimum) != spec.action_size:
        raise SafetyConfigError(
            f"safety config {config.version}",
            f"{spec.action_size} action limits for {spec.robot_model}",
            len(config.action_minimum),
        )
    lower = zip(config.action_minimum, spec.action_minimum, strict=True)
    upper = zip(config.action_maximum, spec.action_maximum, strict=True)
    if any(a < b for a, b in lower) or any(a > b for a, b in upper):
        raise SafetyConfigError(
            f"safety config {config.version}",
            f"limits within those of {spec.robot_model}",
            f"{config.action_minimum} to {config.action_maximum}",
        )
    box = config.stop_rules.workspace
    if box is not None and max(box.channels) >= spec.state_size:
        raise SafetyConfigError(
            f"safety config {config.version}",
            f"a workspace in the {spec.state_size} channels of {spec.robot_model}",
            f"channels {list(box.channels)}",
        )


def safe_action(
    config: SafetyConfig, wanted: npt.NDArray[Any], previous: Vector | None
) -> SafeAction:
    """Clamps an action, or holds the robot still if the action is not finite.

    Args:
        config: the limits.
        wanted: [action_size], any float type.
        previous: the last executed action of this episode; None at its start.

    Raises:
        ActionShapeError: `wanted` has another shape than the limits.
    """
    minimum = np.asarray(config.action_minimum, np.float32)
    maximum = np.asarray(config.action_maximum, np.float32)
    if wanted.shape != minimum.shape:
        raise ActionShapeError(
            "policy", f"an action of shape {minimum.shape}", wanted.shape
        )
    if not np.isfinite(wanted).all():
        return SafeAction(action=hold_action(config), clamped=True, violation=True)
    if config.max_action_delta is not None and previous is not None:
        minimum = np.maximum(minimum, previous - np.float32(config.max_action_delta))
        maximum = np.minimum(maximum, previous + np.float32(config.max_action_delta))
    clamped = bool(np.any((wanted < minimum) | (wanted > maximum)))
    action: Vector = np.clip(wanted, minimum, maximum).astype(np.float32)
    return SafeAction(action=action, clamped=clamped, violation=False)


def hold_action(config: SafetyConfig) -> Vector:
    """The action [A] f32 that is recorded of a robot that was held: 0 within limits."""
    zero = np.zeros(len(config.action_minimum), np.float32)
    return np.clip(
        zero,
        np.asarray(config.action_minimum, np.float32),
        np.asarray(config.action_maximum, np.float32),
    )


def _read_text(value: object, source: str) -> str:
    if not isinstance(value, str) or not value:
        raise SafetyConfigError(source, "a version text", f"{value!r}")
    return value


def _read_numbers(value: object, source: str) -> tuple[float, ...]:
    if not isinstance(value, list):
        raise SafetyConfigError(source, "a list of numbers", f"{value!r}")
    for item in value:
        if isinstance(item, bool) or not isinstance(item, int | float):
            raise SafetyConfigError(source, "a number", f"{item!r}")
    return tuple(float(item) for item in value)


def _read_count(value: object, source: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise SafetyConfigError(source, "a whole number", f"{value!r}")
    return value
