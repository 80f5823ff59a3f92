"""Short lives, with every part except trained weights."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edge.robots.changed_robot import CHANGES
from model import surfaces
from model.config import tiny
from model.learn import memories
from model.learn.memories import KNOWN, LIVED
from model.wavecore import WaveCore
from release.learning_plan import Calls
from tests.benchmarks import adaptation_life as life
from tests.benchmarks import sequence_models
from tests.benchmarks.adaptation_learner import Learner, Settings, fill_memories

TASKS = ("drawer-close-v3", "reach-v3")
SHORT = Settings(episodes=3, rest_period=2)

SHORT_REST = [
    Calls(f"consolidate_{name}", calls)
    for name, calls in (("begin", 1), ("imagine", 1), ("step", 2), ("end", 1))
]

Live = Callable[..., life.Deltas]


@pytest.fixture(scope="module")
def model() -> WaveCore:
    return sequence_models.wavecore("tiny", len(TASKS))


@pytest.fixture(scope="module")
def learner(model: WaveCore) -> Learner:
    """A learner for several lives; a test below checks that they are independent."""
    learner = Learner(model, TASKS, [], SHORT_REST)
    learner.remember_own(2)
    return learner


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
        assert (length > 0) == (name != "calibration")
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


def test_lived_memories_have_precedence_over_known_ones() -> None:
    shapes = memories.shapes(tiny(39, 4, 2), 3, 16)

    def numbered(number: int) -> life.Memory:
        states = np.full((21, 39), number, np.float32)
        actions = np.zeros((20, 4), np.float32)
        return life.Memory(states, actions, np.eye(2, dtype=np.float32)[0], actions)

    known, lived = [numbered(n) for n in (1, 2)], [numbered(n) for n in (3, 4)]
    filled = fill_memories(shapes, known, lived)
    assert filled["states"][:, 0, 0].tolist() == [2, 3, 4]
    assert filled["kind"].tolist() == [KNOWN, LIVED, LIVED]
    assert filled["length"].tolist() == [16, 16, 16]
    assert fill_memories(shapes, known, lived * 2)["kind"].tolist() == [LIVED] * 3
