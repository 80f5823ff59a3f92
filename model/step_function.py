"""The control step as a pure function of flat vectors: what a package exports.

Inputs, all f32 vectors: `observation_state` [n], `task` [k], `carry` (that of the model
[c], then those of `model.gaps` and `model.drives`), then `surface_<name>` for each
surface, and `observation_<sense>` for each sense of the model, flattened from the shape
in `senses.shapes`; zeros mean that the sense is silent.
Outputs: `action` [a], `next_observation` [n], `next_carry` [c], `action_scale` [a],
`value` [1]. The backbone is a constant inside; surfaces and carry are inputs, so a
robot's local delta takes effect without a compiler.
"""

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from flax import nnx

from model import array_types as at
from model import config as model_config
from model import drives, errors, gaps, normalisation, senses, surfaces
from model.wavecore import WaveCore

Step = Callable[..., dict[str, at.Array]]

SURFACE_PREFIX = "surface_"
SENSE_PREFIX = "observation_"
BACKBONE_PREFIX = "backbone/"
ACTION_REACH = BACKBONE_PREFIX + "action_reach"
"""Name in the weights of the largest command [a] that the robot takes."""


def split(model: WaveCore) -> tuple[nnx.GraphDef, nnx.State, dict[str, nnx.State]]:
    """Takes a model apart into structure, backbone, and surfaces by name."""
    kinds = tuple(surfaces.SURFACES.values())
    graph, backbone, *states = nnx.split(model, surfaces.Backbone, *kinds)
    return graph, backbone, dict(zip(surfaces.SURFACES, states, strict=True))


def make(model: WaveCore) -> Step:
    """Makes the step of this model, to be called with the inputs by name.

    Raises:
        ShapeMismatchError: from the returned function, if an input has the wrong size.
    """
    graph, backbone, templates = split(model)
    shapes = senses.shapes(model.config)

    def step(
        observation_state: at.States,
        task: at.TaskOneHot,
        carry: at.Carry,
        **vectors: at.Array,
    ) -> dict[str, at.Array]:
        parts = [
            surfaces.unflatten(vectors[SURFACE_PREFIX + name], template)
            for name, template in templates.items()
        ]
        sensed = {
            name: vectors[SENSE_PREFIX + name].reshape(shape)
            for name, shape in shapes.items()
        }
        core = nnx.merge(graph, backbone, *parts)
        if carry.shape != (core.config.step_carry_size,):
            raise errors.ShapeMismatchError(
                "carry",
                (core.config.step_carry_size,),
                carry.shape,
                "begin an episode with zeros, and hand on what a step returns",
            )
        sizes = core.config
        commands_begin = sizes.carry_size + 3 * sizes.state_size
        of_model, of_gaps, commands, evidence = jnp.split(
            carry, [sizes.carry_size, commands_begin, sizes.step_carry_size - 1]
        )
        commands = commands.reshape(-1, sizes.action_size)
        seen = jnp.clip(observation_state, -gaps.LARGEST, gaps.LARGEST)
        heard, assumed = core.gaps.assume(seen, of_gaps)
        last, _, silent = jnp.split(of_gaps, 3)
        # At the end of a gap all is seen at once that gathered in it.
        really_seen = (1.0 - jnp.minimum(silent, 1.0)) * (
            1.0 - jnp.minimum(assumed, 1.0)
        )
        deviation = core.deviation[...]
        turned = core.drives.turn_back(
            heard, seen - last, really_seen, deviation, commands, evidence
        )
        prediction = core.step(turned.state, task, of_model, sensed=sensed)
        action = drives.give(prediction.action, turned.command)
        commands = drives.remember(commands, action)
        expected = core.drives.expect(
            prediction.next_observation, turned.share, deviation, commands
        )
        return {
            "action": action * core.action_reach[...],
            "next_observation": expected,
            "next_carry": jnp.concatenate(
                [
                    prediction.carry,
                    seen,
                    expected,
                    assumed,
                    commands.reshape(-1),
                    turned.evidence,
                ]
            ),
            "action_scale": prediction.action_scale
            * turned.command
            * core.action_reach[...],
            "value": prediction.value.reshape(1),
        }

    return step


