"""The compiled update of one model, on a mesh of any size.

Losses are weighted means over the whole batch. When a batch is cut into parts, over
devices and one after the other, the result must not become a mean of means, so each
part is weighted by its share of the batch's weight. The shares are known in advance;
the sum over parts is then the mean over the batch, and its gradient is the sum of the
parts' gradients.

Inside `shard_map` each device processes its own windows with whole parameters, which it
gathers along `fsdp` once per update. Gradients are summed over devices and scattered
back, and the optimiser updates the shard that each device keeps.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import PyTree

from cloud.dataset import step_stream
from cloud.dataset.step_stream import StepStream
from cloud.dataset.training_data import TrainingData
from cloud.train import mesh as meshes
from cloud.train import optimizer, trained_model
from cloud.train.config import TrainConfig
from cloud.train.trained_model import MakeModel
from model import losses, surfaces
from model.wavecore import Prediction, WaveCore

State = dict[str, Any]
"""updates i32, parameters, average (both by path), optimizer (numbered arrays)."""

Fixed = tuple[nnx.State, nnx.State]
"""What training does not change: input normalisation, and the robot's surfaces."""

Measured = dict[str, jax.Array]
"""Scalars of one update by name: losses, gradient_norm, learning_rate."""


_HELD_OUT_AT_ONCE = 1 << 15
"""Held-out steps per call of the model, which bounds the memory for any number of
held-out episodes; at width 512, a few hundred MB of activations."""


