"""A small run of the main job, through the real binary, and how it is killed."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.loop import binaries

TIMEOUT_S = 120.0
STEPS, CHECKPOINT_STEPS = 400, 40
"""A tenth of the run lies before the first checkpoint, after which it is killed."""


def flags(folder: Path, dataset: Path) -> list[str]:
    """A run with too few episodes to publish."""
    return [
        f"--dataset={dataset}",
        f"--store={(folder / 'store').as_uri()}",
        "--tasks=reach-v3",
        "--preset=tiny",
        f"--steps={STEPS}",
        "--batch_size=4",
        "--sequence_length=16",
        f"--checkpoint_period_steps={CHECKPOINT_STEPS}",
        f"--report_period_steps={CHECKPOINT_STEPS}",
        "--evaluation_episodes=1",
        "--evaluation_max_steps=20",
        "--code_commit=unversioned",
        f"--summary_json={folder / 'summary.json'}",
    ]


def kill_after(folder: Path, given: list[str], saved: Callable[[], bool]) -> str:
    """Starts the job, kills it as soon as it has saved, returns what it printed."""
    process = binaries.start("cloud/job/train", *given)
    deadline_s = time.monotonic() + TIMEOUT_S
    while not saved():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    printed, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "summary.json").exists()
    return printed


def runs(folder: Path) -> list[Path]:
    """The run folders of a store."""
    family = folder / "store" / "continuon-model-artifacts" / "wavecore"
    return sorted(family.iterdir()) if family.exists() else []
