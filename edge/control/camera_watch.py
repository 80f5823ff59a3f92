"""Notices a camera that has gone, or that stands still, while the robot drives on.

A picture is held until the next one comes, so a camera whose cable fell out looks like
one before which nothing moves, and a package drives on blind. Two things give it away:

- its newest picture is older than some of its periods;
- of a robot that exists: new pictures come, and each is byte for byte the one before. A
  sensor has noise, so that never happens to one that sees.

The robot drives on, with the newest picture and its age. Whoever runs it reads one
line, the episode says it in a tag, and in the age of each picture.
"""

from collections.abc import Sequence
from typing import Final

from edge.robots.clock import NS_PER_S
from edge.robots.robot import Camera, Observation

GONE_PERIODS: Final = 10
"""A busy USB bus or a camera that measures its exposure anew leaves out a few."""
GONE_NS: Final = NS_PER_S
"""It is at least so long: nobody can act on less."""
FROZEN_NS: Final = 3 * NS_PER_S
"""How long new pictures are the same."""


class CameraWatch:
    """What one episode has shown of the cameras of a robot.

    Attributes:
        has_stood: whether a camera was gone or stood still in this episode.
    """

    def __init__(self, cameras: Sequence[Camera], *, has_noise: bool) -> None:
        """Begins an episode.

        Args:
            cameras: those of the robot.
            has_noise: whether each picture of a standing scene is another one, as it is
                for cameras that exist.
        """
        self._eyes = [_Eye(camera, has_noise) for camera in cameras]
        self.has_stood = False

    def notice(self, seen: Observation) -> tuple[str, ...]:
        """Takes an observation; returns a line for each camera that has changed."""
        lines = tuple(
            line for eye in self._eyes if (line := eye.notice(seen)) is not None
        )
        self.has_stood = self.has_stood or any(eye.stands for eye in self._eyes)
        return lines

    def describe(self) -> str:
        """The cameras that do not see now, for a status; "" if all do."""
        return ", ".join(eye.stands for eye in self._eyes if eye.stands)


class _Eye:
    """One camera: whether it sees, and since when it does not."""

    def __init__(self, camera: Camera, has_noise: bool) -> None:
        self._name = camera.name
        self._gone_ns = max(GONE_NS, GONE_PERIODS * camera.period_ns)
        self._has_noise = has_noise
        self._first_ns: int | None = None
        self._taken_ns = -1
        self._jpeg = b""
        self._changed_ns = 0
        self.stands = ""

    def notice(self, seen: Observation) -> str | None:
        now_ns = seen.t_monotonic_ns
        if self._first_ns is None:
            self._first_ns = now_ns
        picture = seen.pictures.get(self._name)
        if picture is None:
            if now_ns - self._first_ns < self._gone_ns:
                return None
            return self._stand(f"camera {self._name} has no picture")
        if picture.t_monotonic_ns != self._taken_ns:
            self._taken_ns = picture.t_monotonic_ns
            if picture.jpeg != self._jpeg:
                self._jpeg, self._changed_ns = picture.jpeg, self._taken_ns
        if now_ns - self._taken_ns > self._gone_ns:
            return self._stand(f"camera {self._name} takes no more pictures")
        if self._has_noise and self._taken_ns - self._changed_ns > FROZEN_NS:
            return self._stand(f"camera {self._name} takes the same picture")
        return self._see()

    def _stand(self, what: str) -> str | None:
        if self.stands:
            return None
        self.stands = what
        return (
            f"{what}: the robot drives on with the newest one, and may be blind; look"
            " at its cable and its lens"
        )

    def _see(self) -> str | None:
        if not self.stands:
            return None
        self.stands = ""
        return f"camera {self._name} sees again"
