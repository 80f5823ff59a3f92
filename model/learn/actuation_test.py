"""Gain, latency and pace of an arm are found in its commands and what follows."""

import jax
import numpy as np
import pytest

from model import config, drives
from model.learn import actuation, silent_sensors
from model.learn import memories as mem
from model.learn.actuation import Response
from model.learn.memories import KNOWN, LIVED
from model.testing.remembered import Remembered, fill

SIZES = config.tiny(state_size=3, action_size=3, task_count=1)
GAIN = np.array([1.5, 1.9, 1.0], np.float32)
WEAK = np.array([0.4, 0.6, 1.0], np.float32)
STEPS = (60, 90, 40)
ROOM = 6  # the same for all, so that each function is compiled once
ONES = np.ones(3, np.float32)
PACED = config.tiny(state_size=1, action_size=2, task_count=1)
EVERY = np.ones(2, np.float32)


find_silent_sensors = jax.jit(silent_sensors.find_silent_sensors)
fit_gain = jax.jit(actuation.fit_gain)
fit_response = jax.jit(actuation.fit_response)
measure = jax.jit(actuation.measure_pace)


def moved(
    commands: np.ndarray, gain: np.ndarray, latency: int, stray_m: float = 1e-4
) -> np.ndarray:
    """States of a robot whose first two channels follow its commands with inertia.

    The third channel follows nothing, and the third command moves nothing.
    """
    executed = np.clip(gain * commands, -1, 1)
    executed = np.concatenate([np.zeros((latency, 3)), executed])[: len(commands)]
    states, velocity = [np.zeros(3)], np.zeros(2)
    noise = np.random.default_rng(len(commands))
    for told in executed:
        velocity = 0.5 * velocity + 0.01 * told[:2]
        stray = noise.normal(size=3) * (stray_m, stray_m, 0.1)
        states.append(states[-1] + np.append(velocity, 0) + stray)
    return np.array(states, np.float32)


