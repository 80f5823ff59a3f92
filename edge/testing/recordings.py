"""Recordings of a few made-up steps, without a robot, for tests of sharing."""

from collections.abc import Callable, Set
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from edge.control.control_step import ControlStep
from edge.episodes import robot_key
from edge.episodes.open_recording import open_recording
from edge.episodes.provenance import Provenance
from edge.episodes.recorder import EpisodeRecorder
from edge.episodes.robot_key import RobotKey
from edge.episodes.shared_quota import SharedQuota
from edge.episodes.sharing import Recording
from edge.episodes.terms import operator_consent
from edge.redact.masker import Masker, open_masker
from edge.robots.clock import SimulatedClock, unix_ns_from_rfc3339
from edge.robots.robot import Observation, RobotSpec
from edge.robots.simulated_point import SPEC
from edge.testing.simulated_episodes import ROBOT_ID, START_UNIX_NS
from rlds import sidecar
from rlds.sidecar import Sidecar
from rlds.tfds_directory import SIDECAR_SUFFIX

NAME = "019b7892-1c00-7d15-8162-71f76a1f35ef"
OTHER = "019b7892-1c00-7aaa-8000-000000000001"

Folders = tuple[Path, Path]
"""The shared folder and the private one."""


def _fail(text: str) -> None:
    raise AssertionError(text)


def open_folders(
    folders: Folders,
    consent: bool = True,
    robot_id: str = ROBOT_ID,
    key: RobotKey | None = None,
    told: list[str] | None = None,
    robot_time: str = "2026-01-01T08:00:00Z",
    machine_time: str = "2026-03-01T08:00:00Z",
    robot: RobotSpec = SPEC,
    quota: SharedQuota | None = None,
    hand_over: Callable[[Path], None] | None = None,
    words: Set[str] = frozenset(),
    masker: Masker | None = None,
    drawn: Set[str] = frozenset(),
) -> AbstractContextManager[Recording]:
    """Opens the folders; a test that does not take what is told expects nothing."""
    output, private = folders
    tell: Callable[[str], None] = _fail if told is None else told.append
    return open_recording(
        output,
        private,
        robot,
        robot_id,
        lambda: key or robot_key.derive_simulated(robot_id),
        operator_consent(consent, unix_ns_from_rfc3339(robot_time)),
        tell,
        machine=SimulatedClock(unix_ns_from_rfc3339(machine_time)),
        quota=quota,
        hand_over=hand_over,
        words=frozenset(words),
        open_masker=open_masker if masker is None else lambda tell: masker,
        drawn=frozenset(drawn),
    )


def step(number: int, is_last: bool = False, violation: bool = False) -> ControlStep:
    """Makes one step; its number is the state and the time in ns."""
    return ControlStep(
        observation=Observation(np.full(2, number, np.float32), number),
        action=np.zeros(1, np.float32),
        proposed_action=np.zeros(1, np.float32),
        reward=0.0,
        discount=1.0,
        is_first=number == 0,
        is_last=is_last,
        is_terminal=False,
        deadline_missed=False,
        safety_violation=violation,
    )


def begin(
    recording: Recording,
    steps: int = 3,
    location: str = "",
    name: str = NAME,
    robot: RobotSpec = SPEC,
) -> EpisodeRecorder:
    """Begins an episode and records its steps; close it to have it whole."""
    provenance = Provenance(actor="expert", location=location)
    recorder = recording.begin(robot, name, START_UNIX_NS, provenance)
    for number in range(steps):
        recorder.append(step(number, is_last=number == steps - 1))
    return recorder


def read_sidecar(folders: Folders) -> Sidecar:
    """Reads the sidecar of the episode `NAME`, whoever signed it."""
    raw = (folders[0] / f"{NAME}{SIDECAR_SUFFIX}").read_bytes()
    return sidecar.parse(raw)
