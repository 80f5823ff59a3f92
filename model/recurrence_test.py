"""Every form gives the answer of a loop in f64, forward and backward."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from model import recurrence
from model.testing import small_models

CHANNELS = 8
# Compiling each takes long; 17 steps are a chunk and one more.
FORMS_AND_LENGTHS = [
    *((form, 17) for form in (*recurrence.FORMS, None)),
    *(
        pytest.param(form, length, marks=pytest.mark.long)
        for form in (*recurrence.FORMS, None)
        for length in (1, 16, 130)
    ),
]


def inputs(
    length: int,
    batch: tuple[int, ...] = (3,),
    groups: int = CHANNELS,
    borders: bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decays over the whole range, some of them zero as at episode borders."""
    shape = (length, *batch)
    decay = 1 / (1 + np.exp(-4 * small_models.numbers(*shape, groups, seed=1)))
    if borders:
        decay[small_models.numbers(*shape, seed=5) > 1.3] = 0
    drive = small_models.numbers(*shape, CHANNELS, seed=2)
    return decay, drive, small_models.numbers(*batch, CHANNELS, seed=3)


def run(form: str | None) -> Callable[..., jax.Array]:
    """The recurrence in one form, of decay, drive and carry."""
    return functools.partial(recurrence.sequence, form=form)


