"""A late, stronger or weaker arm is turned back while it is one, and only then."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from model import drives, step_function
from model.config import REMEMBERED_COMMANDS, RESPONSE_STEPS
from model.drives import Drives
from model.testing import damped_point, small_models
from model.wavecore import WaveCore

small_models.shorten_programs()
A, N = 2, 4
DEVIATION = np.array([0.5, 2.0, 1.0, 1.0], np.float32)
UNIT = np.array([1e-3, 1e-3, 0.0, 0.0], np.float32)
"""Unexplained parts; the last two channels follow no command."""
HEARD = np.ones(N, np.float32)


def respond() -> np.ndarray:
    """How the known arm follows: the first two channels, with inertia."""
    response = np.zeros((RESPONSE_STEPS, A, N), np.float32)
    fading = 0.5 ** np.arange(RESPONSE_STEPS)
    response[:, 0, 0], response[:, 1, 1] = 0.04 * fading, 0.02 * fading
    return response


class Arm(NamedTuple):
    """Gain of each command and latency in steps."""

    gain: tuple[float, float] = (1.0, 1.0)
    latency: int = 0


def describe(arm: Arm) -> Drives:
    told = Drives(N, A)
    told.response[...] = drives.SAID_RESPONSE * jnp.asarray(respond())
    told.unit[...] = jnp.asarray(UNIT)
    told.gain[...] = drives.SAID_GAIN * (jnp.asarray(arm.gain) - 1)
    told.latency[...] = jnp.asarray([drives.SAID_LATENCY * arm.latency])
    return told


def move(arm: Arm, commands: np.ndarray, step: int) -> np.ndarray:
    """Change of the state [n] after a step, of all commands so far [t a]."""
    arrived = np.clip(np.asarray(arm.gain) * commands, -1, 1)
    change = np.zeros(N)
    for k, response in enumerate(respond()):
        if step - k - arm.latency >= 0:
            change += arrived[step - k - arm.latency] @ response
    return change * DEVIATION


class Driven(NamedTuple):
    """Of each step: the state that the model was given, and that of the known arm."""

    given: np.ndarray
    known: np.ndarray
    factor: np.ndarray


def drive(told: Drives, arms: list[Arm], *, noise: float = 0.0) -> Driven:
    """Drives an arm, one for each step, with what a model commands the known one."""
    turn = jax.jit(told.turn_back)
    random = np.random.default_rng(len(arms))
    # Where a command is at its limit, a larger gain does not show.
    wanted = np.clip(random.normal(size=(len(arms), A)).cumsum(0) / 8, -0.4, 0.4)
    commands = np.zeros((REMEMBERED_COMMANDS, A), np.float32)
    evidence, sent = np.zeros(1, np.float32), np.zeros((0, A))
    state = known = np.array([1.0, -1.0, 5.0, 0.0])
    before, found = np.zeros(N), []
    for step, arm in enumerate(arms):
        shown = state + noise * UNIT * DEVIATION * random.normal(size=N)
        seen = turn(shown, shown - before, HEARD, DEVIATION, commands, evidence)
        found.append((np.asarray(seen.state), known, np.asarray(seen.command)))
        command = wanted[step] * np.asarray(seen.command)
        commands, evidence = drives.remember(commands, command), seen.evidence
        sent, before = np.append(sent, [command], axis=0), shown
        state = state + move(arm, sent, step)
        known = known + move(Arm(), wanted, step)
    return Driven(*(np.stack(x) for x in zip(*found, strict=True)))


CHANGED = [
    Arm(latency=3),
    Arm(latency=16),
    Arm(gain=(2.5, 1.0)),
    Arm((1.5, 2.0), 5),
    Arm(gain=(0.4, 1.0)),
    Arm((0.5, 2.0), 5),
]


@pytest.mark.parametrize("arm", CHANGED)
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_changed_arm_looks_to_the_model_as_the_known_one_would(
    arm: Arm, noise: float
) -> None:
    driven = drive(describe(arm), [arm] * 60, noise=noise)
    np.testing.assert_allclose(driven.given, driven.known, atol=2e-5 + 0.02 * noise)
    np.testing.assert_allclose(driven.factor, 1 / np.tile(arm.gain, (60, 1)), rtol=1e-5)


@pytest.mark.parametrize("arm", CHANGED)
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_known_arm_is_left_alone_after_a_few_steps(arm: Arm, noise: float) -> None:
    told = describe(arm)
    plain = drive(Drives(N, A), [Arm()] * 60, noise=noise)
    driven = drive(told, [Arm()] * 60, noise=noise)
    np.testing.assert_array_equal(driven.factor[4:], 1)
    off = driven.given - plain.given
    np.testing.assert_allclose(off[4:], np.tile(off[4:].mean(0), (56, 1)), atol=0.08)
    assert not np.any(off[:, 2:])


def test_arm_that_changes_in_the_middle_of_an_episode_is_told_again() -> None:
    arm = Arm(gain=(2.5, 2.5))
    driven = drive(describe(arm), [Arm()] * 30 + [arm] * 30)
    np.testing.assert_array_equal(driven.factor[5:30], 1)
    np.testing.assert_allclose(driven.factor[45:], 1 / 2.5, rtol=1e-5)


def test_without_a_delta_every_number_passes_to_the_bit() -> None:
    driven = drive(Drives(N, A), [Arm((2.0, 0.5), 3)] * 30, noise=1.0)
    np.testing.assert_array_equal(driven.factor, 1)
    model: WaveCore = damped_point.train_model(updates=1)
    step = jax.jit(step_function.make(model))
    fixed = step_function.initial_surfaces(model)
    sizes = small_models.SIZES
    task = np.eye(sizes.task_count, dtype=np.float32)[0]
    carry = np.zeros(sizes.step_carry_size, np.float32)
    recurrent = carry[: sizes.carry_size]
    plain = jax.jit(model.step)
    for state in small_models.numbers(20, sizes.state_size):
        found = step(observation_state=state, task=task, carry=carry, **fixed)
        expected = plain(state, task, recurrent)
        np.testing.assert_array_equal(found["action"], expected.action)
        np.testing.assert_array_equal(
            found["next_observation"], expected.next_observation
        )
        carry, recurrent = found["next_carry"], expected.carry


def test_command_that_is_made_larger_stays_within_the_limits_of_the_arm() -> None:
    action = jnp.asarray([0.2, -0.9, 1.5, -0.9])
    factor = jnp.asarray([2.5, 2.5, 2.5, 0.5])
    np.testing.assert_allclose(drives.give(action, factor), [0.5, -1.0, 1.5, -0.45])


@pytest.mark.parametrize("said", [-1e4, 1e4])
def test_numbers_that_no_night_finds_have_limits(said: float) -> None:
    told = Drives(N, A)
    for array in (told.response, told.unit, told.gain, told.latency):
        array[...] = jnp.full(array.shape, said)
    driven = drive(told, [Arm()] * 10)
    assert np.isfinite(driven.given).all()
    far = np.full(N, 1e30, np.float32)
    commands = jnp.asarray(small_models.numbers(REMEMBERED_COMMANDS, A))
    seen = told.turn_back(far, far, HEARD, DEVIATION, commands, jnp.zeros(1))
    assert all(np.isfinite(x).all() for x in seen)
    assert (driven.factor >= 1 / drives.LARGEST_GAIN).all()
    assert (driven.factor <= 1 / drives.SMALLEST_GAIN).all()


def test_arm_that_was_held_is_told_again_soon_after_it_moves() -> None:
    """A hand on a table follows no command, so it looks like the known arm."""
    arm, held = Arm(gain=(2.5, 2.5)), Arm(gain=(0.0, 0.0))
    driven = drive(describe(arm), [arm] * 20 + [held] * 30 + [arm] * 30)
    np.testing.assert_allclose(driven.factor[:20], 1 / 2.5, rtol=1e-5)
    assert (driven.factor[49] > 1 / 2.5).all()
    np.testing.assert_allclose(driven.factor[66:], 1 / 2.5, rtol=1e-5)


def test_sensor_that_is_not_heard_says_nothing_of_the_arm() -> None:
    told = describe(Arm(latency=8))
    commands = jnp.zeros((REMEMBERED_COMMANDS, A)).at[:3].set(0.5)
    still, evidence = np.zeros(N, np.float32), jnp.full(1, 3.0)
    turn = jax.jit(told.turn_back)
    seen = turn(still, still, 0 * HEARD, DEVIATION, commands, evidence)
    np.testing.assert_array_equal(seen.evidence, evidence)
    seen = turn(still, still, HEARD, DEVIATION, commands, evidence)
    assert float(seen.evidence[0]) > 3


def test_what_the_arm_will_show_is_expected_of_it() -> None:
    """Where the model knows the arm, its expectation comes true on a late one."""
    arm = Arm(gain=(1.0, 1.0), latency=5)
    told, random = describe(arm), np.random.default_rng(0)
    wanted = np.clip(random.normal(size=(40, A)).cumsum(0) / 8, -0.4, 0.4)
    commands = jnp.zeros((REMEMBERED_COMMANDS, A))
    known = shown = np.zeros(N)
    for step in range(len(wanted)):
        commands = drives.remember(commands, jnp.asarray(wanted[step]))
        known = known + move(Arm(), wanted[: step + 1], step)
        shown = shown + move(arm, wanted[: step + 1], step)
        expected = told.expect(known, jnp.ones(1), DEVIATION, commands)
        np.testing.assert_allclose(expected, shown, atol=1e-5)
