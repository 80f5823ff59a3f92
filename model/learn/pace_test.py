"""Slowed episodes are those that scaled commands would record."""

import numpy as np
import pytest

from model import errors
from model.learn import pace

SPEED = np.array([0.1, -0.05], np.float32)
"""What a full command moves each channel by."""


def lived(actions: np.ndarray, repeats: bool = True) -> np.ndarray:
    """Positions of an arm whose commands are speeds, then those of one step before."""
    positions = np.concatenate([np.zeros((1, 2)), np.cumsum(actions * SPEED, axis=0)])
    positions = positions.astype(np.float32)
    before = np.concatenate([positions[:1], positions[:-1]])
    return np.concatenate([positions, before], axis=1) if repeats else positions


def commands(steps: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.uniform(-1, 1, (steps, 2)).astype(np.float32)


def test_repeating_channels_are_found_and_constant_ones_are_not() -> None:
    still = np.ones((9, 1), np.float32)
    states = [
        np.concatenate([lived(commands(8, seed)), still, still], axis=1)
        for seed in (1, 2)
    ]
    found = pace.find_repeats(states)
    assert found.channels.tolist() == [2, 3]
    assert found.sources.tolist() == [0, 1]


def test_robot_with_halved_commands_moves_as_the_slowed_episode_says() -> None:
    actions = np.repeat(commands(6), 2, axis=0)  # each command twice, to halve exactly
    states = lived(actions)
    repeats = pace.find_repeats([states])
    half = np.full(2, 0.5, np.float32)
    seen, asked = pace.scale_time(half, 0.5, repeats, states, actions)
    assert seen.dtype == states.dtype and asked.dtype == actions.dtype
    np.testing.assert_allclose(lived(asked), seen, atol=1e-6)


def test_full_pace_leaves_an_episode_unchanged() -> None:
    actions = commands(7)
    states = lived(actions)
    same = pace.scale_time(
        np.ones(2), 1.0, pace.find_repeats([states]), states, actions
    )
    np.testing.assert_array_equal(same[0], states)
    np.testing.assert_array_equal(same[1], actions)


@pytest.mark.parametrize("speed", [0.3, 0.55, 0.9])
def test_slow_episode_ends_where_the_fast_one_does(speed: float) -> None:
    actions = commands(11)
    states = lived(actions, repeats=False)
    seen, asked = pace.scale_time(
        np.full(2, speed), speed, pace.find_repeats([states]), states, actions
    )
    assert len(seen) == len(asked) + 1 == int(np.ceil(11 / speed)) + 1
    np.testing.assert_allclose(seen[0], states[0])
    np.testing.assert_allclose(seen[-1], states[-1], atol=1e-6)


def test_episode_or_pace_of_another_shape_is_refused() -> None:
    states, actions = lived(commands(4)), commands(4)
    nothing = pace.find_repeats([states])
    with pytest.raises(errors.ShapeMismatchError, match="states, pace"):
        pace.scale_time(np.ones(2), 1.0, nothing, states[:-1], actions)
    with pytest.raises(errors.ShapeMismatchError, match="states, pace"):
        pace.scale_time(np.ones(3), 1.0, nothing, states, actions)
