"""The calibration that turns sensors back which stand elsewhere at rest.

It acts on the changed robot alone (`model.rest`), so unlike any other calibration it is
kept in the delta: it costs the robot as the package knows it nothing.
"""

from collections.abc import Mapping

import jax.numpy as jnp

from model import array_types as at
from model import step_function, surfaces
from model.learn import body
from model.learn.memories import Memories
from model.wavecore import WaveCore

MOVED = "rest/moved"
"""The array of a calibration that says how far sensors have moved."""
_CLEARLY_KNOWN, _CLEARLY_CHANGED = 0.1, 0.9
"""Shares of the way at rest by which a robot is told without doubt."""


def keep_alone(model: WaveCore, delta: at.Surface) -> at.Surface:
    """A delta [s] of the calibration of which only the moved sensors are left."""
    return delta * _place(model, 1.0)


def find_calibration(
    model: WaveCore,
    weights: Mapping[str, at.Array],
    memories: Memories,
    rest: body.Rest,
) -> at.Surface:
    """The delta [s] for a robot whose sensors stand elsewhere, or zero.

    Nothing is turned back if the robot that the package knows does not rest where it
    did in training, or if the one of now rests somewhere in between.
    """
    known = step_function.with_weights(model, weights)
    found = _place(model, rest.shift / known.deviation[...])
    found, _ = surfaces.project_delta("calibration", found)
    turned = step_function.with_deltas(model, weights, {"calibration": found})
    first = turned.normalise(memories["states"][:, 0])
    share = turned.rest.tell(first, memories["task"])[:, None] - 1.0
    was = body.find_median(share, body.find_reference(memories))[0]
    now = body.find_median(share, body.find_latest(memories))[0]
    return jnp.where((was < _CLEARLY_KNOWN) & (now > _CLEARLY_CHANGED), found, 0.0)


def _place(model: WaveCore, moved: at.Array | float) -> at.Surface:
    """A calibration [s] of zeros, but for how far each sensor [n] has moved."""
    template = step_function.split(model)[2]["calibration"]
    arrays = surfaces.named_arrays(template)
    arrays = {path: jnp.zeros_like(x) for path, x in arrays.items()}
    arrays[MOVED] = jnp.broadcast_to(jnp.asarray(moved), arrays[MOVED].shape)
    return surfaces.flatten(surfaces.with_arrays(template, arrays))
