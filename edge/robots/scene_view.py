"""The true state of a scene beside what a robot senses of it, for its expert alone.

A scripted expert needs to know where things are. A robot that does not sense it, since
its sensors are poor or since it has a camera instead, observes with the scene beside;
the recording holds what the sensors read.
"""

from dataclasses import dataclass

from edge.robots.robot import Observation, Policy, Vector


@dataclass(frozen=True)
class WatchedObservation(Observation):
    """An observation together with the true state of the scene.

    Attributes:
        scene: what the expert is shown, f32.
    """

    scene: Vector


class SceneView:
    """Shows a policy the scene instead of the readings; see `Policy`."""

    def __init__(self, policy: Policy) -> None:
        """Wraps the policy that sees the scene."""
        self._policy = policy

    def reset(self, task: str) -> None:
        """See `Policy.reset`."""
        self._policy.reset(task)

    def propose(self, observation: Observation) -> Vector:
        """The policy's action for the scene.

        Raises:
            TypeError: the observation does not come with its scene.
        """
        if not isinstance(observation, WatchedObservation):
            raise TypeError(
                "expert of a robot that does not sense its scene: expected an"
                f" observation with the scene, got {type(observation).__name__}; open"
                " robot and expert by the same name"
            )
        seen = Observation(observation.scene, observation.t_monotonic_ns)
        action: Vector = self._policy.propose(seen)
        return action