def reference(decay: np.ndarray, drive: np.ndarray, carry: np.ndarray) -> np.ndarray:
    """States of the recurrence by a loop in f64."""
    decay = np.repeat(decay.astype(np.float64), CHANNELS // decay.shape[-1], -1)
    states, h = [], carry.astype(np.float64)
    for a, b in zip(decay, drive.astype(np.float64), strict=True):
        h = a * h + b
        states.append(h)
    return np.stack(states)


def reference_gradient(
    decay: np.ndarray, drive: np.ndarray, carry: np.ndarray, change: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradient of sum(states * change) by the adjoint loop in f64."""
    groups = decay.shape[-1]
    wide = np.repeat(decay.astype(np.float64), CHANNELS // groups, -1)
    states = np.concatenate(
        [carry[None].astype(np.float64), reference(decay, drive, carry)]
    )
    adjoint, products, to_drive = np.zeros(carry.shape), [], []
    for t in reversed(range(len(drive))):
        adjoint = adjoint + change[t].astype(np.float64)
        to_drive.append(adjoint)
        products.append(adjoint * states[t])
        adjoint = adjoint * wide[t]
    to_decay = np.stack(products[::-1])
    to_decay = to_decay.reshape(*to_decay.shape[:-1], groups, -1).sum(-1)
    return to_decay, np.stack(to_drive[::-1]), adjoint


def to_complex(x: np.ndarray | jax.Array) -> np.ndarray:
    half = CHANNELS // 2
    x = np.asarray(x, np.float64)
    return x[..., :half] + 1j * x[..., half:]


@pytest.mark.parametrize(("form", "length"), FORMS_AND_LENGTHS)
def test_form_equals_the_loop_in_double_precision(
    form: str | None, length: int
) -> None:
    given = inputs(length)
    states = run(form)(*map(jnp.asarray, given))
    np.testing.assert_allclose(states, reference(*given), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("form", [*recurrence.FORMS, None])
@pytest.mark.parametrize(
    ("length", "groups"),
    [
        (17, 2),
        pytest.param(1, 8, marks=pytest.mark.long),
        pytest.param(17, 8, marks=pytest.mark.long),
        pytest.param(40, 2, marks=pytest.mark.long),
    ],
)
def test_gradient_equals_the_adjoint_loop_in_double_precision(
    form: str | None, length: int, groups: int
) -> None:
    given = inputs(length, groups=groups)
    change = small_models.numbers(length, 3, CHANNELS, seed=7)
    _, pull = jax.vjp(run(form), *map(jnp.asarray, given))
    expected = reference_gradient(*given, change)
    for got, wanted in zip(pull(jnp.asarray(change)), expected, strict=True):
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("form", recurrence.FORMS)
def test_two_halves_with_a_carried_state_equal_the_whole(form: str) -> None:
    decay, drive, carry = map(jnp.asarray, inputs(23))
    whole = recurrence.sequence(decay, drive, carry, form)
    first = recurrence.sequence(decay[:9], drive[:9], carry, form)
    second = recurrence.sequence(decay[9:], drive[9:], first[-1], form)
    np.testing.assert_allclose(jnp.concatenate([first, second]), whole, atol=1e-5)


@pytest.mark.parametrize("form", recurrence.FORMS)
def test_no_state_or_gradient_passes_an_episode_border(form: str) -> None:
    decay, drive, carry = map(jnp.asarray, inputs(20, borders=False))
    decay = decay.at[7].set(0)
    states = recurrence.sequence(decay, drive, carry, form)
    alone = recurrence.sequence(decay[7:], drive[7:], 0 * carry, form)
    np.testing.assert_allclose(states[7:], alone, atol=1e-6)
    gradient = jax.grad(lambda x: recurrence.sequence(decay, x, carry, form)[7:].sum())(
        drive
    )
    np.testing.assert_array_equal(gradient[:7], 0)


@pytest.mark.parametrize(
    "form",
    ["sequential", "chunked", pytest.param("associative", marks=pytest.mark.long)],
)
def test_a_constant_decay_over_two_thousand_steps_stays_exact(form: str) -> None:
    decay = np.full((2048, CHANNELS), 0.999, np.float32)
    drive = np.full((2048, CHANNELS), 0.001, np.float32)
    carry = np.ones(CHANNELS, np.float32)
    states = run(form)(*map(jnp.asarray, (decay, drive, carry)))
    np.testing.assert_allclose(states, reference(decay, drive, carry), atol=2e-4)


def test_rotation_is_the_complex_recurrence() -> None:
    decay, drive, carry = inputs(12, groups=CHANNELS // 2)
    angle = np.linspace(0, 3, CHANNELS // 2).astype(np.float32)
    times = jnp.arange(1, 13)
    real = jnp.asarray(np.concatenate([decay, decay], -1))
    turned = recurrence.sequence(
        real, recurrence.rotate(drive, angle, -times), carry, "sequential"
    )
    states = recurrence.rotate(turned, angle, times)
    h = to_complex(carry)
    for t in range(12):
        h = decay[t] * np.exp(1j * angle) * h + to_complex(drive)[t]
        np.testing.assert_allclose(to_complex(np.asarray(states[t])), h, atol=1e-5)


@pytest.mark.parametrize(
    ("form", "length"), [one for one in FORMS_AND_LENGTHS if one != (None, 17)]
)
def test_gradient_through_the_rotation_is_the_complex_adjoint(
    form: str | None, length: int
) -> None:
    decay, drive, carry = inputs(length, groups=CHANNELS // 2)
    angle = np.linspace(0.1, 3, CHANNELS // 2).astype(np.float32)
    change = small_models.numbers(length, 3, CHANNELS, seed=7)
    times = jnp.arange(1.0, length + 1)

    def states(
        decay: jax.Array, drive: jax.Array, carry: jax.Array, angle: jax.Array
    ) -> jax.Array:
        turning = recurrence.rotate(drive, angle, -times)
        shared = jnp.concatenate([decay, decay], axis=-1)
        turned = recurrence.sequence(shared, turning, carry, form)
        return recurrence.rotate(turned, angle, times)

    _, pull = jax.vjp(states, *map(jnp.asarray, (decay, drive, carry, angle)))
    to_decay, to_drive, to_carry, to_angle = pull(jnp.asarray(change))

    turn, h = np.exp(1j * angle.astype(np.float64)), [to_complex(carry)]
    for t in range(length):
        h.append(decay[t] * turn * h[-1] + to_complex(drive[t]))
    # After 130 steps the frame has turned by up to 390 rad, which f32 holds to 3e-5.
    adjoint: Any = 0.0
    wanted_angle: Any = 0.0
    for t in reversed(range(length)):
        adjoint = adjoint + to_complex(change[t])
        np.testing.assert_allclose(to_complex(to_drive[t]), adjoint, atol=2e-4)
        before = (turn * h[t]).conj() * adjoint
        np.testing.assert_allclose(to_decay[t], before.real, atol=5e-4)
        wanted_angle = wanted_angle + (decay[t] * before).imag.sum(axis=0)
        adjoint = adjoint * decay[t] * turn.conj()
    np.testing.assert_allclose(to_complex(to_carry), adjoint, atol=2e-4)
    np.testing.assert_allclose(to_angle, wanted_angle, atol=5e-3, rtol=1e-3)


@pytest.mark.parametrize("platform", [*recurrence.FASTEST, "another"])
@pytest.mark.parametrize("length", [1, 8, 9, 128, 10**6])
def test_table_has_a_known_form_for_every_platform_and_shape(
    platform: str, length: int
) -> None:
    for channels in (1, 96, 10**6):
        form = recurrence.fastest_form(platform, length, channels)
        assert form in recurrence.FORMS


def test_first_row_that_fits_length_and_channels_decides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = recurrence.FormRow
    rows = (
        row("chunked", longest_steps=64, most_channels=32),
        row("associative", longest_steps=64),
        row("sequential"),
    )
    monkeypatch.setitem(recurrence.FASTEST, "cpu", rows)
    found = [
        recurrence.fastest_form("cpu", length, channels)
        for length, channels in ((64, 32), (64, 33), (65, 32))
    ]
    assert found == ["chunked", "associative", "sequential"]


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_program_has_the_form_of_its_platform_forward_and_backward(
    platform: str,
) -> None:
    given = tuple(map(jnp.asarray, inputs(40)))
    row = {"cuda": "gpu"}.get(platform, platform)
    form = recurrence.fastest_form(row, 40, CHANNELS)

    def loops(run: Callable[..., Any]) -> int:
        traced = jax.jit(run).trace(*given)
        program = traced.lower(lowering_platforms=(platform,)).as_text()
        return program.count("stablehlo.while")

    def gradient(form: str | None) -> Callable[..., tuple[jax.Array, ...]]:
        return jax.grad(lambda *x: run(form)(*x).sum(), (0, 1, 2))

    assert (form == "sequential") == (platform == "cpu")
    assert loops(recurrence.sequence) == (form == "sequential")
    assert loops(gradient(None)) == loops(gradient(form)) == 2 * (form == "sequential")


def test_short_sequence_whose_form_is_the_same_everywhere_is_not_branched() -> None:
    given = tuple(map(jnp.asarray, inputs(recurrence.UNROLLED_STEPS)))
    program = str(jax.make_jaxpr(recurrence.sequence)(*given))
    assert "cond" not in program


def test_unknown_form_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="sequential, associative, chunked, got 'x'"):
        run("x")(*map(jnp.asarray, inputs(2)))
