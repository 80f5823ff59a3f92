"""The gated diagonal linear recurrence, one step or a whole sequence at once.

Each channel is a convex mixture of its past and of a new value,

    h_t = (1 - z_t) h_{t-1} + z_t v_t,    0 < z_t < 1,

where gate z_t and value v_t depend on the input alone and not on h. So the state
never leaves the range of its values: stable by construction. Everything that
depends on the input is computed for all steps at once; what remains in the scan is
one multiply-add per channel, which on a CPU takes a third of the time, and a fifth
of the compile time, of the logarithmic-depth form (`jax.lax.associative_scan`).

Source: Feng et al. 2024, arXiv:2410.01201, section 3.1 (minGRU).
"""

import jax
import jax.numpy as jnp

from model import array_types as at


def step(gate: at.Recurrent, value: at.Recurrent, carry: at.Recurrent) -> at.Recurrent:
    """Advances the recurrence by one step.

    Shapes: gate [... e], value [... e], carry [... e] to [... e].
    """
    return (1 - gate) * carry + gate * value


def sequence(
    gate: at.Recurrent, value: at.Recurrent, starts: at.Starts, carry: at.Recurrent
) -> at.Recurrent:
    """Runs the recurrence over the time axis; equal to repeated `step`.

    Where `starts` is True the past is forgotten before the step, as `step` from a
    zero carry does, so that several episodes can follow each other in one window.

    Shapes: gate [... t e], value [... t e], starts [... t], carry [... e] to
    [... t e].
    """
    keep = jnp.where(starts[..., None], 0.0, 1 - gate)

    def advance(
        h: at.Recurrent, inputs: tuple[at.Array, at.Array]
    ) -> tuple[at.Array, at.Array]:
        h = inputs[0] * h + inputs[1]
        return h, h

    time_first = (jnp.moveaxis(keep, -2, 0), jnp.moveaxis(gate * value, -2, 0))
    _, states = jax.lax.scan(advance, carry, time_first)
    return jnp.moveaxis(states, 0, -2)
