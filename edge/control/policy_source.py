"""Who drives a robot: a package, or the scripted expert as the baseline."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from base import plain_file
from edge import errors
from edge.control import hearing, safety
from edge.control.local_delta import LocalDelta
from edge.control.package_policy import PackagePolicy, open_policy
from edge.control.safety import SafetyConfig
from edge.control.sight import list_eyes
from edge.robots import registry
from edge.robots.robot import Policy, RobotSpec
from release.limits import LIMITS
from release.package import SAFETY, ActionSpec, PackageManifest, RobotFit
from release.verification import IntactPackage

_RATE_TOLERANCE: Final = 0.01  # relative; a replayed robot's rate is measured


@dataclass(frozen=True)
class Driver:
    """A policy for each robot, and the safety config that it runs under.

    Attributes:
        package_digest: digest of the package that drives; None for the expert.
        delta_digest: digest of the local delta that it drives with; None for none.
        channel: channel that the package came from; "" if it came from none.
        actor: who acts, as episodes record it: `expert`, or `policy:` and the first 12
            digits of the package's digest.
        policy_for: opens the policy for one robot, given its robot string and spec.
        safety_for: returns the limits for one robot.
    """

    package_digest: str | None
    delta_digest: str | None
    channel: str
    actor: str
    policy_for: Callable[[str, RobotSpec], Policy]
    safety_for: Callable[[RobotSpec], SafetyConfig]


def make_package_driver(
    package: IntactPackage,
    channel: str = "",
    form: str | None = None,
    robots: Mapping[str, RobotSpec] = MappingProxyType({}),
    delta: LocalDelta | None = None,
) -> Driver:
    """Returns the driver that runs a package's step under its own safety config.

    The same policy serves all robots, one after the other. A package that opens here
    can drive the robots: whatever else it could fail at is checked now.

    Args:
        package: the package, its files compared with its manifest.
        channel: channel that it came from; "" for a candidate.
        form: form of its step, such as `f32`; None for the form that it prefers.
        robots: the robots that it is to drive, by robot string, as far as they are
            known; one that is not among them is checked when it is driven.
        delta: what this robot has learned on top of the package; None for nothing.

    Raises:
        StepFunctionError: the step does not load, or does not have the sizes that the
            package states.
        SafetyConfigError: the package's safety config is malformed, or its limits do
            not fit the package or a robot.
        RobotMismatchError, UnknownTaskError: the package does not fit a robot.
    """
    source = str(package.folder)
    policy = open_policy(package, form, delta)
    path = package.path(SAFETY)
    config = safety.parse(plain_file.read(path, LIMITS.manifest_bytes), str(path))
    _require_stated_sizes(package.manifest, policy, config, source)

    def policy_for(name: str, spec: RobotSpec) -> Policy:
        require_fit(source, package.manifest.robot, name, spec)
        safety.check_fits(config, spec)
        return policy

    for name, spec in robots.items():
        policy_for(name, spec)
    return Driver(
        package_digest=package.digest,
        delta_digest=None if delta is None else delta.digest,
        channel=channel,
        actor=f"policy:{package.digest[:12]}",
        policy_for=policy_for,
        safety_for=lambda spec: config,
    )


def make_expert_driver(open_expert: Callable[[str], Policy]) -> Driver:
    """Returns the driver that runs the scripted expert under the robot's limits.

    Its `policy_for` raises SimulatedOnlyError for a robot that is not simulated.
    """

    def policy_for(name: str, spec: RobotSpec) -> Policy:
        registry.require_simulated("--policy", "the scripted expert", name, spec)
        return open_expert(name)

    return Driver(
        package_digest=None,
        delta_digest=None,
        channel="",
        actor="expert",
        policy_for=policy_for,
        safety_for=safety.config_for,
    )


def _require_stated_sizes(
    manifest: PackageManifest, policy: PackagePolicy, config: SafetyConfig, source: str
) -> None:
    """Checks that step and safety config have the sizes that `package.json` states."""
    state = manifest.robot.observation.get("state")
    stated = (None if state is None else state.shape, manifest.robot.action.shape)
    found = ((policy.state_size,), (policy.action_size,))
    if stated != found:
        raise errors.StepFunctionError(
            source,
            f"a step with the state and action shapes {stated} of package.json",
            found,
            "export the package again",
        )
    if len(config.action_minimum) != policy.action_size:
        raise errors.SafetyConfigError(
            f"safety config {config.version} of {source}",
            f"limits of {policy.action_size} action components",
            len(config.action_minimum),
            "export the package again",
        )


def require_fit(source: str, fit: RobotFit, name: str, spec: RobotSpec) -> None:
    """Checks that a package was trained for the robot that is open.

    Raises:
        RobotMismatchError: the model of the robot, the sizes or the control rate
            differ, it lacks a camera or a microphone, or the actions that the package
            was trained for go beyond those of the robot.
        UnknownTaskError: the package was not trained for the robot's task.
    """
    if fit.robot_model not in (None, spec.robot_model):
        raise errors.RobotMismatchError(
            source,
            f"a robot of the model {fit.robot_model!r}",
            f"{spec.robot_model!r} of {name}",
            "choose another robot or another package",
        )
    state = fit.observation.get("state")
    expected = (None if state is None else state.shape, fit.action.shape)
    got = ((spec.state_size,), (spec.action_size,))
    if expected != got:
        raise errors.RobotMismatchError(
            source,
            f"a robot with state and action shapes {expected}",
            f"{got} of {name}",
            "choose another robot or another package",
        )
    _require_cameras(source, fit, name, spec)
    _require_microphone(source, fit, name, spec)
    _require_reachable(source, fit.action, name, spec)
    if abs(spec.control_hz / fit.control_hz - 1.0) > _RATE_TOLERANCE:
        raise errors.RobotMismatchError(
            source,
            f"a robot controlled at {fit.control_hz:g} Hz",
            f"{spec.control_hz:g} Hz of {name}",
            "choose another robot or another package",
        )
    if spec.task not in fit.tasks:
        raise errors.UnknownTaskError(
            source,
            f"a robot with one of the tasks {list(fit.tasks)}",
            f"{spec.task!r} of {name}",
            "choose another robot or another package",
        )


def _require_cameras(source: str, fit: RobotFit, name: str, spec: RobotSpec) -> None:
    """Checks that a robot has the cameras that a package reads; it may have more."""
    wanted = [eye.camera for eye in list_eyes(fit.observation)]
    there = [camera.name for camera in spec.cameras]
    alone = wanted == [""] and len(there) == 1
    if not (alone or set(wanted) <= set(there)):
        raise errors.RobotMismatchError(
            source,
            f"a robot with {'one camera' if wanted == [''] else 'cameras'}"
            f" {', '.join(wanted)}".rstrip(),
            f"{', '.join(there) or 'none'} of {name}",
            "name them with --camera=NAME=SOURCE, or choose another package",
        )


def _require_microphone(source: str, fit: RobotFit, name: str, spec: RobotSpec) -> None:
    """Checks that a robot hears as many bands of sound as a package reads."""
    wanted = hearing.count_bands(fit.observation)
    there = 0 if spec.microphone is None else spec.microphone.bands
    if wanted and wanted != there:
        raise errors.RobotMismatchError(
            source,
            f"a robot with a microphone of {wanted} bands",
            f"{f'{there} bands' if there else 'none'} of {name}",
            "name one with --microphone=SOURCE, or choose another package",
        )


def _require_reachable(
    source: str, action: ActionSpec, name: str, spec: RobotSpec
) -> None:
    """Checks that a package's action limits lie within those of the robot.

    Wider ones mean another robot or another unit. The safety config would clamp such
    actions, and the robot would do something else than the model was trained for.
    """
    limits = zip(
        action.minimum,
        action.maximum,
        spec.action_minimum,
        spec.action_maximum,
        strict=True,
    )
    for low, high, lowest, highest in limits:
        if low < lowest or high > highest:
            raise errors.RobotMismatchError(
                source,
                f"a robot whose actions reach from {low:g} to {high:g}",
                f"{lowest:g} to {highest:g} of {name}",
                "choose another robot or another package",
            )
