"""Whether the robot that evaluates perceives what a model reads.

A policy that learned to look and is shown nothing would still act, and its success
would say nothing of the package. So it is not even trained.
"""

from cloud.errors import BlindRobotError
from model import senses
from model.config import WaveCoreConfig


def require(model: WaveCoreConfig, environment: str) -> None:
    """Refuses to train what no robot of `//edge:run` can be driven by.

    Args:
        model: what is to be trained.
        environment: kind of simulated robot that is to evaluate it.

    Raises:
        BlindRobotError: the model reads more than the robot's state.
    """
    if names := tuple(senses.shapes(model)):
        raise BlindRobotError(
            "dataset",
            f"a robot with {' and '.join(names)} to evaluate the model on",
            f"{environment}, which has its state alone",
            "train with --nosenses, if the state is enough for the tasks, or on "
            "another dataset",
        )
