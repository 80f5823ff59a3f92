"""The gated diagonal linear recurrence, in three forms with one answer.

    h_t = a_t h_{t-1} + b_t,    0 <= a_t <= 1,

channel by channel: decay a_t and drive b_t depend on the input alone and not on h.
Where a_t = 1 - z_t and b_t = z_t v_t the state is a convex mixture of its past and
of new values, so it never leaves their range: stable by construction. An episode
border is a decay of zero. Channels may share a decay in groups (`decay` then has
fewer channels than `drive`), and may rotate in pairs, which makes the recurrence
complex; see `rotate`.

    sequential   one multiply-add per step; on a CPU the loop hides behind the
                 matrix products around it
    associative  logarithmic depth (`jax.lax.associative_scan`)
    chunked      steps within a chunk by a product with the matrix of their decays,
                 chunks one after the other; matrix units do the work where groups
                 of channels share a decay

`fastest_form` chooses by a table for each platform. A program gets the form of the
platform that it is lowered for, not of the machine that lowers it; a program lowered
for several platforms holds the form of each. All forms share one backward pass, which
is the same recurrence run backwards in time, and keep only decays and states for it.

Sources: Feng et al. 2024, arXiv:2410.01201, section 3.1 (gate and value from the
input); Blelloch 1990, CMU-CS-90-190, section 1.4 (associative form); Dao and Gu
2024, arXiv:2405.21060, section 6 (chunks); Orvieto et al. 2023, arXiv:2303.06349,
section 3.2 (complex diagonal).
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from model import array_types as at

CHUNK_STEPS = 16
"""Steps of one chunk; work grows with it and the number of chunks falls."""

UNROLLED_STEPS = 8
"""Steps per turn of the sequential loop, which has a fixed cost per turn."""


_ANY = 2**31


class FormRow(NamedTuple):
    """One row of the table of forms; the first row that fits decides.

    Attributes:
        form: one of `FORMS`.
        longest_steps: largest length it applies to.
        most_channels: largest number of channels it applies to.
    """

    form: str
    longest_steps: int = _ANY
    most_channels: int = _ANY


_REASONED = (
    FormRow("sequential", longest_steps=UNROLLED_STEPS),
    FormRow("associative"),
)
"""Not measured. On an accelerator every turn of a loop waits for the one before, and
starting a turn costs more than its few products; a depth of log2(t) starts fewer. A
sequence that fits in one turn needs no loop. Chunks may win where groups of channels
share a decay (Dao and Gu 2024, section 6), but they do in no preset; measure before
adding a row."""

FASTEST: dict[str, tuple[FormRow, ...]] = {
    "cpu": (FormRow("sequential"),),
    "gpu": _REASONED,
    "tpu": _REASONED,
}
"""Platform to the form that is fastest by length and channels.

The rows of `cpu` are measured, on 2 cores of an AMD EPYC with other work on them, by
`//tests/benchmarks:recurrence_forms` and by whole updates: t of 8, 32, 128, 512 and
2048, channels of 16, 96 and 384. Forward and backward of one block of 96 channels took,
in ms by sequential, associative and chunked:

    t = 8      16.0   15.5   25.3
    t = 32     16.2   13.5   51.2
    t = 128    16.0   16.1   51.5
    t = 512    15.7   15.6   51.0
    t = 2048   15.8   16.4   52.6

