"""A few recorded episodes of the package to look at: the gripper's path per task."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from cloud import programs
from cloud.evaluate.rollouts import RUN_PROGRAM, Trials
from rlds import reader

HANDS: Mapping[str, slice] = {"metaworld": slice(0, 3), "so101-sim": slice(11, 14)}
"""Where the gripper's position x y z, in metres, is in a state, by environment."""

_OUTCOMES = {True: "succeeded", False: "did not succeed", None: "success not known"}


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """The gripper's path in one episode, in metres."""

    task: str
    label: str
    positions_m: Sequence[tuple[float, float, float]]


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
    arguments = [
        f"--candidate={package}",
        f"--robot={trials.robots}",
        "--episodes=1",
        f"--seed={trials.first_seed}",
        f"--max_steps={trials.max_steps}",
        "--pace=simulated",
        f"--state_dir={folder / 'state'}",
        f"--record_dir={folder / 'episodes'}",
    ]
    log = folder / "run.log"
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
        outcome = _OUTCOMES[episode.metadata.success]
        label = f"{len(positions_m)} steps, {outcome}"
        found.append(Trajectory(episode.metadata.task, label, positions_m))
    return tuple(sorted(found, key=lambda trajectory: trajectory.task))
