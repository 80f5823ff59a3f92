"""Success of a robot before and after a change, measured by the programs that ship."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from base.errors import ContinuonError
from cloud.evaluate.success_rate import SuccessRate
from release import run_summary

TASKS: Final = (
    "button-press-topdown-v3",
    "drawer-close-v3",
    "push-v3",
    "reach-v3",
    "window-open-v3",
)
"""Those of the package that is measured."""


class ProgramFailedError(ContinuonError):
    """A program of the robot did not end well."""


def name_robots(tasks: Sequence[str], change: str | None) -> list[str]:
    """Robot strings of some tasks, as changed or, with None, as unchanged."""
    if change is None:
        return [f"metaworld:{task}" for task in tasks]
    return [f"metaworld-changed:{task}@{join_words(change)}" for task in tasks]


def join_words(change: str) -> str:
    """The name of a change without a blank, as robot strings and folders have it."""
    return change.replace(" ", "-")


def measure(
    home: Path, robots: Sequence[str], episodes: int, seed: int, keys: Sequence[str]
) -> SuccessRate:
    """Success over all robots with what is in a home, so many episodes of each.

    Args:
        home: folder of a robot with a package.
        robots: robot strings, one of each task.
        episodes: of each task.
        seed: of the first episode of each task.
        keys: flags of the keys that the package is signed with.

    Raises:
        ProgramFailedError: control failed.
    """
    successes = driven = 0
    for robot in robots:
        path = home / "summary.json"
        run(
            "control",
            home,
            keys,
            f"--robot={robot}",
            f"--episodes={episodes}",
            f"--seed={seed}",
            f"--summary_json={path}",
            "--pace=simulated",
        )
        for one in run_summary.read(path).tasks.values():
            successes += one.successes or 0
            driven += one.episodes
    return SuccessRate(successes, driven)


def run(program: str, home: Path, keys: Sequence[str], *arguments: str) -> str:
    """Runs one program of the robot; returns the last line that it printed.

    Raises:
        ProgramFailedError: it failed.
    """
    module = f"edge.processes.{program}"
    done = subprocess.run(
        [sys.executable, "-P", "-m", module, f"--home={home}", *keys, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ProgramFailedError(module, "to end well", said[-1], "see its flags")
    return (done.stdout.strip().splitlines() or [""])[-1]
