"""The functions of a package: what each takes and returns, for one model.

    step                inputs of `model.step_function` -> action, next observation,
                        next carry and whatever else the model says
    init                nothing -> `carry` [c] and `deltas`, surface name to [s]: what
                        an episode and what a robot's learning begin with
    fast_update         `weights`, `deltas`, `window` -> see `updates.make_fast`
    consolidate_update  `weights`, `deltas`, `last_good`, `replay` -> see
                        `updates.make_consolidate`
    calibrate_update    the same inputs -> the same of the calibration alone
    imagine             `weights`, `deltas`, `memories` -> `states` and `actions`, see
                        `projection.project`
    evaluate            `weights`, `deltas`, `episodes` -> `action_error`,
                        `next_observation_error`

Every function is called by keyword. `weights` are the arrays of `weights.safetensors`
by name, so a learner hands over the file as it reads it. `window`, `replay` and
`episodes` hold each sense of the model under its name, `image` and `audio_mel`; a model
without senses has no such inputs. An input's name in `package.json` is the way to it:
keyword, then key, such as `window/states`. All shapes are static, because a compiled
program on a robot has no other.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from model import array_types as at
from model import losses, senses, step_function, surfaces
from model.learn import projection, updates
from model.wavecore import WaveCore

FAST_STEPS = 8
"""t, steps of the window of a fast update: a tenth of a second at 80 Hz, so that it
ends within a control period (docs/benchmarks.md)."""
REPLAY_UPDATES, REPLAY_WINDOWS, REPLAY_STEPS = 50, 4, 256
"""Gradient steps of one consolidation, windows of each, and steps of a window: long
enough for whole episodes, because a model tells two robots apart by what it has seen
since the episode began. One night's learning is several consolidations
(docs/benchmarks.md, adaptation)."""
EVALUATION_WINDOWS, EVALUATION_STEPS = 8, 64
"""b and t of the windows of one evaluation; an episode is several of them."""

Shapes = Any
"""A tree of `jax.ShapeDtypeStruct`."""


@dataclasses.dataclass(frozen=True)
class Function:
    """One function, pure and with static shapes.

    Attributes:
        run: takes the inputs by keyword, returns a dictionary.
        inputs: keyword to the shapes and types of what it takes.
    """

    run: Callable[..., dict[str, Any]]
    inputs: Mapping[str, Shapes]


def step(model: WaveCore) -> Function:
    """The control step; the backbone is inside, surfaces and carry are inputs."""
    shapes = {
        **step_function.input_shapes(model.config),
        **{n: x.shape for n, x in step_function.initial_surfaces(model).items()},
    }
    return Function(
        step_function.make(model), {name: _f32(*s) for name, s in shapes.items()}
    )


def learning(model: WaveCore) -> dict[str, Function]:
    """Every function but the step, by its name in a package."""
    weights, deltas, window = updates.fast_inputs(model, FAST_STEPS)
    windows = REPLAY_UPDATES * REPLAY_WINDOWS
    *_, replay = updates.consolidate_inputs(model, windows, REPLAY_STEPS)
    fixed = {"weights": weights, "deltas": deltas}
    return {
        "init": Function(_make_init(model), {}),
        "fast_update": Function(updates.make_fast(model), {**fixed, "window": window}),
        "consolidate_update": Function(
            updates.make_consolidate(model, REPLAY_UPDATES),
            {**fixed, "last_good": deltas, "replay": replay},
        ),
        "calibrate_update": Function(
            updates.make_consolidate(
                model, REPLAY_UPDATES, updates.CALIBRATED_SURFACES
            ),
            {**fixed, "last_good": deltas, "replay": replay},
        ),
        "imagine": Function(
            make_imagine(model),
            {**fixed, "memories": {n: replay[n] for n in ("states", "actions")}},
        ),
        "evaluate": Function(
            make_evaluate(model), {**fixed, "episodes": evaluation_shapes(model)}
        ),
    }


def evaluation_shapes(model: WaveCore) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of `episodes` of `evaluate`: what replay holds, in longer windows."""
    *_, replay = updates.consolidate_inputs(model, EVALUATION_WINDOWS, EVALUATION_STEPS)
    return {name: x for name, x in replay.items() if x.ndim}


