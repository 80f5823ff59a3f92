"""Who drives a robot: a package, or the scripted expert as the baseline."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edge import errors
from edge.control import safety
from edge.control.package_policy import open_policy
from edge.control.safety import SafetyConfig
from edge.robots.robot import Policy, RobotSpec
from release.package import SAFETY, RobotFit
from release.verification import IntactPackage

_RATE_TOLERANCE: Final = 0.01  # relative; a replayed robot's rate is measured


@dataclass(frozen=True)
class Driver:
    """A policy for each robot, and the safety config that it runs under.

    Attributes:
        package_digest: digest of the package that drives; None for the expert.
        channel: channel that the package came from; "" if it came from none.
        actor: who acts, as episodes record it: `expert`, or `policy:` and the first 12
            digits of the package's digest.
        policy_for: opens the policy for one robot, given its robot string and spec.
        safety_for: returns the limits for one robot.
    """

    package_digest: str | None
    channel: str
    actor: str
    policy_for: Callable[[str, RobotSpec], Policy]
    safety_for: Callable[[RobotSpec], SafetyConfig]


def make_package_driver(
    package: IntactPackage, channel: str = "", form: str | None = None
) -> Driver:
    """Returns the driver that runs a package's step under its own safety config.

    The same policy serves all robots, one after the other.

    Args:
        package: the package, its files compared with its manifest.
        channel: channel that it came from; "" for a candidate.
        form: form of its step, such as `f32`; None for the form that it prefers.

    Raises:
        StepFunctionError: the step does not load.
        SafetyConfigError: the package's safety config is malformed.
    """
    policy = open_policy(package, form)
    path = package.path(SAFETY)
    config = safety.parse(path.read_bytes(), str(path))

    def policy_for(name: str, spec: RobotSpec) -> Policy:
        require_fit(str(package.folder), package.manifest.robot, name, spec)
        return policy

    return Driver(
        package_digest=package.digest,
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
        require_simulated("--policy", "the scripted expert", name, spec)
        return open_expert(name)

    return Driver(
        package_digest=None,
        channel="",
        actor="expert",
        policy_for=policy_for,
        safety_for=safety.config_for,
    )


def require_simulated(source: str, who: str, name: str, spec: RobotSpec) -> None:
    """Checks that a robot is simulated, before `who` drives it.

    Raises:
        SimulatedOnlyError: it is not.
    """
    if not spec.simulated:
        raise errors.SimulatedOnlyError(
            source,
            f"a simulated robot for {who}",
            name,
            "drive it with a package that is signed and published",
        )


def require_fit(source: str, fit: RobotFit, name: str, spec: RobotSpec) -> None:
    """Checks that a package was trained for the robot that is open.

    Raises:
        RobotMismatchError: the sizes or the control rate differ.
        UnknownTaskError: the package was not trained for the robot's task.
    """
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