class Trainer:
    """The compiled update, and everything that does not change during training.

    Attributes:
        config: how it trains, with the dtype decided.
        mesh: the devices.
        identity: digest of the data and configuration that decide the result.
        parameter_count: how many numbers training changes.
    """

    def __init__(
        self,
        train: TrainingData,
        held_out: TrainingData | None,
        config: TrainConfig,
        mesh: Mesh,
        make_model: MakeModel | None = None,
    ) -> None:
        """Builds the model; compiles nothing yet and reads no step.

        Args:
            train: the training data.
            held_out: held-out episodes of the same tasks, None to skip validation.
            config: how to train, with the dtype decided.
            mesh: the devices.
            make_model: makes the model; default: WaveCore.

        Raises:
            DatasetError: the model has a sense (camera or sound) that the steps lack.
            MeshError: the batch cannot be split into equal parts on the mesh.
        """
        meshes.check_batch(mesh, config.batch_size, config.accumulation_steps)
        self.config, self.mesh = config, mesh
        self.identity = _identity(train, config)
        model = (make_model or trained_model.wavecore(config, train))(
            *train.sizes, train.statistics, np.random.default_rng(config.seed)
        )
        self._graph, constant, untrained, self._trained = nnx.split(
            model,
            surfaces.Normalisation,
            nnx.Any(surfaces.Calibration, surfaces.Adapters, surfaces.SkillMemory),
            ...,
        )
        # These are inputs of the programs, not constants: for a product with a matrix
        # that is known to be all zeros, as new adapters are, XLA:CPU of jaxlib 0.12
        # returns uninitialised memory.
        self._fixed = self._replicate(jax.tree.map(np.asarray, (constant, untrained)))
        self._initial = jax.tree.map(np.asarray, surfaces.named_arrays(self._trained))
        self.parameter_count = meshes.count_numbers(self._initial)
        # Models that are compared with WaveCore read only the state.
        self._senses_config = model.config if isinstance(model, WaveCore) else None
        for data in filter(None, (train, held_out)):
            self._select_senses(data.steps)
        self._task_count = len(train.tasks)
        self._carry_size = model.config.carry_size
        self._change = train.statistics.change
        reach = train.statistics.action_reach
        self._reach = np.ones(train.sizes[1], np.float32) if reach is None else reach
        self._optimizer = optimizer.Optimizer(config)
        self._schedule = optimizer.schedule(config)
        self._held_out = None if held_out is None else held_out.steps
        self._shapes = jax.eval_shape(self._make_state, self._initial)
        self._shardings = meshes.shardings(mesh, self._shapes)
        self._update = jax.jit(
            self._compute_update,
            donate_argnums=0,
            out_shardings=(self._shardings, meshes.replicate(mesh)),
        )
        self._validate = jax.jit(
            self._compute_error, out_shardings=meshes.replicate(mesh)
        )

    def initial_state(self) -> State:
        """Returns the state before the first update; depends only on seed and data."""
        shardings = self._shardings
        parameters = meshes.put(self._initial, shardings["parameters"])
        moments = jax.jit(self._optimizer.init, out_shardings=shardings["optimizer"])
        return {
            "updates": meshes.put(np.zeros((), np.int32), shardings["updates"]),
            "parameters": parameters,
            "average": meshes.put(self._initial, shardings["average"]),
            "optimizer": moments(parameters),
        }

    def state_template(self) -> State:
        """Returns shapes, types and shardings of a state, without its numbers."""
        return jax.tree.map(
            lambda x, at: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=at),
            self._shapes,
            self._shardings,
        )

    def update(self, state: State, batch: StepStream) -> tuple[State, Measured]:
        """Makes one update from this process's windows [b_local t+1 ...].

        The old state must not be used again.
        """
        return self._update(state, self._fixed, meshes.put_batch(self.mesh, batch))

    def validate(self, state: State) -> float | None:
        """Returns the mean absolute action error of the average on held-out episodes.

        They are read in pieces, and the recurrence continues from one to the next. None
        without held-out episodes.
        """
        if self._held_out is None:
            return None
        carry = self._replicate(np.zeros((1, self._carry_size), np.float32))
        errors, weights = [], []
        for piece in step_stream.pieces(self._held_out, _HELD_OUT_AT_ONCE):
            given = self._replicate(piece)
            error, carry = self._validate(state["average"], self._fixed, given, carry)
            weights.append(float(np.sum(piece.action_weight[:-1], dtype=np.float64)))
            errors.append(float(error) * weights[-1])
        return sum(errors) / max(sum(weights), 1e-6)

    def _replicate(self, tree: PyTree) -> PyTree:
        where = jax.tree.map(lambda _: meshes.replicate(self.mesh), tree)
        return meshes.put(tree, where)

    def model(self, state: State) -> WaveCore:
        """Returns the averaged model on the first device of this process."""
        average = meshes.copy_to_host(self.mesh, state["average"])
        merged = self._merge(average, meshes.copy_to_host(self.mesh, self._fixed))
        return jax.tree.map(jnp.asarray, merged)

    def _make_state(self, parameters: optimizer.Parameters) -> State:
        return {
            "updates": jnp.zeros((), jnp.int32),
            "parameters": parameters,
            "average": parameters,
            "optimizer": self._optimizer.init(parameters),
        }

    def _compute_update(
        self, state: State, fixed: Fixed, windows: StepStream
    ) -> tuple[State, Measured]:
        updates, parameters = state["updates"], state["parameters"]
        gradients, measured = self._gradients(parameters, fixed, windows)
        norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(gradients)))
        parameters, moments = self._optimizer.update(
            gradients, state["optimizer"], parameters
        )
        decay = jnp.minimum(
            self.config.average_decay, (1.0 + updates) / (10.0 + updates)
        )
        average = jax.tree.map(
            lambda new, old: decay * old + (1 - decay) * new,
            parameters,
            state["average"],
        )
        measured |= {"gradient_norm": norm, "learning_rate": self._schedule(updates)}
        updated = {
            "updates": updates + 1,
            "parameters": parameters,
            "average": average,
            "optimizer": moments,
        }
        return updated, measured

    def _gradients(
        self, parameters: Mapping[str, jax.Array], fixed: Fixed, windows: StepStream
    ) -> tuple[dict[str, jax.Array], Measured]:
        """Returns gradients, sharded as the parameters are, and losses of the batch."""
        sums = (
            jnp.sum(windows.action_weight[:, :-1]),
            jnp.sum(windows.next_weight[:, :-1]),
        )
        specs = jax.tree.map(
            lambda x: meshes.parameter_spec(self.mesh, x.shape), dict(parameters)
        )
        rows = jax.tree.map(lambda _: PartitionSpec(meshes.AXES), windows)

        def on_device(
            kept: dict[str, jax.Array],
            fixed: Fixed,
            mine: StepStream,
            sums: tuple[jax.Array, ...],
        ) -> tuple[dict[str, jax.Array], Measured]:
            whole = {n: _all_gather(self._cast(x), specs[n]) for n, x in kept.items()}
            gradients, measured = self._accumulate(whole, fixed, mine, sums)
            gradients = {n: _sum_scatter(g, specs[n]) for n, g in gradients.items()}
            return gradients, jax.lax.psum(measured, meshes.AXES)

        # The check of replicated values does not support custom derivatives.
        return jax.shard_map(
            on_device,
            mesh=self.mesh,
            in_specs=(specs, PartitionSpec(), rows, PartitionSpec()),
            out_specs=(specs, PartitionSpec()),
            check_vma=False,
        )(dict(parameters), fixed, windows, sums)

    def _cast(self, x: jax.Array) -> jax.Array:
        """Casts a parameter for the forward pass: matrices to the compute dtype."""
        return x.astype(self.config.compute_dtype) if x.ndim > 1 else x

    def _accumulate(
        self,
        whole: dict[str, jax.Array],
        fixed: Fixed,
        windows: StepStream,
        sums: tuple[jax.Array, ...],
    ) -> tuple[dict[str, jax.Array], Measured]:
        """Sums gradients and losses over the parts of one device's windows, in f32."""

        def differentiate(part: StepStream) -> tuple[dict[str, jax.Array], Measured]:
            gradients, measured = jax.grad(self._objective, has_aux=True)(
                whole, fixed, part, sums
            )
            return jax.tree.map(lambda g: g.astype(jnp.float32), gradients), measured

        count = self.config.accumulation_steps
        if count == 1:
            return differentiate(windows)
        parts = jax.tree.map(
            lambda x: x.reshape(count, x.shape[0] // count, *x.shape[1:]), windows
        )
        zeros = jax.tree.map(
            lambda x: jnp.zeros(x.shape, x.dtype),
            jax.eval_shape(differentiate, jax.tree.map(lambda x: x[0], parts)),
        )

        def add(so_far: PyTree, part: StepStream) -> tuple[PyTree, None]:
            return jax.tree.map(jnp.add, so_far, differentiate(part)), None

        return jax.lax.scan(add, zeros, parts)[0]

    def _objective(
        self,
        parameters: Mapping[str, jax.Array],
        fixed: Fixed,
        part: StepStream,
        sums: tuple[jax.Array, ...],
    ) -> tuple[jax.Array, Measured]:
        """Returns this part's share of the batch's losses; the shares add up."""
        loss, heads = self._losses(parameters, fixed, part)
        weights = (part.action_weight[:, :-1], part.next_weight[:, :-1])
        of_actions, of_next = (
            jnp.sum(w) / jnp.maximum(s, 1e-6)
            for w, s in zip(weights, sums, strict=True)
        )
        following = self.config.next_share * loss.next_observation
        total = of_actions * (loss.total - following) + of_next * following
        return total, {
            "total": total,
            "action": of_actions * loss.action,
            "next_observation": of_next * loss.next_observation,
            "action_scale": of_actions * heads.action_scale,
            "value": of_actions * heads.value,
        }

    def _predict(
        self,
        parameters: Mapping[str, jax.Array],
        fixed: Fixed,
        windows: StepStream,
        carry: jax.Array,
    ) -> Prediction:
        """Predicts all but the last step of windows [b t+1], from carry [b c]."""
        now = jax.tree.map(lambda x: x[:, :-1], windows)
        # Models that are compared with WaveCore may not support senses and remat.
        options: dict[str, Any] = {"remat": True} if self.config.remat == "on" else {}
        if sensed := self._select_senses(now):
            options["sensed"] = sensed
        return self._merge(parameters, fixed).sequence(
            now.states,
            jax.nn.one_hot(now.tasks, self._task_count),
            now.starts,
            carry,
            **options,
        )

    def _select_senses(self, steps: StepStream) -> Mapping[str, jax.Array]:
        config = self._senses_config
        return step_stream.select_senses(steps, config) if config else {}

    def _losses(
        self, parameters: Mapping[str, jax.Array], fixed: Fixed, windows: StepStream
    ) -> tuple[losses.Losses, losses.HeadLosses]:
        """Returns losses over windows [b t+1]; each starts from a zero carry."""
        now = jax.tree.map(lambda x: x[:, :-1], windows)
        carry = jnp.zeros((now.starts.shape[0], self._carry_size))
        prediction = self._predict(parameters, fixed, windows, carry)
        judged = now.action_weight * now.value_known
        loss = losses.imitation(
            prediction,
            now.actions / self._reach,
            windows.states[:, 1:],
            jnp.asarray(self._change),
            now.action_weight,
            now.next_weight,
            self.config.next_share,
            values=now.values,
            value_weight=judged,
        )
        heads = losses.heads(
            prediction,
            now.actions / self._reach,
            now.action_weight,
            now.values,
            judged,
        )
        return loss, heads

    def _compute_error(
        self,
        parameters: Mapping[str, jax.Array],
        fixed: Fixed,
        piece: StepStream,
        carry: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        """Returns action error and next carry [1 c] for a piece [t+1 ...]."""
        one = jax.tree.map(lambda x: x[None], piece)
        prediction = self._predict(parameters, fixed, one, carry)
        error = losses.action_error(
            prediction, one.actions[:, :-1] / self._reach, one.action_weight[:, :-1]
        )
        return error, prediction.carry

    def _merge(self, parameters: Mapping[str, jax.Array], fixed: Fixed) -> WaveCore:
        trained = surfaces.with_arrays(self._trained, parameters)
        constant, untrained = fixed
        return nnx.merge(self._graph, constant, untrained, trained)


def _all_gather(x: jax.Array, spec: PartitionSpec) -> jax.Array:
    if meshes.FSDP not in spec:
        return x
    axis = spec.index(meshes.FSDP)
    return jax.lax.all_gather(x, meshes.FSDP, axis=axis, tiled=True)


def _sum_scatter(gradient: jax.Array, spec: PartitionSpec) -> jax.Array:
    if meshes.FSDP not in spec:
        return jax.lax.psum(gradient, meshes.AXES)
    axis = spec.index(meshes.FSDP)
    mine = jax.lax.psum_scatter(
        gradient, meshes.FSDP, scatter_dimension=axis, tiled=True
    )
    return jax.lax.psum(mine, meshes.DATA)


def _identity(train: TrainingData, config: TrainConfig) -> str:
    """Returns a digest of everything that decides a run's result, except rounding.

    The number of parts that a batch is cut into affects only rounding, so a run may
    continue on devices that need other parts.
    """
    decides = dataclasses.asdict(config) | {"data": train.identity}
    if (reach := train.statistics.action_reach) is not None:
        decides["action_reach"] = reach.tolist()
    del decides["checkpoint_period_updates"], decides["report_period_updates"]
    del decides["accumulation_steps"]
    return hashlib.sha256(repr(sorted(decides.items())).encode()).hexdigest()
