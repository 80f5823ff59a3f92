"""Writes the control loop's steps to an episode journal, one by one.

When `append` returns, the operating system has the step, so killing this process loses
nothing. A power cut loses at most the last second (see `rlds.writer`). This file
imports no robot and no simulator, so the process that records stays small.
"""

from pathlib import Path

from edge.control.loop import ControlStep
from rlds.episode import EpisodeMetadata
from rlds.spec import EpisodeSpec
from rlds.writer import ClosedEpisode, EpisodeWriter


class EpisodeRecorder:
    """Records one episode; an `edge.control.loop.StepRecorder`.

    An episode that is never closed stays a journal; the next recording turns it into an
    episode (see `edge.episodes.sharing`).
    """

    def __init__(
        self, folder: Path, spec: EpisodeSpec, metadata: EpisodeMetadata
    ) -> None:
        """Opens the journal.

        Args:
            folder: private folder of raw episodes.
            spec: shapes of the episode's fields.
            metadata: the episode's own fields, not yet redacted.

        Raises:
            EpisodeExistsError: the folder has an episode of this name.
            DiskError: the folder cannot be written.
        """
        self._writer = EpisodeWriter(folder, spec, metadata)

    def append(self, step: ControlStep) -> None:
        """Writes one step.

        Raises:
            DiskError: the step could not be written; the steps before it are kept.
            MalformedEpisodeError: the step does not fit the spec.
        """
        self._writer.append(
            {
                "observation/state": step.observation.state,
                "action": step.action,
                "proposed_action": step.proposed_action,
                "reward": step.reward,
                "discount": step.discount,
                "is_first": step.is_first,
                "is_last": step.is_last,
                "is_terminal": step.is_terminal,
                "t_monotonic_ns": step.observation.t_monotonic_ns,
                "deadline_missed": step.deadline_missed,
                "safety_violation": step.safety_violation,
            }
        )

    def close(self, success: bool | None) -> ClosedEpisode:
        """Turns the journal into a whole episode, durably.

        Args:
            success: whether the task was fulfilled; None if that is not known.

        Raises:
            DiskError: the episode could not be written; the journal stays.
        """
        return self._writer.close(success)