def make_evaluate(model: WaveCore) -> Callable[..., dict[str, Any]]:
    """The evaluation of models like `model`, none of whose numbers it keeps.

    Arguments of the function made, all f32 but for `starts`:
        weights, deltas: as for `updates.make_fast`.
        episodes: b windows: `states` [b t+1 n] raw, `task` [b t k], `starts` [b t]
            bool, `actions` [b t a] as recorded, `action_weight` [b t] and
            `next_weight` [b t] between 0 and 1, and the model's senses as in replay.
            The recurrence begins at zero.

    It returns `action_error` [], the mean absolute error in the robot's units, and
    `next_observation_error` [], in typical changes of one step (`losses.imitation`).
    Deltas count as they are given: one that is out of its bound, or not finite, shows
    in the errors instead of being repaired.
    """

    def evaluate(
        weights: Mapping[str, at.Array],
        deltas: Mapping[str, at.Surface],
        episodes: Mapping[str, at.Array],
    ) -> dict[str, Any]:
        core = _with_deltas(model, weights, deltas)
        states = episodes["states"]
        begin = jnp.zeros((len(states), model.config.carry_size))
        said = core.sequence(
            states[:, :-1],
            episodes["task"],
            episodes["starts"],
            begin,
            sensed=senses.select(model.config, episodes),
        )
        found = losses.imitation(
            said,
            episodes["actions"],
            states[:, 1:],
            core.change[...],
            jnp.clip(episodes["action_weight"], 0.0, 1.0),
            jnp.clip(episodes["next_weight"], 0.0, 1.0),
        )
        return {
            "action_error": found.action,
            "next_observation_error": found.next_observation,
        }

    return evaluate


def make_imagine(model: WaveCore) -> Callable[..., dict[str, Any]]:
    """What memories would be on the robot that the deltas are of.

    Arguments of the function made, all f32:
        weights, deltas: as for `updates.make_fast`; of the deltas the calibration
            counts.
        memories: `states` [... n] and `actions` [... a], raw, of the robot that the
            weights are of.

    It returns `states` and `actions` of the same shapes; see `projection.project`. What
    cameras and microphones recorded goes with them unchanged.
    """

    def imagine(
        weights: Mapping[str, at.Array],
        deltas: Mapping[str, at.Surface],
        memories: Mapping[str, at.Array],
    ) -> dict[str, Any]:
        states, actions = projection.project(
            step_function.with_weights(model, weights),
            _with_deltas(model, weights, deltas),
            memories["states"],
            memories["actions"],
        )
        return {"states": states, "actions": actions}

    return imagine


def _with_deltas(
    model: WaveCore,
    weights: Mapping[str, at.Array],
    deltas: Mapping[str, at.Surface],
) -> WaveCore:
    prefix = step_function.SURFACE_PREFIX
    adapted = {prefix + n: weights[prefix + n] + x for n, x in deltas.items()}
    return step_function.with_weights(model, {**weights, **adapted})


def _make_init(model: WaveCore) -> Callable[..., dict[str, Any]]:
    surface_sizes = {
        name.removeprefix(step_function.SURFACE_PREFIX): x.size
        for name, x in step_function.initial_surfaces(model).items()
    }
    assert surface_sizes.keys() == surfaces.SURFACES.keys()
    carry_size = model.config.carry_size

    def init() -> dict[str, Any]:
        return {
            "carry": jnp.zeros(carry_size),
            "deltas": {n: jnp.zeros(size) for n, size in surface_sizes.items()},
        }

    return init


def _f32(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, np.float32)
