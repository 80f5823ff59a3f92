"""Records the episodes of `//edge:run`, in the same way as demonstrations.

A simulated episode in simulated pace depends only on its settings and its seed and is
named after them, so that running the same command again finds it in the folder and
keeps it. Every other episode gets a new random name.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from edge.control.loop import EpisodeResult, Pace
from edge.episodes import episode_id
from edge.episodes.provenance import Provenance
from edge.episodes.recorder import EpisodeRecorder
from edge.episodes.sharing import Recording
from edge.robots.drawn_cameras import find_drawn
from edge.robots.robot import Robot


@dataclass
class RunRecording:
    """An open recording and what all its episodes have in common.

    Attributes:
        folders: where episodes go, from private to shared.
        provenance: who acts, and which package.
        pace: simulated pace makes a simulated episode repeatable, byte for byte.
        identity: the settings that a simulated episode depends on, as JSON values.
        kept: episodes that this run recorded and shared.
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
            RldsError: the journal cannot be written.
        """
        start_unix_ns = robot.clock.unix_ns()
        name = self._find_name(robot, robot_name, seed, start_unix_ns)
        if name is None:
            self.found += 1
            return None
        return self.folders.begin(
            robot.spec, name, start_unix_ns, self.provenance, drawn=find_drawn(robot)
        )

    def finish(self, recorder: EpisodeRecorder, result: EpisodeResult) -> None:
        """Closes an episode, redacts it and shares it.

        Raises:
            EdgeError, RldsError: as `Recording.share`; the raw episode stays.
        """
        for closed in recorder.close(result.success, result.tags):
            self.folders.share(closed)
            self.kept += 1

    def _find_name(
        self, robot: Robot, robot_name: str, seed: int, start_unix_ns: int
    ) -> str | None:
        if not robot.spec.simulated or self.pace is not Pace.SIMULATED:
            return episode_id.make_random_id(start_unix_ns)
        identity = {
            **self.identity,
            "operator": self.provenance.actor,
            "package_digest": self.provenance.package_digest,
            "robot": robot_name,
            "seed": seed,
        }
        return episode_id.find_free_id(start_unix_ns, identity, self.folders)