Chunked was slowest in every cell. The other two never differed by a tenth both there
and in whole updates (96 channels, sequential and associative, ms: t = 8, 9.2 and 8.5;
t = 32, 18.0 and 18.3; t = 128, 49.6 and 51.3), so one row applies to every shape: the
form with the smallest program."""


def step(decay: at.Array, drive: at.Recurrent, carry: at.Recurrent) -> at.Recurrent:
    """Advances the recurrence by one step.

    Shapes: decay [... g], drive [... e], carry [... e] to [... e]; g divides e.
    """
    return _repeat_decay(decay, drive) * carry + drive


def sequence(
    decay: at.Array, drive: at.Recurrent, carry: at.Recurrent, form: str | None = None
) -> at.Recurrent:
    """Runs the recurrence over the leading time axis; equal to repeated `step`.

    Shapes: decay [t ... g], drive [t ... e], carry [... e] to [t ... e]; g divides e.

    Args:
        decay: share of the state that stays.
        drive: what is added.
        carry: state before the first step.
        form: one of `FORMS`; default: the fastest for the shape, on whatever platform
            the program is lowered for.

    Raises:
        ValueError: `form` is not one of `FORMS`.
    """
    if form is not None and form not in FORMS:
        raise ValueError(f"form: expected one of {', '.join(FORMS)}, got {form!r}")
    return _sequence(decay, drive, carry, form)


def fastest_form(platform: str, length: int, channels: int) -> str:
    """The form that trains fastest on a device, by the table `FASTEST`.

    Args:
        platform: as `jax.default_backend` names it.
        length: t, steps of the sequence.
        channels: e, channels of the recurrence.
    """
    rows = FASTEST.get(platform, _REASONED)
    return next(
        row.form
        for row in rows
        if length <= row.longest_steps and channels <= row.most_channels
    )


def rotate(x: at.Array, angle_rad: at.Array, steps: at.Array) -> at.Array:
    """Turns each pair of channels by `steps` times its angle.

    With h' = R h a complex recurrence h_t = a_t R(angle) h_{t-1} + b_t becomes a real
    one in the turning frame: g_t = a_t g_{t-1} + R(-t angle) b_t with h_t =
    R(t angle) g_t. The first half of the channels are real parts, the second half
    imaginary parts.

    Shapes: x [t ... e], angle_rad [e/2], steps [t] to [t ... e].
    """
    turn = steps.reshape(-1, *(1,) * (x.ndim - 1)) * angle_rad
    real, imaginary = jnp.split(x, 2, axis=-1)
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    return jnp.concatenate(
        [real * cos - imaginary * sin, real * sin + imaginary * cos], axis=-1
    )


def _run_sequential(decay: at.Array, drive: at.Array, carry: at.Array) -> at.Array:
    def advance(
        h: at.Array, inputs: tuple[at.Array, at.Array]
    ) -> tuple[at.Array, at.Array]:
        h = step(*inputs, h)
        return h, h

    return jax.lax.scan(advance, carry, (decay, drive), unroll=UNROLLED_STEPS)[1]


def _run_associative(decay: at.Array, drive: at.Array, carry: at.Array) -> at.Array:
    def then(
        first: tuple[at.Array, at.Array], second: tuple[at.Array, at.Array]
    ) -> tuple[at.Array, at.Array]:
        return first[0] * second[0], second[0] * first[1] + second[1]

    decay = _repeat_decay(decay, drive)
    drive = drive.at[0].add(decay[0] * carry)
    return jax.lax.associative_scan(then, (decay, drive))[1]


def _run_chunked(decay: at.Array, drive: at.Array, carry: at.Array) -> at.Array:
    """Pads to whole chunks with decay one and drive zero, which change nothing."""
    length, groups = drive.shape[0], decay.shape[-1]
    chunk = min(CHUNK_STEPS, length)
    count = -(-length // chunk)
    pad = [(0, count * chunk - length)]
    decay = jnp.pad(decay, pad + [(0, 0)] * (decay.ndim - 1), constant_values=1)
    drive = jnp.pad(drive, pad + [(0, 0)] * (drive.ndim - 1))
    decay = decay.reshape(count, chunk, *decay.shape[1:])
    drive = drive.reshape(count, chunk, *drive.shape[1:-1], groups, -1)
    weights, reach = _products(decay)
    within = jnp.einsum("cts...g,cs...gp->ct...gp", weights, drive)
    reach = reach[..., None]

    def advance(
        h: at.Array, inputs: tuple[at.Array, at.Array]
    ) -> tuple[at.Array, at.Array]:
        states = inputs[0] + inputs[1] * h
        return states[-1], states

    h = carry.reshape(*carry.shape[:-1], groups, -1)
    states = jax.lax.scan(advance, h, (within, reach))[1]
    return states.reshape(count * chunk, *carry.shape)[:length]


def _products(decay: at.Array) -> tuple[at.Array, at.Array]:
    """Products of the decays between any two steps of a chunk, and from its start.

    Multiplied row after row: sums of logarithms would lose everything after a decay
    near zero.

    Shapes: decay [c t ...] to [c t s ...], zero where s is after t, and [c t ...].
    """
    steps = range(decay.shape[1])
    row, since_start = jnp.zeros_like(decay), jnp.ones_like(decay[:, 0])
    rows, reach = [], []
    for t in steps:
        row = (decay[:, t, None] * row).at[:, t].set(1)
        since_start = decay[:, t] * since_start
        rows.append(row)
        reach.append(since_start)
    return jnp.stack(rows, axis=1), jnp.stack(reach, axis=1)


_RUN: dict[str, Callable[[at.Array, at.Array, at.Array], at.Array]] = {
    "sequential": _run_sequential,
    "associative": _run_associative,
    "chunked": _run_chunked,
}

FORMS = tuple(_RUN)
"""Names of the forms."""

_LOWERED_FOR = {"cpu": "cpu", "cuda": "gpu", "rocm": "gpu", "tpu": "tpu"}
"""Name of a platform in lowering, to its rows of the table."""


def _run(
    decay: at.Array, drive: at.Array, carry: at.Array, form: str | None
) -> at.Array:
    """The states by the given form, or by that of the platform.

    Called inside the custom derivative, so that no derivative passes through the
    choice: only the states are kept for the backward pass, whichever form made them.
    """
    if form is not None:
        return _RUN[form](decay, drive, carry)
    shape = len(drive), drive.shape[-1]
    elsewhere = _RUN[fastest_form("another", *shape)]
    chosen = {p: _RUN[fastest_form(row, *shape)] for p, row in _LOWERED_FOR.items()}
    special = {p: run for p, run in chosen.items() if run is not elsewhere}
    if not special:
        return elsewhere(decay, drive, carry)
    states: at.Array = jax.lax.platform_dependent(
        decay, drive, carry, default=elsewhere, **special
    )
    return states


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _sequence(
    decay: at.Array, drive: at.Array, carry: at.Array, form: str | None
) -> at.Array:
    return _run(decay, drive, carry, form)


def _forward(
    decay: at.Array, drive: at.Array, carry: at.Array, form: str | None
) -> tuple[at.Array, tuple[at.Array, at.Array, at.Array]]:
    states = _run(decay, drive, carry, form)
    return states, (decay, states, carry)


def _backward(
    form: str | None, kept: tuple[at.Array, at.Array, at.Array], change: at.Array
) -> tuple[at.Array, at.Array, at.Array]:
    """The adjoint d_t = g_t + a_{t+1} d_{t+1} is the recurrence, last step first."""
    decay, states, carry = kept
    following = jnp.concatenate([decay[1:], jnp.zeros_like(decay[:1])])
    adjoint = _run(following[::-1], change[::-1], jnp.zeros_like(carry), form)[::-1]
    before = jnp.concatenate([carry[None], states[:-1]])
    to_decay = adjoint * before
    if decay.shape != to_decay.shape:
        to_decay = to_decay.reshape(*decay.shape, -1).sum(-1)
    return to_decay, adjoint, _repeat_decay(decay[0], carry) * adjoint[0]


_sequence.defvjp(_forward, _backward)


def _repeat_decay(decay: at.Array, drive: at.Array) -> at.Array:
    """A decay for every channel; the channels of a group are adjacent."""
    group = drive.shape[-1] // decay.shape[-1]
    return decay if group == 1 else jnp.repeat(decay, group, axis=-1)
