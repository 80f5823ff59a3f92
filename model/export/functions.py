"""The functions of a package: what each takes and returns, for one model.

    step                inputs of `model.step_function` -> action, next observation,
                        next carry, action scale and value
    init                nothing -> `carry` [c] and `deltas`, surface name to [s]: the
                        start of an episode, and of a robot's learning
    fast_update         `weights`, `deltas`, `window` -> see `updates.make_fast`
    consolidate_update  `weights`, `deltas`, `last_good`, `replay` -> see
                        `updates.make_consolidate`
    calibrate_update    the same inputs -> the same for the calibration alone
    imagine             `weights`, `deltas`, `memories` -> `states` and `actions`, see
                        `projection.project`
    evaluate            `weights`, `deltas`, `episodes` -> `action_error`,
                        `next_observation_error`

Every function is called by keyword. `weights` are the arrays of `weights.safetensors`
by name, so a learner hands over the file as it reads it. `window`, `replay` and
`episodes` hold each sense of the model under its name, `image` and `audio_mel`; a model
without senses has no such inputs. In `package.json` an input is named by its path:
keyword, then key, such as `window/states`. All shapes are static, because compiled
programs on a robot need that.
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
"""t, steps of the window of a fast update: a tenth of a second at 80 Hz, short enough
for the update to end within a control period (docs/benchmarks.md)."""
REPLAY_UPDATES, REPLAY_WINDOWS, REPLAY_STEPS = 50, 4, 256
"""Gradient steps of one consolidation, windows per gradient step, and control steps per
window: long enough for whole episodes, because a model tells two robots apart by what
it has seen since the episode began. A night's learning is several consolidations
(docs/benchmarks.md, adaptation)."""
EVALUATION_WINDOWS, EVALUATION_STEPS = 8, 64
"""b and t of the windows of one evaluation; an episode takes several windows."""

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
    """Shapes of `episodes` of `evaluate`: the arrays of replay, in other windows."""
    *_, replay = updates.consolidate_inputs(model, EVALUATION_WINDOWS, EVALUATION_STEPS)
    return {name: x for name, x in replay.items() if x.ndim}


def make_evaluate(model: WaveCore) -> Callable[..., dict[str, Any]]:
    """Makes the evaluation for models of this shape; weights come with each call.

    Arguments of the returned function, all f32 except `starts` and `image`:
        weights, deltas: as for `updates.make_fast`.
        episodes: b windows: `states` [b t+1 n] raw, `task` [b t k], `starts` [b t]
            bool, `actions` [b t a] as recorded, `action_weight` [b t] and
            `next_weight` [b t] between 0 and 1, and the model's senses as in replay.
            The recurrence begins at zero.

    It returns `action_error` [], the mean absolute error in the robot's units, and
    `next_observation_error` [], in typical changes of one step (`losses.imitation`).
    Deltas are used as given: one that is outside its bound, or not finite, is not
    repaired and shows in the errors.
    """

    def evaluate(
        weights: Mapping[str, at.Array],
        deltas: Mapping[str, at.Surface],
        episodes: Mapping[str, at.Array],
    ) -> dict[str, Any]:
        core = _with_deltas(model, weights, deltas)
        states = episodes["states"]
        begin = jnp.zeros((len(states), model.config.carry_size))
        prediction = core.sequence(
            states[:, :-1],
            episodes["task"],
            episodes["starts"],
            begin,
            sensed=senses.select(model.config, episodes),
        )
        found = losses.imitation(
            prediction,
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
    """Makes the function that projects memories onto the robot of the deltas.

    Arguments of the returned function, all f32:
        weights, deltas: as for `updates.make_fast`; only the calibration of the deltas
            is used.
        memories: `states` [... n] and `actions` [... a], raw, of the robot that the
            weights were trained for.

    It returns `states` and `actions` of the same shapes; see `projection.project`. What
    cameras and microphones recorded stays valid unchanged.
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
