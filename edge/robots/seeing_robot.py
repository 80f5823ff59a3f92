"""A robot with cameras beside it, which its own driver knows nothing of."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from edge.errors import CameraError
from edge.robots.camera import CameraThread
from edge.robots.camera_drivers import NamedCamera
from edge.robots.clock import Clock
from edge.robots.robot import (
    Camera,
    Observation,
    Robot,
    RobotSpec,
    Transition,
    Vector,
)

FIRST_PICTURE_S: Final = 5.0
"""How long a robot waits for its cameras when it is opened: a USB camera takes two
seconds. One that has none by then is told of, and the robot goes on."""


class SeeingRobot:
    """Implements `Robot` with another one, and adds pictures to what that senses."""

    def __init__(
        self,
        robot: Robot,
        cameras: Sequence[NamedCamera],
        tell: Callable[[str], None],
        first_picture_s: float = FIRST_PICTURE_S,
    ) -> None:
        """Takes over an open robot, starts its cameras and waits for their pictures.

        Args:
            robot: must then be driven only through this one.
            cameras: in words of `--camera`.
            tell: gets a line about a camera that cannot be opened or read.
            first_picture_s: how long to wait, in seconds.

        Raises:
            CameraError: two cameras have one name.
        """
        self._spec = add_cameras(robot.spec, [one.camera for one in cameras])
        self._robot = robot
        self._threads = [
            CameraThread(one.camera, one.make(), robot.clock, tell) for one in cameras
        ]
        for thread in self._threads:
            if not thread.wait(first_picture_s) and not thread.trouble:
                tell(
                    f"camera {thread.camera.name}: no picture in {first_picture_s:g} s;"
                    " the robot goes on without"
                )

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
        return None if own is None else lambda: self._see(own())

    def reset(self, seed: int) -> Observation:
        """See `Robot.reset`."""
        return self._see(self._robot.reset(seed))

    def act(self, action: Vector) -> Transition:
        """See `Robot.act`."""
        found = self._robot.act(action)
        return replace(found, observation=self._see(found.observation))

    def hold(self) -> None:
        """See `Robot.hold`; the cameras have no part in it."""
        self._robot.hold()

    def close(self) -> None:
        """See `Robot.close`."""
        try:
            self._robot.close()
        finally:
            for thread in self._threads:
                thread.close()

    def _see(self, sensed: Observation) -> Observation:
        pictures = dict(sensed.pictures)
        for thread in self._threads:
            if (newest := thread.newest) is not None:
                pictures[thread.camera.name] = newest
        return replace(sensed, pictures=pictures)


def add_cameras(spec: RobotSpec, cameras: Sequence[Camera]) -> RobotSpec:
    """A robot's properties with cameras beside its own.

    Raises:
        CameraError: two cameras have one name.
    """
    try:
        return replace(spec, cameras=(*spec.cameras, *cameras))
    except ValueError as e:
        raise CameraError("--camera", "cameras of different names", e) from e