def input_shapes(config: model_config.WaveCoreConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every input that is not a surface, by name, in order."""
    return {
        "observation_state": (config.state_size,),
        "task": (config.task_count,),
        "carry": (config.step_carry_size,),
        **{
            SENSE_PREFIX + name: (math.prod(shape),)
            for name, shape in senses.shapes(config).items()
        },
    }


def initial_surfaces(model: WaveCore) -> dict[str, np.ndarray]:
    """The surfaces as trained, as flat vectors by input name."""
    _, _, states = split(model)
    return {
        SURFACE_PREFIX + name: np.asarray(surfaces.flatten(state))
        for name, state in states.items()
    }


def weights(model: WaveCore) -> dict[str, np.ndarray]:
    """Every array of a package: backbone, initial surfaces, carry of zeros."""
    _, backbone, _ = split(model)
    named = surfaces.named_arrays(backbone)
    return {
        **{BACKBONE_PREFIX + path: np.asarray(x) for path, x in named.items()},
        **initial_surfaces(model),
        "carry": np.zeros(model.config.step_carry_size, np.float32),
    }


def from_weights(
    config: model_config.WaveCoreConfig, arrays: Mapping[str, np.ndarray]
) -> WaveCore:
    """The model that holds these arrays; the inverse of `weights`.

    Raises:
        ShapeMismatchError: arrays are missing, or belong to another configuration.
    """
    blank = np.ones(config.state_size, np.float32)
    blank_statistics = normalisation.Statistics(blank, blank, blank)
    model = WaveCore(config, blank_statistics, np.random.default_rng(0))
    return with_weights(model, arrays)


def with_weights(
    model: WaveCore, arrays: Mapping[str, np.ndarray | at.Array]
) -> WaveCore:
    """A model like `model` that holds these arrays; `model` itself is not changed.

    Raises:
        ShapeMismatchError: arrays are missing, or belong to another configuration.
    """
    graph, backbone, templates = split(model)
    found = {
        name.removeprefix(BACKBONE_PREFIX): array
        for name, array in arrays.items()
        if name.startswith(BACKBONE_PREFIX)
    }
    parts = [surfaces.with_arrays(backbone, found)]
    for name, template in templates.items():
        vector = arrays.get(SURFACE_PREFIX + name)
        if vector is None:
            raise errors.ShapeMismatchError(
                SURFACE_PREFIX + name, "a vector", "nothing", "export the model again"
            )
        parts.append(surfaces.unflatten(vector, template))
    return nnx.merge(graph, *parts)


def with_deltas(
    model: WaveCore,
    arrays: Mapping[str, np.ndarray | at.Array],
    deltas: Mapping[str, at.Surface],
) -> WaveCore:
    """The model of `arrays` with deltas, by surface, added to its surfaces.

    Raises:
        ShapeMismatchError: arrays are missing, or belong to another configuration.
    """
    changed = {
        SURFACE_PREFIX + name: arrays[SURFACE_PREFIX + name] + delta
        for name, delta in deltas.items()
    }
    return with_weights(model, {**arrays, **changed})


def backbone_digest(model: WaveCore) -> str:
    """sha256 over name, shape and bytes of every backbone array, in name order."""
    digest = hashlib.sha256()
    _, backbone, _ = split(model)
    for path, array in surfaces.named_arrays(backbone).items():
        digest.update(f"{path} {array.shape}\n".encode())
        digest.update(np.asarray(array, "<f4").tobytes())
    return digest.hexdigest()


def config_record(config: model_config.WaveCoreConfig) -> dict[str, int]:
    """The configuration as plain numbers."""
    return dataclasses.asdict(config)
