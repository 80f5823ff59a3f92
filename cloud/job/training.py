"""The training of a run, in its only process or in one of several.

The first process shows progress, keeps the losses and uploads checkpoints; the others
only work.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax
from rich.console import Console

from cloud.console import WorkProgress
from cloud.job import data as job_data
from cloud.job import figures
from cloud.job.data import Data
from cloud.job.figures import LossHistory, LossPoint
from cloud.job.held_run import HeldRun
from cloud.job.settings import JobSettings
from cloud.train import fit, mesh, processes
from cloud.train.fit import FitResult, Progress


def train(
    run: HeldRun, history: LossHistory, console: Console, note: Callable[[str], None]
) -> FitResult:
    """Trains a run to its last update, from its furthest checkpoint.

    Args:
        run: the run.
        history: is given every loss.
        console: where progress is shown.
        note: is told what a person should know.

    Raises:
        CloudError, ModelError, RldsError: one cause each, one line.
    """
    folder = run.folder
    with (
        WorkProgress(
            console, "train", run.settings.train.updates, "updates"
        ) as progress,
        figures.EventFile(folder.tensorboard, folder.continued) as events,
    ):

        def on_progress(now: Progress) -> None:
            history.add(LossPoint(now.update, now.loss, now.validation_action_loss))
            events.add(now.update, now.figures())
            detail = f"loss {now.loss:.4f}, {now.updates_per_s:.1f} updates/s"
            progress.show(now.update, detail, now.remaining_s)

        return _fit(
            run.settings,
            run.data,
            folder.checkpoints,
            on_progress,
            note,
            on_checkpoint=None if run.destination.local else run.back_up_checkpoint,
        )


def follow(settings: JobSettings) -> None:
    """Trains as one of several processes, the first of which runs the job.

    Raises:
        CloudError, ModelError, RldsError: one cause each, one line.
    """
    processes.require_shared(None)
    job_data.require_trainable(settings)
    data = job_data.open_data(settings)
    _fit(settings, data, processes.share_path(None), lambda progress: None)


def _fit(
    settings: JobSettings,
    data: Data,
    saved: Path,
    on_progress: Callable[[Progress], None],
    on_note: Callable[[str], None] = lambda line: None,
    on_checkpoint: Callable[[Path], None] | None = None,
) -> FitResult:
    """Trains, in every process of a run; after that they work independently."""
    fitted = fit.fit(
        data.train_steps,
        data.held_out_steps,
        settings.train,
        saved,
        on_progress,
        on_note,
        mesh=mesh.make(settings.run.mesh_shape, jax.devices()),
        profile=settings.run.profile_range,
        profile_dir=saved.parent / "tensorboard",
        on_checkpoint=on_checkpoint,
    )
    # The model is whole on this process's device, so the rest needs no other process.
    processes.leave()
    return fitted
