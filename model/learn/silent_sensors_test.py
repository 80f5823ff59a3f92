"""Sensors that are not always heard are found, and disturb nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from model import config
from model.learn import actuation, silent_sensors
from model.learn import memories as mem
from model.learn.memories import KNOWN, LIVED, SEEN, Memories
from model.testing.remembered import Remembered, fill

SIZES = config.tiny(state_size=5, action_size=2, task_count=2)
STEPS = 60
HAND = np.array([True, True, False, False, False])


def record(
    number: int, kind: int, silent: bool = False, latency: int = 0, gain: float = 1.0
) -> Remembered:
    """An arm in two channels that moves by a tenth of its command.

    The third channel is shaken, the fourth is touched late, and the last never moves.
    While the arm is not heard, its channels keep their values, for 4 steps of 8.
    """
    random = np.random.default_rng(number)
    commands = random.uniform(-1, 1, (STEPS, 2))
    late = np.concatenate([np.zeros((latency, 2)), commands])[:STEPS]
    states = np.zeros((STEPS + 1, 5))
    states[1:, :2] = 0.1 * np.cumsum(np.clip(gain * late, -1, 1), axis=0)
    states[:, 2] = random.normal(size=STEPS + 1)
    states[40:, 3] = np.arange(STEPS - 39)
    if silent:
        begins = 1 + number % 8
        for first in range(begins, STEPS, 8):
            states[first : first + 4, :2] = states[first - 1, :2]
    return Remembered(
        states.astype(np.float32), commands.astype(np.float32), None, 0, kind
    )


def remember(*episodes: Remembered) -> Memories:
    return fill(SIZES, list(episodes), 16, STEPS + 4)


KNOWN_EPISODES = tuple(record(i, KNOWN) for i in range(6))
find_silent_sensors = jax.jit(silent_sensors.find_silent_sensors)


@pytest.mark.parametrize("kind", [LIVED, SEEN])
def test_sensors_that_fall_silent_are_found_with_the_episodes_that_show_it(
    kind: int,
) -> None:
    now = [record(20 + i, kind, silent=True) for i in range(5)]
    unnoticed = record(30, KNOWN, silent=True)
    found = find_silent_sensors(remember(*KNOWN_EPISODES, unnoticed, *now))
    np.testing.assert_array_equal(found.channels, HAND)
    np.testing.assert_array_equal(
        found.episodes, [False] * 6 + [True] * 6 + [False] * 4
    )


@pytest.mark.parametrize("latency", [0, 16])
def test_late_arm_and_things_that_lie_still_are_heard(latency: int) -> None:
    now = [record(20 + i, LIVED, latency=latency) for i in range(5)]
    untouched = [one._replace(states=one.states * (1, 1, 1, 0, 1)) for one in now]
    for some in (now, untouched):
        found = find_silent_sensors(remember(*KNOWN_EPISODES, *some))
        assert not np.any(found.channels)
        assert not np.any(found.episodes)


def test_arm_that_a_person_holds_still_is_heard() -> None:
    def hold(one: Remembered) -> Remembered:
        states, commands = one.states.copy(), one.actions.copy()
        commands[20:40], states[21:41, :2] = 0, states[20, :2]
        return Remembered(states, commands, None, 0, one.kind)

    now = [hold(record(20 + i, LIVED)) for i in range(5)]
    assert not np.any(find_silent_sensors(remember(*KNOWN_EPISODES, *now)).channels)


def test_sensor_that_died_or_was_never_heard_in_full_has_no_gaps() -> None:
    dead = [
        one._replace(states=one.states * (0, 1, 1, 1, 1))
        for one in (record(20 + i, LIVED) for i in range(5))
    ]
    assert not np.any(find_silent_sensors(remember(*KNOWN_EPISODES, *dead)).channels)
    always = [record(i, KNOWN if i < 6 else LIVED, silent=True) for i in range(12)]
    assert not np.any(find_silent_sensors(remember(*always)).channels)


def test_without_episodes_of_one_of_the_robots_there_are_no_gaps() -> None:
    now = [record(20 + i, LIVED, silent=True) for i in range(5)]
    for some in (now, KNOWN_EPISODES, ()):
        assert not np.any(find_silent_sensors(remember(*some)).channels)


def test_what_one_task_alone_leaves_still_is_no_gap_of_a_sensor() -> None:
    other = [one._replace(task=1) for one in KNOWN_EPISODES[:3]]
    still = [
        one._replace(states=one.states * np.array((1, 1, 1, 0, 1), np.float32))
        for one in KNOWN_EPISODES[3:]
    ]
    now = [record(20 + i, LIVED) for i in range(5)]
    now = [
        one._replace(states=one.states * np.array((1, 1, 1, 0, 1), np.float32))
        for one in now
    ]
    assert not np.any(find_silent_sensors(remember(*other, *still, *now)).channels)


def test_gain_and_latency_are_found_through_gaps() -> None:
    now = [record(20 + i, LIVED, silent=True, latency=3, gain=2.0) for i in range(5)]
    memories = remember(*KNOWN_EPISODES, *now)
    response, silent = (
        actuation.fit_response(memories),
        silent_sensors.find_silent_sensors(memories),
    )
    assert np.array_equal(silent.channels, HAND)
    fit = jax.jit(actuation.fit_gain)
    view = mem.as_recorded(SIZES, LIVED)
    found = [
        fit(response, memories, view, silent, jnp.asarray(latency))
        for latency in range(7)
    ]
    best = min(range(7), key=lambda latency: float(found[latency][0]))
    assert best == 3
    np.testing.assert_allclose(found[best][1], 2.0, rtol=0.05)
