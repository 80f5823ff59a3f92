"""Records what a policy does, through the same path as a demonstration.

A simulated episode in simulated pace depends on its settings and its seed alone and is
named after them: running the same command again finds it in the folder and keeps it.
Every other episode gets a name of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from edge.control.loop import EpisodeResult, Pace
from edge.episodes import episode_id
from edge.episodes.recorder import EpisodeRecorder
from edge.episodes.sharing import Provenance, Recording
from edge.robots.robot import Robot


@dataclass
class RunRecording:
    """An open recording with what all its episodes have in common.

    Attributes:
        folders: where episodes go, from private to shared.
        provenance: who acts, and under which package.
        pace: whether an episode can be repeated to the byte.
        identity: the settings that a simulated episode depends on, as JSON values.
        kept: episodes that were shared by this run.
        found: episodes that the folder held already.
    """

    folders: Recording
    provenance: Provenance
    pace: Pace
    identity: Mapping[str, object]
    kept: int = 0
    found: int = 0

    def begin(self, robot: Robot, robot_name: str, seed: int) -> EpisodeRecorder | None:
        """Opens the journal of an episode; None when the folder holds it already.

        Raises:
            RldsError, RecordingError: the journal cannot be written.
        """
        start_unix_ns = robot.clock.unix_ns()
        name = self._name(robot, robot_name, seed, start_unix_ns)
        if name is None:
            self.found += 1
            return None
        return self.folders.begin(robot.spec, name, start_unix_ns, self.provenance)

    def finish(self, recorder: EpisodeRecorder, result: EpisodeResult) -> None:
        """Closes an episode, redacts it and shares it.

        Raises:
            EdgeError, RldsError: as `Recording.publish`; the raw episode stays.
        """
        self.folders.publish(recorder.close(result.success))
        self.kept += 1

    def _name(
        self, robot: Robot, robot_name: str, seed: int, start_unix_ns: int
    ) -> str | None:
        if not robot.spec.simulated or self.pace is not Pace.SIMULATED:
            return episode_id.random_id(start_unix_ns)
        identity = {
            **self.identity,
            "operator": self.provenance.operator,
            "package_digest": self.provenance.package_digest,
            "robot": robot_name,
            "seed": seed,
        }
        return episode_id.free_id(start_unix_ns, identity, self.folders)
