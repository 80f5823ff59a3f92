"""Whether the robot that evaluates perceives what a package reads.

A policy that learned to look and is shown nothing would still act, and its success
would say nothing of the package. So it is not driven at all.
"""

from cloud.errors import BlindRobotError
from cloud.package_build import BuiltPackage
from model import senses
from model.config import WaveCoreConfig


def lacking(model: WaveCoreConfig) -> tuple[str, ...]:
    """Senses of a model that no robot of `//edge:run` has: their state is all."""
    return tuple(senses.shapes(model))


def require(model: WaveCoreConfig, built: BuiltPackage, environment: str) -> None:
    """Refuses to evaluate a package on a robot that lacks one of its senses.

    Args:
        model: what the package holds.
        built: the package.
        environment: kind of simulated robot.

    Raises:
        BlindRobotError: the package reads more than the robot's state.
    """
    if names := lacking(model):
        raise BlindRobotError(
            f"{built.folder}: expected a robot with {' and '.join(names)} to evaluate"
            f" the package on, got {environment}, which has its state alone; the"
            " package is whole, not blessed and not published; train with --nosenses"
            " to evaluate what the state is enough for"
        )
