"""Watches the cameras and the microphone of a robot through one episode."""

from edge.control.camera_watch import CameraWatch
from edge.control.microphone_watch import MicrophoneWatch
from edge.robots.robot import Observation, RobotSpec
from rlds.spec import CAMERA_TAG, MICROPHONE_TAG


class SenseWatch:
    """What one episode has shown of the senses of a robot."""

    def __init__(self, spec: RobotSpec) -> None:
        """Begins an episode."""
        noise = not spec.simulated
        self._cameras = CameraWatch(spec.cameras, has_noise=noise)
        self._microphone: MicrophoneWatch | None = None
        if spec.microphone is not None:
            self._microphone = MicrophoneWatch(spec.microphone, has_noise=noise)

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of an episode in which a sense was gone or stood still."""
        heard = self._microphone is None or not self._microphone.has_stood
        return (
            *((CAMERA_TAG,) if self._cameras.has_stood else ()),
            *(() if heard else (MICROPHONE_TAG,)),
        )

    def notice(self, seen: Observation) -> tuple[str, ...]:
        """Takes an observation; returns a line for each sense that has changed."""
        lines = self._cameras.notice(seen)
        line = None if self._microphone is None else self._microphone.notice(seen)
        return lines if line is None else (*lines, line)

    def describe(self) -> str:
        """The senses that are gone or stand still, for a status; "" if none is."""
        deaf = "" if self._microphone is None else self._microphone.stands
        return ", ".join(filter(None, (self._cameras.describe(), deaf)))
