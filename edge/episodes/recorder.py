"""Writes the control loop's steps to an episode journal, one by one.

When `append` returns, the operating system has the step, so killing this process loses
nothing. A power cut loses at most the last second (see `rlds.writer`). This file
imports no robot and no simulator, so the process that records stays small.

An episode that becomes too large is cut, and control does not wait for it: the next
step begins another journal, and all are turned into episodes when the robot has
stopped. A part is an episode of its own. The last step of a part that was cut has
`is_last` and not `is_terminal`, its success is not known, and the part that follows has
the name that `episode_id.derive_next` gives.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge.control import hearing
from edge.control.control_step import ControlStep
from edge.episodes import episode_id
from edge.episodes.pictures import PictureCheck
from edge.episodes.provenance import Provenance
from edge.robots.robot import Camera, RobotSpec
from rlds.closed_episode import ClosedEpisode
from rlds.episode import EpisodeMetadata
from rlds.errors import EpisodeFullError
from rlds.spec import (
    LEFT_OUT_TAG,
    MAX_EPISODE_NS,
    NO_PICTURE_AGE,
    EpisodeSpec,
    age_field,
    picture_field,
)
from rlds.writer import EpisodeWriter

# A quarter of what readers take: making and sharing an episode of this size took 378
# MiB of memory (x86-64), and the process of the robot has 512.
PART_LIMIT_BYTES = 64 * 1024 * 1024


def episode_spec(robot: RobotSpec, provenance: Provenance) -> EpisodeSpec:
    """The fields of an episode of a robot in which these acted."""
    microphone = robot.microphone
    return EpisodeSpec(
        robot.state_size,
        robot.action_size,
        audio_size=0 if microphone is None else microphone.bands,
        interventions=provenance.watched,
        cameras=tuple(sorted(camera.name for camera in robot.cameras)),
    )


def describe_step(step: ControlStep, spec: EpisodeSpec) -> dict[str, Any]:
    """Returns one value per step field of an episode; no picture is empty bytes."""
    observation = step.observation
    fields: dict[str, Any] = {
        "observation/state": observation.state,
        "action": step.action,
        "proposed_action": step.proposed_action,
        "reward": step.reward,
        "discount": step.discount,
        "is_first": step.is_first,
        "is_last": step.is_last,
        "is_terminal": step.is_terminal,
        "t_monotonic_ns": observation.t_monotonic_ns,
        "deadline_missed": step.deadline_missed,
        "safety_violation": step.safety_violation,
    }
    for camera in spec.cameras:
        picture = observation.pictures.get(camera)
        fields[picture_field(camera)] = b"" if picture is None else picture.jpeg
        fields[age_field(camera)] = (
            NO_PICTURE_AGE
            if picture is None
            else min(
                max(0, observation.t_monotonic_ns - picture.t_monotonic_ns),
                MAX_EPISODE_NS,
            )
        )
    if spec.audio_size:
        fields["observation/audio_mel"] = hearing.take(observation, spec.audio_size)
    if spec.interventions:
        fields["intervention"] = step.intervention
    return fields


class EpisodeRecorder:
    """Records one episode, in parts if need be; a `StepRecorder`.

    An episode that is never closed stays a journal; the next recording turns it into an
    episode (see `edge.episodes.sharing`).
    """

    def __init__(
        self,
        folder: Path,
        spec: EpisodeSpec,
        metadata: EpisodeMetadata,
        on_begin: Callable[[str], None] | None = None,
        limit_bytes: int = PART_LIMIT_BYTES,
        cameras: Sequence[Camera] = (),
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Opens the journal.

        Args:
            folder: private folder of raw episodes.
            spec: shapes of the episode's fields.
            metadata: the episode's own fields, not yet redacted.
            on_begin: called with the name of each part, once its journal is open and
                before its first step.
            limit_bytes: largest size of a part.
            cameras: those that `spec` names.
            tell: gets a line about pictures that no episode takes.

        Raises:
            EpisodeExistsError: the folder has an episode of this name.
            DiskError: the folder cannot be written.
        """
        self._folder = folder
        self._spec = spec
        self._metadata = metadata
        self._on_begin = on_begin
        self._limit_bytes = limit_bytes
        self._pictures = PictureCheck(cameras, metadata.episode_id, tell)
        self._full: list[EpisodeWriter] = []
        self._closed: list[ClosedEpisode] = []
        self._writer = self._begin(metadata)

    def append(self, step: ControlStep) -> None:
        """Writes one step.

        Raises:
            DiskError: the step could not be written; the steps before it are kept.
            MalformedEpisodeError: the step does not fit the spec.
            OversizedError: the step is larger than a whole part may be.
        """
        self.append_fields(describe_step(step, self._spec))

    def append_fields(self, fields: Mapping[str, Any]) -> None:
        """Writes one step, given as one value per field; errors as `append`.

        A picture that is not there, or that no episode takes, becomes a black one.
        """
        fields = self._pictures.settle(fields)
        try:
            self._writer.append(fields)
        except EpisodeFullError:
            self._begin_next()
            self._writer.append({**fields, "is_first": True})

    def leave(self) -> None:
        """Lets go of the journals, which stay for the next recovery."""
        for writer in (*self._full, self._writer):
            writer.leave()

    def close(
        self, success: bool | None, tags: tuple[str, ...] = ()
    ) -> tuple[ClosedEpisode, ...]:
        """Turns the journals into whole episodes, durably; returns them in their order.

        Args:
            success: whether the task was fulfilled; None if that is not known.
            tags: what its end says of it, for its last part; that it is to be left out
                for each part.

        Raises:
            DiskError: an episode could not be written; its journal and those after it
                stay.
        """
        of_all = tuple(tag for tag in tags if tag == LEFT_OUT_TAG)
        while self._full:
            self._closed.append(self._full[0].close(None, of_all))
            del self._full[0]
        self._closed.append(self._writer.close(success, tags))
        return tuple(self._closed)

    def _begin_next(self) -> None:
        """Begins the next part; the one before is closed when the robot has stopped."""
        name = episode_id.derive_next(self._metadata.episode_id)
        metadata = dataclasses.replace(self._metadata, episode_id=name)
        writer = self._begin(metadata)
        self._writer.rest()
        self._full.append(self._writer)
        self._writer, self._metadata = writer, metadata

    def _begin(self, metadata: EpisodeMetadata) -> EpisodeWriter:
        writer = EpisodeWriter(
            self._folder, self._spec, metadata, limit_bytes=self._limit_bytes
        )
        if self._on_begin is not None:
            try:
                self._on_begin(metadata.episode_id)
            except BaseException:
                writer.leave()
                raise
        return writer