def episodes(
    seed: int, kind: int, gain: np.ndarray = ONES, latency: int = 0
) -> list[Remembered]:
    """Commands that stay the same for a while, as a person gives, and the states."""
    random = np.random.default_rng(seed)
    commands = [
        np.repeat(random.uniform(-1, 1, (n // 5, 3)), 5, axis=0).astype(np.float32)
        for n in STEPS
    ]
    return [Remembered(moved(c, gain, latency), c, kind=kind) for c in commands]


def identify(known: Response, lived: list[Remembered]) -> tuple[np.ndarray, int]:
    """Gain and latency with the smallest error."""
    memories = fill(SIZES, lived, ROOM, 96)
    view = mem.as_recorded(SIZES, LIVED)
    heard = find_silent_sensors(memories)
    found = [
        fit_gain(known, memories, view, heard, np.int32(latency))
        for latency in range(drives.LARGEST_LATENCY_STEPS + 1)
    ]
    best = min(range(len(found)), key=lambda latency: float(found[latency][0]))
    return np.asarray(found[best][1]), best


@pytest.fixture(scope="module")
def known() -> Response:
    return fit_response(fill(SIZES, episodes(1, KNOWN), ROOM, 96))


def test_channels_and_commands_that_belong_together_are_found(known: Response) -> None:
    followed = np.any(np.asarray(known.matrix) != 0, axis=(0, 1))
    assert followed.tolist() == [True, True, False]
    assert known.heard.tolist() == [True, True, False]


@pytest.mark.parametrize("true", [GAIN, ONES])
@pytest.mark.parametrize("pressing", [5, 11])
def test_arm_that_presses_on_something_shows_no_smaller_gain(
    known: Response, pressing: int, true: np.ndarray
) -> None:
    pressed = []
    for one in episodes(2, LIVED, gain=true, latency=3):
        states = one.states.copy()
        # In so many of 15 steps the second axis is held by what it presses on.
        held = np.arange(len(states) - 1) % 15 < pressing
        steps = np.where(held, 0, np.diff(states[:, 1]))
        states[1:, 1] = states[0, 1] + np.cumsum(steps)
        pressed.append(one._replace(states=states))
    gain, latency = identify(known, pressed)
    assert latency == 3
    np.testing.assert_allclose(gain, true, rtol=0.13)


@pytest.mark.parametrize("pace", [0.3, 0.5])
def test_unchanged_arm_that_is_moved_slowly_shows_no_gain(pace: float) -> None:
    # Errors are so large that slow steps are often counted for what is error in them.
    kinds = []
    for seed, kind, slower in ((1, KNOWN, 1.0), (2, LIVED, pace)):
        told = [one.actions * slower for one in [*episodes(seed, kind)] * 2]
        shown = [moved(commands, ONES, 0, stray_m=2e-3) for commands in told]
        kinds.append(
            [
                Remembered(states, commands, kind=kind)
                for states, commands in zip(shown, told, strict=True)
            ]
        )
    known = fit_response(fill(SIZES, kinds[0], ROOM, 96))
    assert known.heard.tolist() == [True, True, False]
    memories = fill(SIZES, kinds[1], ROOM, 96)
    heard = find_silent_sensors(memories)
    view = mem.as_recorded(SIZES, LIVED)
    found = fit_gain(known, memories, view, heard, np.int32(0))
    assert np.all(np.asarray(found[1]) < 1.2)


def test_command_that_no_channel_follows_nearly_is_not_heard() -> None:
    # Commands explain some 0.7 of what the first channel does, and all of the second.
    loose = []
    for one in episodes(1, KNOWN):
        stray = np.random.default_rng(3).normal(size=len(one.states)) * 0.01
        states = one.states.copy()
        states[:, 0] += np.cumsum(stray).astype(np.float32)
        loose.append(one._replace(states=states))
    known = fit_response(fill(SIZES, loose, ROOM, 96))
    assert np.any(np.asarray(known.matrix[..., 0]))
    assert known.followed.tolist() == [False, True, False]
    assert known.heard.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("gain", "latency"),
    [
        (ONES, 0),
        (GAIN, 5),
        (GAIN, 16),
        (WEAK, 0),
        (WEAK, 5),
        *(pytest.param(ONES, n, marks=pytest.mark.long) for n in (1, 5, 16)),
        *(pytest.param(GAIN, n, marks=pytest.mark.long) for n in (0, 1)),
    ],
)
def test_gain_and_latency_are_found_in_other_episodes(
    known: Response, gain: np.ndarray, latency: int
) -> None:
    found, late = identify(known, episodes(2, LIVED, gain, latency))
    assert late == latency
    np.testing.assert_allclose(found, gain, rtol=0.07)


def test_gain_of_a_command_that_moves_nothing_stays_one(known: Response) -> None:
    gain = np.array([2.0, 2.0, 0.3], np.float32)
    assert identify(known, episodes(2, LIVED, gain))[0][2] == 1


def test_gripper_that_closes_on_something_is_not_taken_for_weak(
    known: Response,
) -> None:
    held = []
    for one in episodes(2, LIVED):
        # The second axis closes as told until it meets what it holds.
        states = one.states.copy()
        states[:, 1] = np.minimum(states[:, 1], states[0, 1] + 0.03)
        held.append(one._replace(states=states))
    gain, _ = identify(known, held)
    np.testing.assert_allclose(gain, ONES, atol=0.13)


def test_robot_that_follows_no_command_is_taken_to_be_unchanged() -> None:
    still = [
        Remembered(np.zeros((n + 1, 3), np.float32), one.actions)
        for n, one in zip(STEPS, episodes(1, KNOWN), strict=True)
    ]
    deaf = fit_response(fill(SIZES, still, ROOM, 96))
    assert not np.any(deaf.heard)
    lived = [one._replace(kind=LIVED) for one in still]
    found, latency = identify(deaf, lived)
    np.testing.assert_array_equal(found, ONES)
    assert latency == 0


def test_robot_without_known_memories_hears_no_command() -> None:
    nothing = fit_response(fill(SIZES, episodes(1, LIVED), ROOM, 96))
    assert not np.any(nothing.heard)
    assert all(np.isfinite(x).all() for x in nothing)


def test_response_is_fitted_to_executed_and_not_to_intended_commands() -> None:
    told = episodes(1, KNOWN)
    intended = [
        one._replace(actions=-one.actions, executed=one.actions) for one in told
    ]
    one, other = (
        fit_response(fill(SIZES, some, ROOM, 96)) for some in (told, intended)
    )
    np.testing.assert_array_equal(one.matrix, other.matrix)


def measure_pace(factor: np.ndarray) -> np.ndarray:
    """The pace of lived episodes whose commands are the known ones times a factor."""
    random = np.random.default_rng(0)
    known = [random.uniform(-1, 1, (60, 2)).astype(np.float32) for _ in range(2)]
    states = np.zeros((61, 1), np.float32)
    lived = [np.clip(one * factor, -1, 1) for one in known]
    episodes = [Remembered(states, one, kind=KNOWN) for one in known]
    episodes += [Remembered(states, one, kind=LIVED) for one in lived]
    return np.asarray(measure(fill(PACED, episodes, 6, 64)))


def test_pace_of_a_careful_actor_is_found_for_each_command() -> None:
    half = np.array([0.5, 1.0], np.float32)
    np.testing.assert_allclose(measure_pace(half), half, rtol=1e-5)


@pytest.mark.parametrize("factor", [EVERY, np.array([1.2, 0.0], np.float32)])
def test_pace_is_one_for_larger_commands_and_for_none(factor: np.ndarray) -> None:
    np.testing.assert_array_equal(measure_pace(factor), EVERY)


@pytest.mark.parametrize("kind", [KNOWN, LIVED])
def test_pace_is_one_without_anything_to_compare(kind: int) -> None:
    states, actions = np.zeros((9, 1), np.float32), np.full((8, 2), 0.1, np.float32)
    alone = fill(PACED, [Remembered(states, actions, kind=kind)], 2, 8)
    np.testing.assert_array_equal(measure(alone), EVERY)
