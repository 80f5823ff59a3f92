import numpy as np
import pytest

from model import config
from model.learn import pace
from model.learn.memories import KNOWN, LIVED
from model.testing.remembered import Remembered, fill

SIZES = config.tiny(state_size=1, action_size=2, task_count=1)
EVERY = np.ones(2, np.float32)


def measure(factor: np.ndarray) -> np.ndarray:
    """The pace of lived episodes whose commands are the known ones times a factor."""
    random = np.random.default_rng(0)
    known = [random.uniform(-1, 1, (60, 2)).astype(np.float32) for _ in range(2)]
    states = np.zeros((61, 1), np.float32)
    lived = [np.clip(one * factor, -1, 1) for one in known]
    episodes = [Remembered(states, one, kind=KNOWN) for one in known]
    episodes += [Remembered(states, one, kind=LIVED) for one in lived]
    return np.asarray(pace.measure_pace(fill(SIZES, episodes, 6, 64)))


def test_pace_of_a_careful_operator_is_found_for_each_command() -> None:
    half = np.array([0.5, 1.0], np.float32)
    np.testing.assert_allclose(measure(half), half, rtol=1e-5)


@pytest.mark.parametrize("factor", [EVERY, np.array([1.2, 0.0], np.float32)])
def test_pace_is_one_for_larger_commands_and_for_none(factor: np.ndarray) -> None:
    np.testing.assert_array_equal(measure(factor), EVERY)


@pytest.mark.parametrize("kind", [KNOWN, LIVED])
def test_pace_is_one_without_anything_to_compare(kind: int) -> None:
    states, actions = np.zeros((9, 1), np.float32), np.full((8, 2), 0.1, np.float32)
    alone = fill(SIZES, [Remembered(states, actions, kind=kind)], 2, 8)
    np.testing.assert_array_equal(pace.measure_pace(alone), EVERY)
