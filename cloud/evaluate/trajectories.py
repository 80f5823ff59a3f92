"""A few recorded episodes of the package to look at: the gripper's path per task."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from cloud import programs
from cloud.evaluate.rollouts import RUN_PROGRAM, Trials, robot_flag
from release.run_summary import SUCCESS
from rlds import reader
from rlds.spec import StopRule

HANDS: Mapping[str, slice] = {
    "metaworld": slice(0, 3),
    "metaworld-camera": slice(0, 3),
    "so101-sim": slice(11, 14),
}
"""Where the gripper's position x y z, in metres, is in a state, by environment."""
MOST_RECORDED: Final = 8
"""Episodes that are recorded after an evaluation: each takes a second or two."""

_OUTCOMES = {True: "succeeded", False: "did not succeed", None: "success not known"}


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """The gripper's path in one episode, in metres.

    Attributes:
        task: what the robot was asked to do.
        label: how long it took and how it ended.
        positions_m: x, y and z of the gripper, step by step.
        success: whether it did what it was asked to; None if that is not known.
        seconds: how long it took, by the robot's clock.
    """

    task: str
    label: str
    positions_m: Sequence[tuple[float, float, float]]
    success: bool | None = None
    seconds: float = 2.0


@contextlib.contextmanager
def record(
    trials: Trials, package: Path, folder: Path
) -> Iterator[Callable[[], tuple[Trajectory, ...]]]:
    """Records the first trial of each task while the caller evaluates them all.

    Yields:
        A function that waits for the recording and reads it. It raises
        ProgramFailedError if the recording failed, and RldsError if an episode is
        malformed. For other environments it returns nothing.

    Raises:
        ProgramMissingError: `//edge:run` is not among this program's files.
    """
    hand = HANDS.get(trials.environment)
    if hand is None:
        yield lambda: ()
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log = folder / "run.log"
    arguments = _list_arguments(
        trials, package, folder, trials.robots, trials.first_seed
    )
    process = programs.start(RUN_PROGRAM, arguments, log)

    def finish() -> tuple[Trajectory, ...]:
        programs.finish(process, RUN_PROGRAM, log)
        return read(folder / "episodes", hand)

    try:
        yield finish
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def record_others(
    trials: Trials,
    package: Path,
    folder: Path,
    examples: Mapping[str, Mapping[str, int]],
) -> tuple[Trajectory, ...]:
    """Records one episode of each ending that the first trials do not show.

    Episodes of a simulated robot are the same from the same seed. Failures come first,
    since there are `MOST_RECORDED` at most.

    Args:
        trials: the episodes that were evaluated.
        package: the package's folder.
        folder: the folder that `record` filled.
        examples: by task, the seed of one episode of each ending.

    Raises:
        ProgramMissingError, ProgramFailedError: an episode cannot be driven again.
        RldsError: an episode is malformed.
    """
    hand = HANDS.get(trials.environment)
    if hand is None:
        return ()
    chosen = [
        (ending == SUCCESS, task, seed)
        for task, seeds in sorted(examples.items())
        for ending, seed in sorted(seeds.items())
        if seed != trials.first_seed
    ]
    found: list[Trajectory] = []
    for _, task, seed in sorted(chosen, key=lambda one: one[0])[:MOST_RECORDED]:
        place = folder / f"other-{len(found)}"
        place.mkdir()
        log = place / "run.log"
        robot = robot_flag(trials.environment, [task])
        arguments = _list_arguments(trials, package, place, robot, seed)
        programs.finish(programs.start(RUN_PROGRAM, arguments, log), RUN_PROGRAM, log)
        found += read(place / "episodes", hand)
    return tuple(found)


def _list_arguments(
    trials: Trials, package: Path, folder: Path, robots: str, seed: int
) -> list[str]:
    return [
        f"--candidate={package}",
        f"--robot={robots}",
        "--episodes=1",
        f"--seed={seed}",
        f"--max_steps={trials.max_steps}",
        "--pace=simulated",
        f"--state_dir={folder / 'state'}",
        f"--record_dir={folder / 'episodes'}",
    ]


def read(folder: Path, hand: slice = HANDS["metaworld"]) -> tuple[Trajectory, ...]:
    """Reads the gripper's path of each recorded episode, sorted by task.

    Args:
        folder: holds the episodes.
        hand: where the gripper's position is in a state.

    Raises:
        RldsError: an episode is malformed.
    """
    found = []
    for path in sorted(folder.glob("*.tfrecord*")):
        episode = reader.read_episode(path)
        state = np.asarray(episode.steps["observation/state"], np.float64)
        positions_m = [(x, y, z) for x, y, z in state[:, hand].tolist()]
        times_ns = episode.steps["t_monotonic_ns"]
        about = episode.metadata
        stopped = [rule.value for rule in StopRule if rule.tag in about.tags]
        outcome = (
            f"ended by stop rule {stopped[0]}" if stopped else _OUTCOMES[about.success]
        )
        found.append(
            Trajectory(
                about.task,
                f"{len(positions_m)} steps, {outcome}",
                positions_m,
                about.success,
                float(times_ns[-1] - times_ns[0]) / 1e9,
            )
        )
    return tuple(sorted(found, key=lambda trajectory: trajectory.task))
