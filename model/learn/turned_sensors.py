"""Turns what one robot's sensors show into what another's would show.

Where only rest tells the two robots apart, a calibration turns sensors back that stand
elsewhere at rest. It acts on the changed robot alone (`model.rest`), so unlike any
other calibration it is kept in the delta: it costs the robot as the package knows it
nothing.

A calibration of every sensor serves to imagine. A few episodes on a changed robot are
enough to find it, since it has two numbers per sensor, but not to train adapters, which
would memorise them. Its inverse turns every memory of the known robot into one of the
changed robot, and adapters can learn from those as well as from the episodes recorded
on it.

Source: training on imagined variants of a robot, Tobin et al. 2017, arXiv:1703.06907
(there drawn at random; here the one variant that was found).
"""

from collections.abc import Mapping

import jax.numpy as jnp

from model import array_types as at
from model import step_function, surfaces
from model.learn import body
from model.learn.memories import Memories, View
from model.wavecore import WaveCore

MOVED = "rest/moved"
"""The array of a calibration that says how far sensors have moved."""
SILENT = "gaps/silent"
"""And the one that says which of them fall silent now and then."""
SMALLEST_SCALE = 0.1
"""Smallest scale that is inverted; below it the sensor carries no usable signal."""
_CLEARLY_KNOWN, _CLEARLY_CHANGED = 0.1, 0.9
"""Shares of the way at rest by which a robot is told without doubt."""


def keep(model: WaveCore, delta: at.Surface, *arrays: str) -> at.Surface:
    """A delta [s] of the calibration of which some arrays are left."""
    return delta * make_calibration(model, dict.fromkeys(arrays, 1.0))


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
    found = make_calibration(model, {MOVED: rest.shift / known.deviation[...]})
    found, _ = surfaces.project_delta("calibration", found)
    turned = step_function.with_deltas(model, weights, {"calibration": found})
    first = turned.normalise(memories["states"][:, 0])
    share = turned.rest.tell(first, memories["task"])[:, None] - 1.0
    was = body.find_median(share, body.find_reference(memories))[0]
    now = body.find_median(share, body.find_latest(memories))[0]
    return jnp.where((was < _CLEARLY_KNOWN) & (now > _CLEARLY_CHANGED), found, 0.0)


def project(view: View, recorded: WaveCore, viewed: WaveCore) -> View:
    """The view in which memories of one robot look as another would record them.

    The viewed model encodes what this view shows as the recorded one encodes what it
    recorded, and the commands include its action bias. A view that already changes the
    sensors is replaced.

    Args:
        view: everything else about the view.
        recorded: the model with the calibration of the robot that recorded.
        viewed: the same model with the calibration of the other robot.
    """
    mean, deviation = recorded.mean[...], recorded.deviation[...]
    smallest = jnp.maximum(viewed.input_scale[...], SMALLEST_SCALE)
    scale = recorded.input_scale[...] / smallest
    bias = (recorded.input_bias[...] - viewed.input_bias[...]) / smallest
    # Each robot's own recordings begin where it rests.
    moved = viewed.rest.moved[...] - recorded.rest.moved[...] * scale
    return view._replace(
        scale=scale,
        shift=mean - mean * scale + (bias + moved) * deviation,
        action_shift=viewed.action_bias[...] - recorded.action_bias[...],
    )


def make_calibration(
    model: WaveCore, values: Mapping[str, at.Array | float]
) -> at.Surface:
    """A delta [s] of the calibration: values by the path of their array, else zeros.

    A value has the shape of its array, or is one number for all of it.
    """
    template = step_function.split(model)[2]["calibration"]
    arrays = {
        path: jnp.broadcast_to(jnp.asarray(values.get(path, 0.0), x.dtype), x.shape)
        for path, x in surfaces.named_arrays(template).items()
    }
    return surfaces.flatten(surfaces.with_arrays(template, arrays))
