"""Trains one WaveCore on recorded episodes by imitation, resumable to the bit.

Batches are windows cut from one stream of all episodes; where a window runs from
one episode into the next the recurrence is reset, so no step is padding. Which
windows a step sees depends on the seed and the step's number alone, so the state
of training is: step, parameters, their running average, and the optimiser's
moments. A checkpoint holds exactly that, and training that was killed and resumed
ends with the bytes it would have ended with.

Training writes the backbone and the head; the other surfaces keep their initial
values, which have no effect.
"""

import dataclasses
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from cloud import checkpoints, step_stream
from cloud.errors import DivergenceError
from model import config as model_config
from model import losses, normalisation, surfaces
from model.wavecore import WaveCore
from rlds.episode import Episode


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How one model is trained.

    Attributes:
        steps: optimiser steps.
        batch_size: windows per optimiser step.
        sequence_length: steps per window.
        learning_rate: highest learning rate, reached after warm-up; falls to zero
            along a cosine.
        warmup_steps: optimiser steps of linear warm-up.
        weight_decay: decoupled weight decay of matrices, per unit learning rate.
        gradient_norm: gradients are cut to this L2 norm.
        average_decay: decay of the running average of the parameters, which is
            what is evaluated and exported.
        next_share: weight of the next-observation loss beside the action loss.
        seed: decides initial parameters and the windows of every step.
        checkpoint_period_steps: optimiser steps between checkpoints.
        report_period_steps: optimiser steps between two points of the loss curve,
            and between two updates of the progress line.
        preset: `tiny`, `pi5` or `seed`, the size of the model.

    Raises:
        ValueError: a number is out of its range.
    """

    steps: int = 2000
    batch_size: int = 32
    sequence_length: int = 32
    learning_rate: float = 2e-3
    warmup_steps: int = 100
    weight_decay: float = 0.01
    gradient_norm: float = 1.0
    average_decay: float = 0.998
    next_share: float = 1.0
    seed: int = 0
    checkpoint_period_steps: int = 1000
    report_period_steps: int = 50
    preset: str = "pi5"

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "batch_size",
            "sequence_length",
            "checkpoint_period_steps",
            "report_period_steps",
        ):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name}: expected at least 1, got {getattr(self, name)}"
                )
        if not self.learning_rate > 0:
            raise ValueError(
                f"learning_rate: expected above 0, got {self.learning_rate}"
            )
        if self.preset not in model_config.PRESETS:
            raise ValueError(
                f"preset: expected one of {', '.join(model_config.PRESETS)}, got"
                f" {self.preset!r}"
            )


class Progress(NamedTuple):
    """Where training is; one is made every `report_period_steps`.

    Attributes:
        step: optimiser steps done.
        steps: optimiser steps in all.
        loss: mean total training loss since the last report.
        action_loss: mean absolute action error since the last report.
        next_loss: next-observation error since the last report, in typical changes.
        validation_action_loss: the same on held-out episodes, at checkpoints and at
            the end, None in between or without held-out episodes.
        steps_per_s: optimiser steps per second since training began, compile time
            left out.
        remaining_s: time left at that speed.
    """

    step: int
    steps: int
    loss: float
    action_loss: float
    next_loss: float
    validation_action_loss: float | None
    steps_per_s: float
    remaining_s: float


@dataclasses.dataclass(frozen=True)
class FitResult:
    """A trained model and how the training went.

    Attributes:
        model: the model with averaged parameters, ready for `model.export`.
        history: every progress report of this run.
        steps_per_s: optimiser steps per second, compile time left out.
        seconds: wall time in all, compile time included.
        compile_s: wall time until the first step was done.
        resumed_from: step of the checkpoint this run began from, None when new.
    """

    model: WaveCore
    history: tuple[Progress, ...]
    steps_per_s: float
    seconds: float
    compile_s: float
    resumed_from: int | None


MakeModel = Callable[
    [int, int, int, normalisation.Statistics, np.random.Generator], nnx.Module
]
"""State size, action size, task count, statistics and random numbers to a model that
has WaveCore's `sequence` and `config.carry_size`."""

State = dict[str, Any]
"""step i32, parameters, average (both by path), optimizer (a list of arrays)."""


