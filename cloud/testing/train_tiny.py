"""Trains a tiny model in a separate process, for tests that kill it or run several.

Usage: python -m cloud.testing.train_tiny CHECKPOINTS WEIGHTS UPDATES [KILL [BATCH]]

KILL is the update to die after, `saving` to die while the first checkpoint is written,
or `never`. BATCH is the size of a batch. With TRAIN_TINY_PROCESS=ADDRESS/COUNT/INDEX it
trains as one of several processes, each on all its devices, and appends its index to
the name of the file of weights.
"""

import copy
import dataclasses
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from unittest import mock

import jax
import numpy as np
from jax.sharding import Mesh

from cloud.dataset import training_data
from cloud.testing import training_episodes
from cloud.train import fit, processes
from cloud.train import mesh as meshes
from cloud.train.config import TrainConfig
from cloud.train.trained_model import MakeModel
from cloud.train.update import Trainer
from model import config as model_config
from model import step_function
from model.export import aligned_safetensors
from model.normalisation import Statistics
from model.testing import small_models
from model.wavecore import WaveCore

small_models.shorten_programs()
PROCESS = "TRAIN_TINY_PROCESS"


def config(updates: int, **changes: object) -> TrainConfig:
    """Returns settings for small updates, with a checkpoint after every second."""
    settings: dict[str, object] = {
        "updates": updates,
        "batch_size": 4,
        "sequence_length": 6,
        "warmup_updates": 2,
        "checkpoint_period_updates": 2,
        "report_period_updates": 1,
        "preset": "tiny",
    }
    return TrainConfig(**(settings | changes))  # type: ignore[arg-type]


def train(
    checkpoints: Path,
    updates: int,
    on_progress: Callable[[fit.Progress], None] = lambda progress: None,
    on_note: Callable[[str], None] = print,
    mesh: Mesh | None = None,
    on_checkpoint: Callable[[Path], None] | None = None,
    **changes: object,
) -> fit.FitResult:
    """Trains on twelve small episodes."""
    episodes, tasks = training_episodes.episodes, training_episodes.TASKS
    with share_trainers():
        return fit.fit(
            training_data.join_episodes(episodes(12), tasks),
            training_data.join_episodes(episodes(2, first=100), tasks),
            config(updates, **changes),
            checkpoints,
            on_progress,
            on_note,
            mesh=mesh,
            on_checkpoint=on_checkpoint,
            make_model=one_block,
        )


def one_block(
    state_size: int,
    action_size: int,
    task_count: int,
    statistics: Statistics,
    random: np.random.Generator,
) -> WaveCore:
    """A model with every kind of part, whose update compiles in less time."""
    sizes = model_config.tiny(state_size, action_size, task_count)
    return WaveCore(dataclasses.replace(sizes, block_count=1), statistics, random)


def share_trainers() -> AbstractContextManager[object]:
    """Inside, the same training compiles its update once in a process.

    A trainer keeps nothing of a run, and when it saves and reports compiles nothing.
    """
    return mock.patch.object(fit, "Trainer", _share_trainer)


_trainers: dict[tuple[str, TrainConfig, Mesh, MakeModel | None], Trainer] = {}


def _share_trainer(
    train: training_data.TrainingData,
    held_out: training_data.TrainingData | None,
    config: TrainConfig,
    mesh: Mesh,
    make_model: MakeModel | None,
) -> Trainer:
    same = dataclasses.replace(
        config, checkpoint_period_updates=1, report_period_updates=1
    )
    key = (train.identity, same, mesh, make_model)
    if key not in _trainers:
        _trainers[key] = Trainer(train, held_out, config, mesh, make_model)
    trainer = copy.copy(_trainers[key])
    trainer.config = config
    trainer._held_out = None if held_out is None else held_out.steps
    return trainer


def weights(result: fit.FitResult) -> bytes:
    """Returns the bytes of all parameters."""
    return aligned_safetensors.encode(step_function.weights(result.model))


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_while_saving(checkpoints: Path) -> None:
    """Dies as soon as Orbax's temporary folder contains a file."""
    while not any(p.is_file() for p in checkpoints.glob("*tmp*/**/*")):
        time.sleep(0.0002)
    _die()


def main(
    checkpoints: str, output: str, updates: str, kill: str = "never", batch: str = "4"
) -> None:
    """Trains and writes the weights, or kills itself before that."""

    def on_progress(progress: fit.Progress) -> None:
        if kill == str(progress.update):
            _die()

    if kill == "saving":
        threading.Thread(
            target=_die_while_saving, args=[Path(checkpoints)], daemon=True
        ).start()
    mesh = None
    if os.environ.get(PROCESS):
        address, count, index = os.environ[PROCESS].split("/")
        processes.join(address, int(count), int(index))
        mesh = meshes.make(meshes.MeshShape(jax.device_count()), jax.devices())
        output += f".{index}"
    result = train(
        *(Path(checkpoints), int(updates), on_progress),
        mesh=mesh,
        batch_size=int(batch),
    )
    Path(output).write_bytes(weights(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
