import numpy as np
import pytest

from model import errors
from model.learn import actuation

GAIN = np.array([1.5, 0.6, 1.0])
STEPS = (60, 90, 40)


def moved(commands: np.ndarray, gain: float | np.ndarray, latency: int) -> np.ndarray:
    """States of a robot whose first two channels follow its commands with inertia.

    The third channel follows nothing, and the third command moves nothing.
    """
    executed = np.clip(gain * commands, -1, 1)
    executed = np.concatenate([np.zeros((latency, 3)), executed])[: len(commands)]
    states, velocity = [np.zeros(3)], np.zeros(2)
    noise = np.random.default_rng(len(commands))
    for told in executed:
        velocity = 0.5 * velocity + 0.01 * told[:2]
        stray = noise.normal(size=3) * (1e-4, 1e-4, 0.1)
        states.append(states[-1] + np.append(velocity, 0) + stray)
    return np.array(states, np.float32)


def episodes(
    seed: int, gain: float | np.ndarray = 1.0, latency: int = 0
) -> actuation.Moves:
    """Commands that stay the same for a while, as a person gives, and the states."""
    random = np.random.default_rng(seed)
    commands = [
        np.repeat(random.uniform(-1, 1, (n // 5, 3)), 5, axis=0).astype(np.float32)
        for n in STEPS
    ]
    return actuation.Moves([moved(c, gain, latency) for c in commands], commands)


@pytest.fixture(scope="module")
def known() -> actuation.Response:
    return actuation.fit_response(episodes(1))


def test_channels_that_follow_commands_are_found(known: actuation.Response) -> None:
    assert known.channels.tolist() == [0, 1]


@pytest.mark.parametrize("latency", [0, 1, 5, 16])
@pytest.mark.parametrize("gain", [np.ones(3), GAIN])
def test_gain_and_latency_are_found_in_other_episodes(
    known: actuation.Response, gain: np.ndarray, latency: int
) -> None:
    found = actuation.identify(known, episodes(2, gain, latency))
    assert found.latency_steps == latency
    np.testing.assert_allclose(found.gain, gain, rtol=0.07)


def test_gain_of_a_command_that_moves_nothing_stays_one(
    known: actuation.Response,
) -> None:
    found = actuation.identify(known, episodes(2, np.array([2.0, 2.0, 0.3])))
    assert found.gain[2] == 1


def test_robot_that_follows_no_command_is_taken_to_be_unchanged() -> None:
    still = actuation.Moves([np.zeros((n + 1, 3)) for n in STEPS], episodes(1).commands)
    deaf = actuation.fit_response(still)
    assert not len(deaf.channels)
    found = actuation.identify(deaf, still)
    np.testing.assert_array_equal(found.gain, np.ones(3))
    assert found.latency_steps == 0


def test_robot_with_this_actuation_moves_as_the_rewritten_episode_says() -> None:
    latency, (_, commands, _) = 4, episodes(3).commands
    commands = 0.5 * commands  # so that no gain here needs a command above 1
    states = moved(commands, 1.0, 0)
    other = actuation.Actuation(GAIN, latency)
    seen, asked = actuation.apply_actuation(other, states, commands)
    assert seen.shape == states.shape
    assert asked.shape == commands.shape
    np.testing.assert_allclose(
        moved(asked, GAIN, latency)[:, :2], seen[:, :2], atol=4e-3
    )


def test_unchanged_actuation_leaves_an_episode_as_it_was() -> None:
    states, commands = episodes(3).states[0], episodes(3).commands[0]
    seen, asked = actuation.apply_actuation(actuation.unchanged(3), states, commands)
    np.testing.assert_array_equal(seen, states)
    np.testing.assert_array_equal(asked, commands)


def test_robot_stands_still_if_the_latency_is_longer_than_the_episode() -> None:
    late = actuation.Actuation(np.ones(3), 100)
    seen, _ = actuation.apply_actuation(late, *[x[0] for x in episodes(3)])
    np.testing.assert_array_equal(seen, np.zeros_like(seen))


def test_commands_that_are_not_the_known_robots_are_refused(
    known: actuation.Response,
) -> None:
    other = actuation.Moves([np.zeros((4, 3))], [np.zeros((3, 2))])
    with pytest.raises(errors.ShapeMismatchError, match="commands"):
        actuation.identify(known, other)


def test_episode_without_the_state_after_its_last_command_is_refused() -> None:
    with pytest.raises(errors.ShapeMismatchError, match="states"):
        actuation.fit_response(actuation.Moves([np.zeros((4, 3))], [np.zeros((4, 2))]))