def fit(
    dataset_train: Sequence[Episode],
    dataset_val: Sequence[Episode],
    tasks: Sequence[str],
    config: TrainConfig,
    checkpoint_dir: Path,
    on_progress: Callable[[Progress], None],
    on_note: Callable[[str], None] = lambda line: None,
    make_model: MakeModel | None = None,
) -> FitResult:
    """Trains to `config.steps`, from the newest checkpoint in `checkpoint_dir`.

    `make_model` makes what WaveCore is compared with; default: WaveCore of
    `config.preset`.

    Raises:
        DatasetError: the episodes do not fit together; nothing was trained.
        CheckpointError: a checkpoint cannot be written or read, or is of other data
            or another configuration.
        DivergenceError: the loss is not finite; the last checkpoint is whole.
    """
    began = time.monotonic()
    first = dataset_train[0].spec if dataset_train else None
    sizes = (first.state_size, first.action_size) if first else (1, 1)
    shortest = config.sequence_length + 1
    train = step_stream.join(dataset_train, tasks, *sizes, shortest)
    held_out = step_stream.join(dataset_val, tasks, *sizes) if dataset_val else None
    trainer = _Trainer(
        train, held_out, len(tasks), config, make_model or _wavecore(config.preset)
    )
    identity = trainer.identity
    with checkpoints.Checkpoints(checkpoint_dir, identity, on_note) as saved:
        state, resumed_from = _begin(trainer, saved)
        return _run(trainer, state, saved, resumed_from, began, on_progress)


def _begin(
    trainer: "_Trainer", saved: checkpoints.Checkpoints
) -> tuple[State, int | None]:
    """The newest saved state, or a new one."""
    state = trainer.initial_state()
    newest = saved.newest_step()
    if newest is None:
        return state, None
    return saved.restore(newest, state), newest


def _run(
    trainer: "_Trainer",
    state: State,
    saved: checkpoints.Checkpoints,
    resumed_from: int | None,
    began: float,
    on_progress: Callable[[Progress], None],
) -> FitResult:
    config = trainer.config
    first, compiled = resumed_from or 0, began
    history: list[Progress] = []
    recent: list[losses.Losses] = []
    for step in range(first + 1, config.steps + 1):
        state, loss = trainer.update(state)
        recent.append(loss)
        if step == first + 1:
            jax.block_until_ready(state)
            compiled = time.monotonic()
        at_checkpoint = step % config.checkpoint_period_steps == 0
        at_end = step == config.steps
        if at_end or at_checkpoint or step % config.report_period_steps == 0:
            mean = np.asarray(jax.device_get(recent), np.float64).mean(0)
            recent.clear()
            if not np.isfinite(mean[0]):
                raise DivergenceError(
                    f"training loss: expected a finite number, got {mean[0]} near step"
                    f" {step}; lower the learning rate of {config.learning_rate}"
                )
            speed = (step - first) / max(time.monotonic() - compiled, 1e-9)
            validation = trainer.validate(state) if at_checkpoint or at_end else None
            remaining_s = (config.steps - step) / speed
            report = Progress(step, config.steps, *mean, validation, speed, remaining_s)
            history.append(report)
            on_progress(report)
        if at_end or at_checkpoint:
            saved.save(step, state)
    return FitResult(
        model=trainer.model(state),
        history=tuple(history),
        steps_per_s=history[-1].steps_per_s if history else 0.0,
        seconds=time.monotonic() - began,
        compile_s=compiled - began,
        resumed_from=resumed_from,
    )


