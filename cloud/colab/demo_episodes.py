"""The episodes that the notebook trains on by default."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from cloud import locations, programs

DATASET = "cloud/demo/dataset"
_MANIFEST = "/manifest.json"
ACTOR_NOISE = 0.1
"""Standard deviation of the noise on the expert's action, as a share of its range.
States off the expert's path teach the model to return to it."""


def dataset(
    manifest_uri: str, work: Path, tasks: Sequence[str], robots: int, episodes: int
) -> str:
    """Returns the URI of the dataset version to train on.

    Args:
        manifest_uri: URI of its manifest.json; empty for the demo episodes, which are
            recorded now with the simulated robot unless Bazel has built them.
        work: folder for the recorded files.
        tasks: Meta-World tasks to record.
        robots: robots to record, at least 2; one is held out.
        episodes: episodes of each task and robot to record.

    Raises:
        ProgramMissingError, ProgramFailedError: recording or curation failed.
    """
    if manifest_uri:
        return locations.to_uri(manifest_uri).removesuffix(_MANIFEST)
    built = programs.root() / DATASET
    if built.exists():
        return locations.to_uri(built)
    return record(work, tasks, robots, episodes)


def record(work: Path, tasks: Sequence[str], robots: int, episodes: int) -> str:
    """Records the scripted expert and curates its episodes; arguments: as `dataset`."""
    output = work / "dataset"
    shutil.rmtree(output, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    sessions = [work / f"session-{robot:02d}" for robot in range(robots)]
    for robot, session in enumerate(sessions):
        arguments = [
            f"--robot={','.join(f'metaworld:{task}' for task in tasks)}",
            f"--episodes={episodes}",
            f"--seed={100 * robot}",
            f"--robot_id=sim-{robot:02d}",
            f"--sim_start=2026-01-{robot + 1:02d}T08:00:00Z",
            f"--actor_noise={ACTOR_NOISE}",
            "--consent",
            f"--enrol={session}.json",
            f"--output={session}",
        ]
        programs.run("edge/record", arguments, work / f"record-{robot}.log")
    spec = work / "spec.json"
    split = {"by": ["robot_hash", "date"], "val_groups": 1, "salt": "notebook"}
    content = {
        "dataset": "notebook",
        "version": "0.1.0",
        "where": "success = 1",
        "split": split,
        "shards": {"train": 2, "val": 1},
    }
    spec.write_text(json.dumps(content))
    arguments = [
        f"--sessions={','.join(str(session) for session in sessions)}",
        f"--enrolled={','.join(f'{session}.json' for session in sessions)}",
        f"--spec={spec}",
        f"--output={output}",
        "--code_commit=unversioned",
    ]
    programs.run("cloud/demo/build_dataset", arguments, work / "curate.log")
    return locations.to_uri(output)
