"""The functions of a package: what each takes and returns, for one model.

    step           inputs of `model.step_function` -> action, next observation, next
                   carry, action scale and value
    init           nothing -> `carry` [c] and `deltas`, surface name to [s]: the start
                   of an episode, and of a robot's learning
    fast_update    `weights`, `deltas`, `window` -> see `fast_update.make`
    fast_update_litert  the same for the control process; see `make_fast_update_flat`
    consolidate_*  the calls of a consolidation, see `consolidation.make`; the last one
                   returns `deltas`, and `found` for people
    evaluate       `weights`, `deltas`, `episodes` -> `action_error` and
                   `next_observation_error` of each episode

Every function is called by keyword. `weights` are the arrays of `weights.safetensors`
by name, so a learner hands over the file as it reads it. `window`, `memories` and
`episodes` hold each sense of the model under its name, `image` and `audio_mel`; a model
without senses has no such inputs. In `package.json` an input is named by its path:
keyword, then key, such as `window/states`. All shapes are static, because compiled
programs on a robot need that.

`plan` is what a package says about learning: for each loop the functions that it calls,
in order, and how often each. A robot's runtime keeps what a function returns under its
name and hands it to the next one that takes it, so it need not know what they do.
"""

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from model import array_types as at
from model import losses, senses, step_function, surfaces
from model.config import WaveCoreConfig
from model.learn import consolidation, fast_update, memories
from model.wavecore import WaveCore

FAST_STEPS = 8
"""t, steps of the window of a fast update: a tenth of a second at 80 Hz, short enough
for the update to end within a control period (docs/benchmarks.md)."""
MEMORY_STEPS = 256
"""Longest episode of the memories, and a window of replay: long enough for whole
episodes, because a model tells two robots apart by what it has seen since the episode
began."""
MOST_EPISODES, MEMORY_BYTES = 256, 64 << 20
"""Episodes of the memories, and their largest size: frames leave room for fewer."""
BATCH = consolidation.Batch(windows=4, steps=MEMORY_STEPS)
MEDIUM_STEPS, SLOW_STEPS = 100, 600
"""Gradient steps of one rest and of one night (docs/decisions/0009)."""
EVALUATED_EPISODES = 8
"""r of one call of `evaluate`."""
CONSOLIDATE = "consolidate"
FAST_UPDATE = "fast_update"
FAST_UPDATE_LITERT = "fast_update_litert"
_SCALARS = ("consolidations", "seed", "calls", "index")

Shapes = Any
"""A tree of `jax.ShapeDtypeStruct`."""


@dataclasses.dataclass(frozen=True)
class Function:
    """One function, pure and with static shapes.

    Attributes:
        run: takes the inputs by keyword, returns a dictionary.
        inputs: shapes and types of the inputs, by keyword.
    """

    run: Callable[..., dict[str, Any]]
    inputs: Mapping[str, Shapes]


def step(model: WaveCore) -> Function:
    """The control step: the backbone is a constant, surfaces and carry are inputs."""
    shapes = {
        **step_function.input_shapes(model.config),
        **{n: x.shape for n, x in step_function.initial_surfaces(model).items()},
    }
    return Function(
        step_function.make(model), {name: _f32(*s) for name, s in shapes.items()}
    )


def learning(model: WaveCore) -> dict[str, Function]:
    """Every function but the step, by its name in a package."""
    weights, deltas, window = fast_update.inputs(model, FAST_STEPS)
    kept = memory_shapes(model.config)
    given: dict[str, Shapes] = {
        "weights": weights,
        "deltas": deltas,
        "last_good": deltas,
        "window": window,
        "memories": kept,
        "episodes": {
            name: jax.ShapeDtypeStruct((EVALUATED_EPISODES, *x.shape[1:]), x.dtype)
            for name, x in kept.items()
        },
        **{name: jax.ShapeDtypeStruct((), np.dtype(np.int32)) for name in _SCALARS},
    }
    calls = consolidation.make(model, BATCH)
    given |= jax.eval_shape(calls["begin"], **_arguments(calls["begin"], given))
    functions: dict[str, Callable[..., dict[str, Any]]] = {
        "init": _make_init(model),
        FAST_UPDATE: fast_update.make(model),
        **{f"{CONSOLIDATE}_{name}": call for name, call in calls.items()},
        "evaluate": make_evaluate(model),
    }
    return {n: Function(run, _arguments(run, given)) for n, run in functions.items()}