class _Trainer:
    """The compiled update, and everything that stays the same while training."""

    def __init__(
        self,
        train: step_stream.StepStream,
        held_out: step_stream.StepStream | None,
        task_count: int,
        config: TrainConfig,
        make_model: MakeModel,
    ) -> None:
        self.config = config
        self.identity = _identity(train, config)
        episodes = np.split(train.states, np.flatnonzero(train.starts)[1:])
        statistics = normalisation.measure(episodes)
        sizes = (train.states.shape[1], train.actions.shape[1], task_count)
        model = make_model(*sizes, statistics, np.random.default_rng(config.seed))
        self._graph, constant, untrained, self._trained = nnx.split(
            model,
            surfaces.Normalisation,
            nnx.Any(surfaces.Calibration, surfaces.Adapters, surfaces.SkillMemory),
            ...,
        )
        self._fixed = (constant, untrained)
        self._task_count = task_count
        self._carry_size = model.config.carry_size
        self._change = jnp.asarray(statistics.change)
        self._optimizer = _optimizer(config)
        self._train = jax.device_put(train)
        self._held_out = None if held_out is None else jax.device_put(held_out)
        self._update = jax.jit(self._updated, donate_argnums=0)
        self._validate = jax.jit(self._validation_losses)

    def initial_state(self) -> State:
        """State before the first step; depends on seed and data alone."""
        parameters = surfaces.named_arrays(self._trained)
        return {
            "step": jnp.zeros((), jnp.int32),
            "parameters": parameters,
            "average": jax.tree.map(jnp.copy, parameters),
            "optimizer": dict(_numbered(jax.jit(self._optimizer.init)(parameters))),
        }

    def update(self, state: State) -> tuple[State, losses.Losses]:
        """One optimiser step; the old state must not be used again."""
        return self._update(state, self._train)

    def validate(self, state: State) -> float | None:
        """Mean absolute action error of the average on the held-out episodes."""
        if self._held_out is None:
            return None
        return float(self._validate(state["average"], self._held_out).action)

    def model(self, state: State) -> WaveCore:
        """The model with averaged parameters."""
        return self._merge(state["average"])

    def _merge(self, parameters: Mapping[str, jax.Array]) -> WaveCore:
        trained = surfaces.with_arrays(self._trained, parameters)
        constant, untrained = self._fixed
        return nnx.merge(self._graph, constant, untrained, trained)

    def _updated(
        self, state: State, stream: step_stream.StepStream
    ) -> tuple[State, losses.Losses]:
        config, step = self.config, state["step"]
        key = jax.random.fold_in(jax.random.key(config.seed), step)
        windows = self._windows(key, stream)
        parameters = state["parameters"]

        def objective(p: Mapping[str, jax.Array]) -> tuple[jax.Array, losses.Losses]:
            loss = self._losses(p, windows)
            return loss.total, loss

        gradients, loss = jax.grad(objective, has_aux=True)(parameters)
        structure = jax.tree.structure(jax.eval_shape(self._optimizer.init, parameters))
        moments = jax.tree.unflatten(structure, _in_order(state["optimizer"]))
        change, moments = self._optimizer.update(gradients, moments, parameters)
        parameters = optax.apply_updates(parameters, change)
        decay = jnp.minimum(config.average_decay, (1.0 + step) / (10.0 + step))
        average = optax.incremental_update(parameters, state["average"], 1 - decay)
        updated = {
            "step": step + 1,
            "parameters": parameters,
            "average": average,
            "optimizer": dict(_numbered(moments)),
        }
        return updated, loss

    def _windows(
        self, key: jax.Array, stream: step_stream.StepStream
    ) -> step_stream.StepStream:
        """Random windows [b t+1]; the last step of each is only a next state."""
        config = self.config
        last = stream.starts.shape[0] - config.sequence_length - 1
        first = jax.random.randint(key, (config.batch_size, 1), 0, last + 1)
        index = first + jnp.arange(config.sequence_length + 1)
        return jax.tree.map(lambda x: x[index], stream)

    def _losses(
        self, parameters: Mapping[str, jax.Array], windows: step_stream.StepStream
    ) -> losses.Losses:
        """Losses over windows [b t+1]; recurrence begins at zero in each."""
        now = jax.tree.map(lambda x: x[:, :-1], windows)
        prediction = self._merge(parameters).sequence(
            now.states,
            jax.nn.one_hot(now.tasks, self._task_count),
            now.starts,
            jnp.zeros((now.starts.shape[0], self._carry_size)),
        )
        return losses.imitation(
            prediction,
            now.actions,
            windows.states[:, 1:],
            self._change,
            now.action_weight,
            now.next_weight,
            self.config.next_share,
        )

    def _validation_losses(
        self, parameters: Mapping[str, jax.Array], stream: step_stream.StepStream
    ) -> losses.Losses:
        return self._losses(parameters, jax.tree.map(lambda x: x[None], stream))


def _wavecore(preset: str) -> MakeModel:
    def make(
        state_size: int,
        action_size: int,
        task_count: int,
        statistics: normalisation.Statistics,
        random: np.random.Generator,
    ) -> WaveCore:
        sizes = model_config.PRESETS[preset](state_size, action_size, task_count)
        return WaveCore(sizes, statistics, random)

    return make


def _optimizer(config: TrainConfig) -> optax.GradientTransformation:
    warmup_steps = min(config.warmup_steps, config.steps // 2)
    rate = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, warmup_steps, config.steps
    )
    return optax.chain(
        optax.clip_by_global_norm(config.gradient_norm),
        optax.adamw(
            rate,
            weight_decay=config.weight_decay,
            mask=lambda p: jax.tree.map(lambda x: x.ndim > 1, p),
        ),
    )


def _numbered(tree: optax.OptState) -> list[tuple[str, jax.Array]]:
    return [(f"{i:04d}", leaf) for i, leaf in enumerate(jax.tree.leaves(tree))]


def _in_order(numbered: Mapping[str, jax.Array]) -> list[jax.Array]:
    return [numbered[name] for name in sorted(numbered)]


def _identity(train: step_stream.StepStream, config: TrainConfig) -> str:
    """Digest of everything that decides the numbers of a run."""
    decides = dataclasses.asdict(config)
    del decides["checkpoint_period_steps"], decides["report_period_steps"]
    digest = hashlib.sha256(repr(sorted(decides.items())).encode())
    for column in jax.tree.leaves(train):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()
