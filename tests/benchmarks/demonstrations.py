"""Demonstrations of simulated robots by their experts, kept in a folder.

Each episode goes through the robot's own control loop, with noise on the actor's
hand, as in `//edge:record`. Redaction and signature are left out; they change no number
that a model learns from. Two processes record; the recordings stay in a folder, under a
digest of everything that they depend on.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import multiprocessing
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from base import canonical_json, durable_file, text_forms
from edge.control import loop
from edge.control.control_step import ControlStep
from edge.control.safety import DEFAULT_MAX_STEPS, config_for
from edge.robots import clock, registry
from edge.robots.experts import GaussianNoise
from edge.robots.robot import RobotSpec
from rlds import example_codec, tfrecord
from rlds.episode import Episode, EpisodeMetadata
from rlds.spec import SCHEMA_VERSION, EpisodeSpec

_RECORD_LIMIT_BYTES = 64 * 1024 * 1024
_FIRST_UNIX_MS = 1_767_254_400_000  # 2026-01-01T08:00:00Z, as of simulated robots


@dataclasses.dataclass(frozen=True)
class Demonstrations:
    """What is recorded on one robot.

    Attributes:
        robot: as `--robot` of `//edge:record`, for example `metaworld:reach-v3`.
        episodes: successful episodes to keep.
        first_seed: seed of the first episode; failed seeds are skipped.
        actor_noise: standard deviations of the noise on executed actions; each
            episode takes the next of them, in turn.
    """

    robot: str
    episodes: int
    first_seed: int
    actor_noise: tuple[float, ...]


def load_or_record(
    wanted: Sequence[Demonstrations], folder: Path, workers: int = 2
) -> list[Episode]:
    """Returns the episodes of all robots, from the folder or recorded now.

    Raises:
        RuntimeError: an expert fails too often to give the wanted episodes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [one for one in wanted if not _path(one, folder).exists()]
    if missing:
        # Processes that have imported nothing: JAX must not be forked.
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            jobs = [(one, folder) for one in missing]
            for _ in pool.imap_unordered(_record, jobs, chunksize=1):
                pass
    return [
        example_codec.decode(raw)
        for one in wanted
        for raw in tfrecord.read_records(_path(one, folder), _RECORD_LIMIT_BYTES)
    ]


def _path(one: Demonstrations, folder: Path) -> Path:
    decides = dataclasses.asdict(one)
    # Named as ever, so that what was recorded is found again.
    decides["operator_noise"] = list(decides.pop("actor_noise"))
    digest = hashlib.sha256(canonical_json.encode(decides)).hexdigest()[:16]
    return folder / f"{one.robot.replace(':', '_')}-{digest}.tfrecord"


def _record(job: tuple[Demonstrations, Path]) -> None:
    one, folder = job
    robot = registry.open_robot(one.robot, clock.SimulatedClock(0))
    expert = registry.open_expert(one.robot)
    kept: list[Episode] = []
    with contextlib.closing(robot):
        for number in itertools.count():
            if len(kept) == one.episodes:
                break
            if number >= 10 * one.episodes:
                raise RuntimeError(
                    f"{one.robot}: expected {one.episodes} successes in {number}"
                    f" episodes, got {len(kept)}; lower the actor's noise"
                )
            noise = one.actor_noise[number % len(one.actor_noise)]
            steps = _Steps()
            result = loop.run_episode(
                robot,
                expert,
                config_for(robot.spec),
                steps,
                one.first_seed + number,
                DEFAULT_MAX_STEPS,
                loop.Pace.SIMULATED,
                disturbance=GaussianNoise(noise),
            )
            if result.success:
                kept.append(steps.episode(robot.spec, number))
    frames = [tfrecord.frame(example_codec.encode(episode)) for episode in kept]
    durable_file.write(_path(one, folder), b"".join(frames))


class _Steps:
    """Keeps the steps of one episode in memory; a `StepRecorder`."""

    def __init__(self) -> None:
        self._steps: list[ControlStep] = []

    def append(self, step: ControlStep) -> None:
        self._steps.append(step)

    def episode(self, spec: RobotSpec, number: int) -> Episode:
        """The episode, marked as a success."""
        kept = self._steps

        def column(name: str, dtype: type) -> np.ndarray:
            return np.asarray([getattr(step, name) for step in kept], dtype)

        states = np.asarray([step.observation.state for step in kept], np.float32)
        times = [step.observation.t_monotonic_ns for step in kept]
        floats = ("action", "proposed_action", "reward", "discount")
        ends = ("is_first", "is_last", "is_terminal")
        marks = (*ends, "deadline_missed", "safety_violation")
        return Episode(
            EpisodeSpec(spec.state_size, spec.action_size),
            _metadata(spec, number),
            {
                "observation/state": states,
                "t_monotonic_ns": np.asarray(times, np.int64),
                **{name: column(name, np.float32) for name in floats},
                **{name: column(name, bool) for name in marks},
            },
        )


def _metadata(spec: RobotSpec, number: int) -> EpisodeMetadata:
    return EpisodeMetadata(
        schema_version=SCHEMA_VERSION,
        episode_id=text_forms.format_uuid7(_FIRST_UNIX_MS + number, bytes(10)),
        robot_hash="benchmark",
        robot_model=spec.robot_model,
        environment_id=spec.environment_id,
        package_digest="",
        delta_digest="",
        channel="",
        software_version="benchmark",
        start_time="2026-01-01T08:00:00Z",
        location="",
        tags=("simulated", "demonstration"),
        task=spec.task,
        success=True,
        operator="expert",
    )
