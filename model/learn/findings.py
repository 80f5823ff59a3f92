"""What a night may say of the robot's body, of all that it has measured.

Only what is clear counts: what the control step turns back (`model.drives`), and what
people are told, in a delta and in a receipt. Everything is read from the state of a
consolidation (`model.learn.consolidation`) after its calls of `identify`.
"""

from typing import Any

import jax.numpy as jnp

from model import array_types as at
from model.learn import actuation, body
from model.learn.memories import View
from model.wavecore import WaveCore

FURTHER = 1.25
"""An arm that moves this much further, or less far, for some command counts as having
another gain. The gain of an unchanged axis is found as 1.0 to 1.1."""
LATER = 0.95
"""A latency counts if it leaves less than this share of the error without one: 0.35 for
8 steps, 0.84 where the arm mostly presses on something in vain, 1 for other arms."""
LEAST_LATENCY = 2
"""A shorter one counts as none: one step explains a backlash to 0.84."""
OFF = 0.2
"""Standard deviations by which a calibration must have moved a sensor to be told."""

State = dict[str, Any]


def has_looked(state: State) -> at.Array:
    """Whether gain and latency of the arm have been looked for []."""
    return state["missed"] < jnp.finfo(jnp.float32).max


def tell_arm(state: State) -> tuple[at.Array, at.Array]:
    """Gain [a] and latency [] of the arm, 1 and 0 where they are not clear."""
    late = state["missed"] < LATER * state["missed_at_once"]
    late &= state["latency"] >= LEAST_LATENCY
    gain = jnp.where(late, state["gain"], state["gain_at_once"])
    latency = jnp.where(late, state["latency"], 0)
    other = (gain > FURTHER) | (gain < 1 / FURTHER)
    return jnp.where(other, gain, 1.0), latency


def has_other_arm(state: State) -> at.Array:
    """Whether the control step can turn back what has changed in the arm [].

    Not where other sensors explain the error: their scale would look like a gain.
    """
    gain, latency = tell_arm(state)
    response = actuation.Response(**state["response"])
    shown = jnp.any(actuation.find_arm(response, body.Rest(**state["rest"]).still))
    heard = jnp.any(response.heard)
    return ((latency > 0) | jnp.any(gain != 1)) & heard & shown & ~state["explained"]


def tell_found(known: WaveCore, sensors: View, state: State) -> dict[str, at.Array]:
    """What was found out about the body, for people; see `make`."""
    looked = has_looked(state)
    mean, deviation = known.mean[...], known.deviation[...]
    offset = mean * sensors.scale + sensors.shift - mean
    explained, heard = state["explained"], state["response"]["heard"]
    clear_gain, clear_latency = tell_arm(state)
    gain = jnp.where(explained, state["gain"], clear_gain)
    sure = looked & heard & (explained | (clear_gain != 1))
    latency = jnp.where(explained, state["latency"], clear_latency)
    # Where sensors rest is measured; a calibration moves each of them a little.
    clear = ~explained | (jnp.abs(offset) > OFF * deviation)
    return {
        "latency_steps": jnp.where(looked, latency.astype(jnp.float32), -1.0),
        "gain": jnp.where(sure, gain, 0.0),
        "sensor_offset": jnp.where(clear, offset, 0.0),
        "sensor_silent": state["silent"]["channels"].astype(jnp.float32),
        "explained": state["accounted"],
    }
