"""The scripted expert of a simulated robot as an actor, which only demonstrates."""

from edge.actors.actor import EXPERT, Signal, Stage
from edge.errors import ActorUnavailableError
from edge.robots import registry
from edge.robots.robot import Observation, Vector


class Expert:
    """An `Actor` that sees what the robot senses, and takes over from nobody."""

    def __init__(self, stage: Stage) -> None:
        """Opens the expert of the robot's task.

        Raises:
            SimulatedOnlyError: the robot is not simulated.
            EdgeError: as `registry.open_expert`.
        """
        registry.require_simulated(
            "--robot", "the scripted expert", stage.robot, stage.spec
        )
        if stage.device is not None:
            raise ActorUnavailableError(
                "--actor_device",
                "an actor with a device",
                "the scripted expert",
                "leave the flag out, or choose another --actor",
            )
        speed = 1.0 if stage.speed is None else stage.speed
        self._policy = registry.open_expert(stage.robot, speed)

    @property
    def name(self) -> str:
        """See `Actor.name`."""
        return EXPERT

    def may_begin(self, wait_s: float = 0.0) -> bool | None:
        """See `Actor.may_begin`; it is always ready."""
        del wait_s
        return True

    def reset(self, task: str) -> None:
        """See `Actor.reset`."""
        self._policy.reset(task)

    def signal(self) -> Signal:
        """See `Actor.signal`; it wants nothing."""
        return Signal()

    def propose(self, observation: Observation) -> Vector:
        """See `Actor.propose`."""
        action: Vector = self._policy.propose(observation)
        return action

    def close(self) -> None:
        """See `Actor.close`; it has no device."""
