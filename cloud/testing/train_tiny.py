"""Trains a tiny model as a process of its own, for tests that kill it.

Usage: python -m cloud.testing.train_tiny CHECKPOINTS WEIGHTS STEPS [KILL_AT_STEP]
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from cloud import training
from cloud.testing import training_episodes
from model import aligned_safetensors, step_function


def config(steps: int) -> training.TrainConfig:
    """Few small steps, a checkpoint after every second."""
    return training.TrainConfig(
        steps=steps,
        batch_size=4,
        sequence_length=6,
        warmup_steps=2,
        checkpoint_period_steps=2,
        report_period_steps=1,
        preset="tiny",
    )


def train(
    checkpoints: Path,
    steps: int,
    on_progress: Callable[[training.Progress], None] = lambda progress: None,
    on_note: Callable[[str], None] = print,
) -> training.FitResult:
    """Trains on twelve small episodes."""
    return training.fit(
        training_episodes.episodes(12),
        training_episodes.episodes(2, first=100),
        training_episodes.TASKS,
        config(steps),
        checkpoints,
        on_progress,
        on_note,
    )


def weights(result: training.FitResult) -> bytes:
    """The bytes of every parameter."""
    return aligned_safetensors.encode(step_function.weights(result.model))


def main(
    checkpoints: str, output: str, steps: str, kill_at_step: str | None = None
) -> None:
    """Trains and writes the weights, or dies without warning on the way."""

    def on_progress(progress: training.Progress) -> None:
        if kill_at_step is not None and progress.step == int(kill_at_step):
            os.kill(os.getpid(), signal.SIGKILL)

    result = train(Path(checkpoints), int(steps), on_progress)
    Path(output).write_bytes(weights(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
