"""Whether the robot that evaluates a model fits the dataset, asked before any training.

The robot's own program is asked: it opens the robot of each task and records two steps
of the expert, from which sizes, control rate and limits of actions are read. A task
that the environment does not have, or another robot's sizes, end the job in seconds and
not after training.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cloud import programs
from cloud.errors import ProgramFailedError, UnsuitableRobotError
from cloud.evaluate.rollouts import RUN_PROGRAM, Trials
from release import run_summary
from release.run_summary import ActionRange
from rlds import reader
from rlds.episode import Episode
from rlds.spec import EpisodeSpec

RATE_TOLERANCE = 0.01
"""Relative difference of control rates that robots accept in a package."""
_NS_PER_S = 1e9
_STEPS = 2


@dataclasses.dataclass(frozen=True)
class EvaluatingRobot:
    """The robot that evaluates a model, as it recorded itself.

    Attributes:
        environment: kind of simulated robot, such as `metaworld`.
        robot_model: the machine, such as `sawyer`.
        control_hz: control steps per second.
        limits: what it accepts as an action in every task; None if it does not say.
    """

    environment: str
    robot_model: str
    control_hz: float
    limits: ActionRange | None = None

    def require_same(self, dataset: str, robot_model: str, control_hz: float) -> None:
        """Refuses a dataset of another machine or another control rate.

        Args:
            dataset: its name, for errors.
            robot_model: the machine that recorded it.
            control_hz: its control steps per second.

        Raises:
            UnsuitableRobotError: one of them differs.
        """
        differs = abs(self.control_hz / control_hz - 1.0) > RATE_TOLERANCE
        if differs or robot_model != self.robot_model:
            raise UnsuitableRobotError(
                dataset,
                f"episodes of a {self.robot_model} at {self.control_hz:g} control "
                f"steps per second, as {self.environment} is",
                f"a {robot_model} at {control_hz:g}",
                "train on episodes of this robot, or name another --environment; none "
                "if no simulator has the dataset's robot",
            )


def require_fit(
    trials: Trials, dataset: str, spec: EpisodeSpec, *, senses: bool = False
) -> EvaluatingRobot:
    """Opens the robot of each task and compares its sizes with the dataset's.

    Args:
        trials: environment and tasks of the evaluation.
        dataset: name of the dataset, for errors.
        spec: the episodes of the dataset.
        senses: whether the model will read their pictures and sound.

    Returns:
        The robot.

    Raises:
        UnsuitableRobotError: the environment lacks a task, or its robot has other
            sizes.
        ProgramMissingError: `//edge:run` is not among this program's files.
    """
    with tempfile.TemporaryDirectory(prefix="robot-") as name:
        episodes, limits = _record(trials, dataset, Path(name))
    for episode in episodes:
        lacking = _list_lacking(spec, episode.spec)
        if senses and lacking:
            raise UnsuitableRobotError(
                dataset,
                f"a robot that has {', '.join(lacking)} to evaluate the model on",
                f"{trials.environment}:{episode.metadata.task} without",
                "train with --nosenses if the state is enough for the tasks, or name an"
                " --environment with the senses of the dataset",
            )
        found = (episode.spec.state_size, episode.spec.action_size)
        wanted = (spec.state_size, spec.action_size)
        if found != wanted:
            robot = f"{trials.environment}:{episode.metadata.task}"
            raise UnsuitableRobotError(
                dataset,
                f"{found[0]} numbers of state and {found[1]} of action, as {robot} has",
                f"{wanted[0]} and {wanted[1]}",
                "train on a dataset of this robot, or name another --environment; none "
                "if no simulator has the dataset's robot",
            )
    first = episodes[0]
    return EvaluatingRobot(
        trials.environment,
        first.metadata.robot_model,
        _control_hz(first),
        _common(limits),
    )


def _list_lacking(wanted: EpisodeSpec, found: EpisodeSpec) -> list[str]:
    """The senses of a dataset that a robot's episodes do not have."""
    lacking = sorted(set(wanted.picture_fields) - set(found.picture_fields))
    if wanted.audio_size and found.audio_size != wanted.audio_size:
        lacking.append(f"observation/audio_mel of {wanted.audio_size} bands")
    return lacking


def _record(
    trials: Trials, dataset: str, folder: Path
) -> tuple[Sequence[Episode], Sequence[ActionRange]]:
    log, summary = folder / "run.log", folder / "summary.json"
    arguments = [
        "--policy=expert",
        f"--robot={trials.robots}",
        "--episodes=1",
        f"--max_steps={_STEPS}",
        "--pace=simulated",
        f"--state_dir={folder / 'state'}",
        f"--record_dir={folder / 'episodes'}",
        f"--summary_json={summary}",
    ]
    try:
        programs.run(RUN_PROGRAM, arguments, log)
    except ProgramFailedError as e:
        raise UnsuitableRobotError(
            dataset,
            f"tasks that {trials.environment} can evaluate a model on",
            programs.last_line(log) or e.got,
            "name some of them in --tasks, or another --environment; none if no "
            "simulator has this robot",
        ) from e
    episodes = [
        reader.read_episode(path)
        for path in sorted((folder / "episodes").glob("*.tfrecord"))
    ]
    return episodes, list(run_summary.read(summary).action_limits.values())


def _common(limits: Sequence[ActionRange]) -> ActionRange | None:
    """What every robot accepts."""
    if not limits:
        return None
    return ActionRange(
        tuple(map(max, zip(*(one.minimum for one in limits), strict=True))),
        tuple(map(min, zip(*(one.maximum for one in limits), strict=True))),
    )


def _control_hz(episode: Episode) -> float:
    times_ns = np.asarray(episode.steps["t_monotonic_ns"])
    return float(_NS_PER_S / np.median(np.diff(times_ns)))
