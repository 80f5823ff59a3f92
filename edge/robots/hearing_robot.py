"""A robot with a microphone beside it, which its own driver knows nothing of."""

from collections.abc import Callable
from dataclasses import replace

from edge.robots import microphone_drivers
from edge.robots.clock import Clock
from edge.robots.microphone_drivers import NamedMicrophone
from edge.robots.robot import Observation, Robot, RobotSpec, Transition, Vector


class HearingRobot:
    """Implements `Robot` with another one, and adds sound to what that senses."""

    def __init__(
        self, robot: Robot, named: NamedMicrophone, tell: Callable[[str], None]
    ) -> None:
        """Takes over an open robot and begins to listen.

        Args:
            robot: must then be driven only through this one.
            named: in words of `--microphone`.
            tell: gets a line about a microphone that cannot be opened or read.

        Raises:
            MicrophoneError: the robot has a microphone of its own.
        """
        microphone = microphone_drivers.add_to(robot.spec)
        self._spec = replace(robot.spec, microphone=microphone)
        self._robot = robot
        self._ear = named.open(microphone, robot.clock, tell)

    @property
    def spec(self) -> RobotSpec:
        """See `Robot.spec`."""
        return self._spec

    @property
    def clock(self) -> Clock:
        """See `Robot.clock`."""
        return self._robot.clock

    @property
    def observe(self) -> Callable[[], Observation] | None:
        """See `Observing.observe`; None if the robot has no such method."""
        own: Callable[[], Observation] | None = getattr(self._robot, "observe", None)
        return None if own is None else lambda: self._hear(own())

    def reset(self, seed: int) -> Observation:
        """See `Robot.reset`."""
        seen = self._robot.reset(seed)
        self._ear.begin(seen.t_monotonic_ns)
        return self._hear(seen)

    def act(self, action: Vector) -> Transition:
        """See `Robot.act`."""
        found = self._robot.act(action)
        return replace(found, observation=self._hear(found.observation))

    def hold(self) -> None:
        """See `Robot.hold`; the microphone has no part in it."""
        self._robot.hold()

    def close(self) -> None:
        """See `Robot.close`."""
        try:
            self._robot.close()
        finally:
            self._ear.close()

    def _hear(self, seen: Observation) -> Observation:
        return replace(seen, sound=self._ear.hear(seen.t_monotonic_ns))
