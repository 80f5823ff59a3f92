"""Short lives, with every part except trained weights."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import pytest

from edge.robots.changed_robot import CHANGES, NO_CHANGE, RobotChange
from model import step_function, surfaces
from model.learn import updates
from model.wavecore import WaveCore
from tests.benchmarks import adaptation_learner, sequence_models
from tests.benchmarks import adaptation_life as life
from tests.benchmarks.adaptation_learner import Learner, Settings
from tests.benchmarks.adaptation_replay import Memory

TASKS = ("drawer-close-v3", "reach-v3")
SHORT = Settings(episodes=3, rest_period=2)

Shown = Callable[[RobotChange], list[Memory]]
Live = Callable[..., life.Deltas]


@pytest.fixture(scope="module", autouse=True)
def short_calibration() -> Iterator[None]:
    """Few gradient steps: none explains the actions of these robots, nor do 300."""
    with mock.patch.object(adaptation_learner, "CALIBRATION_UPDATES", 20):
        yield


@pytest.fixture(scope="module")
def model() -> WaveCore:
    return sequence_models.wavecore("tiny", len(TASKS))


@pytest.fixture(scope="module")
def shown(model: WaveCore) -> Shown:
    """An episode of each task, shown on a changed robot."""
    body = life.Body(model.config, step_function.weights(model), TASKS)
    initial, prefix = (
        step_function.initial_surfaces(model),
        step_function.SURFACE_PREFIX,
    )
    nothing = {n: np.zeros_like(initial[prefix + n]) for n in surfaces.SURFACES}
    return lambda change: [
        body.drive(task, change, 1, nothing, driver="operator").memory for task in TASKS
    ]


@pytest.fixture(scope="module")
def known(shown: Shown) -> list[Memory]:
    return shown(NO_CHANGE)


@pytest.fixture(scope="module")
def learner(model: WaveCore, known: list[Memory]) -> Learner:
    """A learner for several lives; a test below checks that they are independent."""
    return Learner(model, TASKS, known, updates_per_rest=2)


@pytest.fixture(scope="module")
def live(learner: Learner) -> Live:
    """Deltas after a life on a robot with a bias, of settings like `SHORT`."""

    def live(number: int = 0, **different: Any) -> life.Deltas:
        settings = dataclasses.replace(SHORT, **different)
        return learner.live(CHANGES["sensor bias"], settings, number)

    return live


@pytest.fixture(scope="module")
def lived(live: Live) -> life.Deltas:
    return live()


@pytest.fixture(scope="module")
def another(live: Live, lived: life.Deltas) -> life.Deltas:
    """Deltas after another life, which comes after the first."""
    return live(1)


def test_life_changes_what_consolidation_may_change_within_the_bounds(
    lived: life.Deltas,
) -> None:
    for name, delta in lived.items():
        length = np.linalg.norm(delta)
        assert (length > 0) == (name in updates.CONSOLIDATED_SURFACES)
        assert length < surfaces.BOUNDS[name]


def test_same_life_leaves_the_same_delta(
    live: Live, lived: life.Deltas, another: life.Deltas
) -> None:
    again = live()
    for name, delta in lived.items():
        np.testing.assert_array_equal(delta, again[name])


def test_another_life_leaves_another_delta(
    lived: life.Deltas, another: life.Deltas
) -> None:
    assert np.any(another["head"] != lived["head"])


def test_episodes_after_the_last_rest_change_nothing(
    live: Live, lived: life.Deltas
) -> None:
    # No rest follows the third episode of the short life.
    without = live(episodes=2)
    np.testing.assert_array_equal(lived["head"], without["head"])
    assert not np.any(live(episodes=1)["head"])


def test_fast_updates_calibrate_while_the_robot_moves(
    live: Live, lived: life.Deltas
) -> None:
    fast = live(fast=True, episodes=1)
    assert np.any(fast["calibration"])
    assert not np.any(fast["head"])
    assert not np.any(lived["calibration"])


def test_model_without_success_has_nothing_to_imitate(live: Live) -> None:
    alone = live(driver="model", episodes=2)
    assert not any(np.any(delta) for delta in alone.values())


def test_commands_of_both_robots_are_scaled_down_if_the_arm_only_moves_further(
    learner: Learner, known: list[Memory], shown: Shown
) -> None:
    lived = shown(CHANGES["actuator gain"])
    told, slow, *more = learner.kinds(np.random.default_rng(0), lived)
    assert all(one is slow for one in more)
    for one, slower, before in zip(told, slow, known, strict=True):
        np.testing.assert_array_equal(one.states, before.states)
        used = np.abs(before.actions[:, 0]) > 0
        share = (one.actions[used, 0] / before.actions[used, 0]).mean()
        assert 0.3 < share < 0.8  # the gain is 2.5 for commands below their limit
        assert len(slower.actions) > 1.2 * len(before.actions)


def test_known_memories_are_slowed_to_the_pace_of_a_careful_operator(
    learner: Learner, known: list[Memory], shown: Shown
) -> None:
    lived = shown(CHANGES["latency"])
    kinds = learner.kinds(np.random.default_rng(0), lived)
    assert kinds[0] is lived
    for slow, before in zip(kinds[1], known, strict=True):
        assert len(slow.actions) > 1.3 * len(before.actions)


def test_episodes_of_an_arm_that_moves_as_before_are_replayed_unchanged(
    learner: Learner, known: list[Memory]
) -> None:
    lived = list(known)
    kinds = learner.kinds(np.random.default_rng(0), lived)
    assert kinds[0] is lived
    for same, before in zip(kinds[1], known, strict=True):
        np.testing.assert_array_equal(same.states, before.states)
        np.testing.assert_array_equal(same.actions, before.actions)
