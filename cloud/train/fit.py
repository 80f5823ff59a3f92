"""Trains one WaveCore on recorded episodes by imitation; resuming is exact to the bit.

Batches are windows cut from one stream of all episodes, in memory or mapped from a file
of any size. Where a window crosses from one episode to the next the recurrence is
reset, so no step is padding. The windows of an update depend only on the data, the seed
and the update's number, so the state of training is: number of updates, parameters,
their running average, and the optimiser's moments. A checkpoint holds exactly that, and
training that is killed and resumed on the same mesh ends with the same bytes as without
interruption.

Training changes the backbone and the head; the other surfaces keep their initial
values, which have no effect.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from cloud.dataset import place_noise
from cloud.dataset.training_data import TrainingData
from cloud.dataset.window_batches import Windows
from cloud.errors import DivergenceError
from cloud.train import checkpoints, trained_model
from cloud.train import mesh as meshes
from cloud.train.config import TrainConfig as TrainConfig
from cloud.train.profile import Profiler, ProfileRange
from cloud.train.trained_model import MakeModel as MakeModel
from cloud.train.update import Measured, State, Trainer
from model.wavecore import WaveCore


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far training is; one report is made every `report_period_updates`.

    Attributes:
        update: updates done.
        updates: updates in all.
        loss: mean total training loss since the last report.
        action_loss: mean absolute action error since the last report.
        next_loss: next-observation error since the last report, in typical changes.
        validation_action_loss: the action error on held-out episodes, at checkpoints
            and at the end; None in between or without held-out episodes.
        updates_per_s: updates per second since training began, without compile time.
        remaining_s: time left at that speed.
        measured: mean of every scalar of an update since the last report, by name:
            each loss, `gradient_norm` and `learning_rate`.
        control_steps_per_s: control steps trained on per second, over all devices.
        model_flop_per_s: floating-point operations per second that the model needs,
            6 per parameter and control step (Kaplan et al. 2020, arXiv:2001.08361).
    """

    update: int
    updates: int
    loss: float
    action_loss: float
    next_loss: float
    validation_action_loss: float | None
    updates_per_s: float
    remaining_s: float
    measured: Mapping[str, float] = dataclasses.field(default_factory=dict)
    control_steps_per_s: float = 0.0
    model_flop_per_s: float = 0.0

    def figures(self) -> dict[str, float]:
        """Returns the figures for a dashboard, by tag."""
        rates = ("gradient_norm", "learning_rate")
        shown = {
            name if name in rates else f"loss/{name}": value
            for name, value in self.measured.items()
        }
        if self.validation_action_loss is not None:
            shown["loss/validation_action"] = self.validation_action_loss
        return shown | {
            "speed/updates_per_s": self.updates_per_s,
            "speed/control_steps_per_s": self.control_steps_per_s,
            "speed/model_gflop_per_s": self.model_flop_per_s / 1e9,
        }


@dataclasses.dataclass(frozen=True)
class FitResult:
    """A trained model and how the training went.

    Attributes:
        model: the model with averaged parameters, ready for `model.export.export`.
        history: every progress report of this run.
        updates_per_s: updates per second, without compile time.
        seconds: total wall time, compile time included.
        compile_s: wall time until the first update was done.
        resumed_from: updates done in the checkpoint that this process resumed from,
            None for a new run.
    """

    model: WaveCore
    history: tuple[Progress, ...]
    updates_per_s: float
    seconds: float
    compile_s: float
    resumed_from: int | None