def make_fast_update_flat(model: WaveCore) -> Function:
    """The fast update as a robot's control process calls it, which has no jax.

    The weights are constants, and every input and output is f32 under one flat name:
    `deltas_<surface>` and `window_<name>` go in, `deltas_calibration`,
    `deltas_adapters`, `loss_before`, `loss_after`, `refused` and `repaired` come out. A
    bool is 1 or 0. Otherwise it is `fast_update.make`.
    """
    update = fast_update.make(model)
    weights = {n: jnp.asarray(x) for n, x in step_function.weights(model).items()}
    _, deltas, window = fast_update.inputs(model, FAST_STEPS)
    shapes: Shapes = {"deltas": deltas, "window": window}
    names = flat_names(shapes)

    def run(**arrays: at.Array) -> dict[str, Any]:
        leaves = [
            arrays[name] > 0 if x.dtype == bool else arrays[name].astype(x.dtype)
            for name, x in names.items()
        ]
        given = jax.tree.unflatten(jax.tree.structure(shapes), leaves)
        found = update(weights, given["deltas"], given["window"])
        return {n: x.astype(jnp.float32) for n, x in flat_names(found).items()}

    return Function(run, {name: _f32(*x.shape) for name, x in names.items()})


def flat_names(tree: Shapes) -> dict[str, Any]:
    """The leaves of a tree of dictionaries, each under its keys joined by `_`."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="_"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def memory_shapes(sizes: WaveCoreConfig) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of `memories`: as many episodes as `MEMORY_BYTES` hold, at most 256."""
    one = memories.shapes(sizes, 1, MEMORY_STEPS)
    each = sum(math.prod(x.shape) * x.dtype.itemsize for x in one.values())
    episodes = max(1, min(MOST_EPISODES, MEMORY_BYTES // each))
    return memories.shapes(sizes, episodes, MEMORY_STEPS)


def plan() -> dict[str, list[dict[str, object]]]:
    """For each loop the functions that it calls, in order, and how often each.

    What the loops differ in, and why: docs/loops.md.
    """

    def consolidate(call: str, calls: int = 1) -> dict[str, object]:
        return {"function": f"{CONSOLIDATE}_{call}", "calls": calls}

    return {
        "fast": [{"function": FAST_UPDATE, "calls": 1}],
        "medium": [
            consolidate("begin"),
            consolidate("compare"),
            consolidate("imagine"),
            consolidate("step", MEDIUM_STEPS),
            consolidate("end"),
        ],
        "slow": [
            consolidate("begin"),
            consolidate("compare"),
            consolidate("step", consolidation.CALIBRATION_STEPS),
            consolidate("judge"),
            consolidate("identify", consolidation.LATENCIES),
            consolidate("imagine"),
            consolidate("step", SLOW_STEPS),
            consolidate("end"),
        ],
    }


def _arguments(
    run: Callable[..., dict[str, Any]], given: Mapping[str, Shapes]
) -> dict[str, Shapes]:
    return {name: given[name] for name in inspect.signature(run).parameters}


def make_evaluate(model: WaveCore) -> Callable[..., dict[str, Any]]:
    """Makes the evaluation for models of this shape; weights come with each call.

    Arguments of the returned function:
        weights, deltas: as for `fast_update.make`.
        episodes: some memories, of the shapes of `memories.shapes`.

    It returns for each episode `action_error` [r], the mean absolute error in the
    robot's units over the steps that are to be imitated, and `next_observation_error`
    [r], in typical changes of one step (`losses.imitation`); both are 0 for an episode
    without a step. Deltas are used as given: one that is outside its bound, or not
    finite, is not repaired and shows in the errors.
    """

    def evaluate(
        weights: Mapping[str, at.Array],
        deltas: Mapping[str, at.Surface],
        episodes: Mapping[str, at.Array],
    ) -> dict[str, Any]:
        core = step_function.with_deltas(model, weights, deltas)
        steps = episodes["actions"].shape[1]
        step = jnp.arange(steps)

        def judge(episode: Mapping[str, at.Array]) -> losses.Losses:
            prediction = core.sequence(
                episode["states"][:-1],
                jnp.broadcast_to(episode["task"], (steps, *episode["task"].shape)),
                step == 0,
                jnp.zeros(model.config.carry_size),
                sensed=senses.select(model.config, episode),
            )
            weight = (step < episode["length"]).astype(jnp.float32)
            action = prediction.action * core.action_reach[...]
            return losses.imitation(
                prediction._replace(action=action),
                episode["actions"],
                episode["states"][1:],
                core.change[...],
                weight * episode["imitate"],
                weight,
            )

        found = jax.lax.map(judge, dict(episodes))
        return {
            "action_error": found.action,
            "next_observation_error": found.next_observation,
        }

    return evaluate


def _make_init(model: WaveCore) -> Callable[..., dict[str, Any]]:
    surface_sizes = {
        name.removeprefix(step_function.SURFACE_PREFIX): x.size
        for name, x in step_function.initial_surfaces(model).items()
    }
    assert surface_sizes.keys() == surfaces.SURFACES.keys()
    carry_size = model.config.step_carry_size

    def init() -> dict[str, Any]:
        return {
            "carry": jnp.zeros(carry_size),
            "deltas": {n: jnp.zeros(size) for n, size in surface_sizes.items()},
        }

    return init


def _f32(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, np.float32)