def fit(
    train: TrainingData,
    held_out: TrainingData | None,
    config: TrainConfig,
    checkpoint_dir: Path,
    on_progress: Callable[[Progress], None],
    on_note: Callable[[str], None] = lambda line: None,
    make_model: MakeModel | None = None,
    mesh: Mesh | None = None,
    profile: ProfileRange | None = None,
    profile_dir: Path | None = None,
    on_checkpoint: Callable[[Path], None] | None = None,
) -> FitResult:
    """Trains to `config.updates`, from the newest checkpoint in `checkpoint_dir`.

    Every process of a distributed run calls it with the same arguments except the
    callbacks, and with a `checkpoint_dir` that all of them share.

    Args:
        train: the training data.
        held_out: held-out episodes of the same tasks, None to skip validation.
        config: how to train.
        checkpoint_dir: where the run's checkpoints are.
        on_progress: called every `report_period_updates`.
        on_note: called with one line about leftovers that were removed or moved aside.
        make_model: makes a model that is compared with WaveCore; default: WaveCore of
            `config.preset` with the senses that `train` has.
        mesh: the devices; default: only the first.
        profile: updates to trace, None for none.
        profile_dir: where the trace is written; default: beside the checkpoints.
        on_checkpoint: called with the folder of each checkpoint when it is on disk,
            while training waits; None lets training continue meanwhile.

    Raises:
        DatasetError: there are fewer steps than a window has; nothing was trained.
        MeshError: the batch cannot be split into equal parts on the mesh.
        CheckpointError: a checkpoint cannot be written, none is whole, or they are of
            other data or another configuration.
        DivergenceError: the loss is not finite; the last checkpoint is whole.
    """
    began_s = time.monotonic()
    mesh = mesh or meshes.single()
    config = config.for_platform(mesh.devices.flat[0].platform, mesh.size)
    windows = Windows(
        train.steps,
        config.batch_size,
        config.sequence_length,
        config.seed,
        jax.process_index() if mesh.size > 1 else 0,
        jax.process_count() if mesh.size > 1 else 1,
        config.sense_dropout if config.senses else 0.0,
        trained_model.count_cameras(config, train.steps.places),
        _choose_noise(train) if config.senses else None,
    )
    trainer = Trainer(train, held_out, config, mesh, make_model)
    profiler = Profiler(profile, profile_dir or checkpoint_dir.parent / "profile")
    with checkpoints.Checkpoints(
        checkpoint_dir, trainer.identity, on_note, on_whole=on_checkpoint
    ) as saved:
        run = _Run(trainer, windows, saved, profiler, began_s, on_progress)
        return run.train()


def _choose_noise(train: TrainingData) -> np.ndarray | None:
    deviation = train.statistics.places_deviation
    return None if deviation is None else place_noise.SHARE * deviation


class _Run:
    """The loop over updates, and what it keeps between two reports."""

    def __init__(
        self,
        trainer: Trainer,
        windows: Windows,
        saved: checkpoints.Checkpoints,
        profiler: Profiler,
        began_s: float,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._trainer, self._windows, self._saved = trainer, windows, saved
        self._profiler, self._on_progress = profiler, on_progress
        self._began_s = self._compiled_s = began_s
        self._recent: list[Measured] = []
        self._history: list[Progress] = []
        newest = saved.read_newest(trainer.state_template())
        self._resumed_from = None if newest is None else newest[0]
        self._first = self._resumed_from or 0
        self._state = trainer.initial_state() if newest is None else newest[1]

    def train(self) -> FitResult:
        """Trains, reports and saves until the last update is done."""
        try:
            for update in range(self._first + 1, self._trainer.config.updates + 1):
                self._update(update)
                self._report_and_save(update)
        finally:
            self._profiler.stop()
        return FitResult(
            model=self._trainer.model(self._state),
            history=tuple(self._history),
            updates_per_s=self._history[-1].updates_per_s if self._history else 0.0,
            seconds=time.monotonic() - self._began_s,
            compile_s=self._compiled_s - self._began_s,
            resumed_from=self._resumed_from,
        )

    def _update(self, update: int) -> None:
        # The device works while the host cuts the next windows.
        batch = self._windows.batch(update - 1)
        self._profiler.before(update - self._first)
        self._state, measured = self._trainer.update(self._state, batch)
        self._profiler.after(update - self._first, measured)
        self._recent.append(measured)
        if update == self._first + 1:
            jax.block_until_ready(self._state)
            self._compiled_s = time.monotonic()

    def _report_and_save(self, update: int) -> None:
        config = self._trainer.config
        at_end = update == config.updates
        save = at_end or update % config.checkpoint_period_updates == 0
        if save or update % config.report_period_updates == 0:
            self._report(update, self._trainer.validate if save else lambda state: None)
        if save:
            self._saved.save(update, self._state)

    def _report(self, update: int, validate: Callable[[State], float | None]) -> None:
        config = self._trainer.config
        recent = jax.device_get(self._recent)
        self._recent.clear()
        mean = {name: float(np.mean([m[name] for m in recent])) for name in recent[0]}
        if not np.isfinite(mean["total"]):
            raise DivergenceError(
                "training loss",
                "a finite number",
                f"{mean['total']} near update {update}",
                f"lower the learning rate of {config.learning_rate}",
            )
        elapsed_s = max(time.monotonic() - self._compiled_s, 1e-9)
        updates_per_s = (update - self._first) / elapsed_s
        control = updates_per_s * config.batch_size * config.sequence_length
        report = Progress(
            update=update,
            updates=config.updates,
            loss=mean["total"],
            action_loss=mean["action"],
            next_loss=mean["next_observation"],
            validation_action_loss=validate(self._state),
            updates_per_s=updates_per_s,
            remaining_s=(config.updates - update) / updates_per_s,
            measured=mean,
            control_steps_per_s=control,
            model_flop_per_s=6 * self._trainer.parameter_count * control,
        )
        self._history.append(report)
        self._on_progress(report)
