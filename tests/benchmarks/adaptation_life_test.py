import numpy as np
import pytest

from edge.robots.metaworld_changes import CHANGES, NO_CHANGE
from model import config, normalisation, step_function, surfaces
from model.wavecore import WaveCore
from tests.benchmarks import adaptation_life as life

TASKS = ("drawer-close-v3", "reach-v3")


@pytest.fixture(scope="module")
def model():
    ones = np.ones(39, np.float32)
    sizes = config.tiny(39, 4, len(TASKS))
    known = normalisation.Statistics(0 * ones, ones, ones)
    return WaveCore(sizes, known, np.random.default_rng(0))


@pytest.fixture(scope="module")
def body(model):
    return life.Body(model.config, step_function.weights(model), TASKS)


@pytest.fixture(scope="module")
def nothing(model):
    initial = step_function.initial_surfaces(model)
    prefix = step_function.SURFACE_PREFIX
    return {n: np.zeros_like(initial[prefix + n]) for n in surfaces.SURFACES}


@pytest.mark.parametrize("name", CHANGES)
def test_operator_succeeds_on_every_changed_robot(body, nothing, name):
    lived = body.drive("reach-v3", CHANGES[name], 3, nothing, driver="operator")
    assert lived.success
    steps = len(lived.memory.actions)
    assert lived.memory.states.shape == (steps + 1, 39)
    assert np.abs(lived.memory.actions).max() <= 1
    np.testing.assert_array_equal(lived.memory.task, [0, 1])


def test_model_drives_with_the_deltas_that_were_just_learned(body, nothing):
    seen = []

    def learn(deltas, states, task):
        seen.append((len(states), task.tolist()))
        head = deltas["head"].copy()
        head[:4] += 1.0  # head names sort the matrix last: these are the biases
        return {**deltas, "head": head}

    still = body.drive("reach-v3", NO_CHANGE, 3, nothing)
    moved = body.drive("reach-v3", NO_CHANGE, 3, nothing, learn)
    assert [count for count, _ in seen] == list(range(2, len(seen) + 2))
    assert seen[0][1] == [0.0, 1.0]
    first = slice(0, 1)
    np.testing.assert_array_equal(
        still.memory.actions[first], moved.memory.actions[first]
    )
    assert not np.array_equal(still.memory.actions[1], moved.memory.actions[1])
    assert np.abs(moved.deltas["head"]).max() == len(seen)


def test_in_turns_the_operator_says_what_to_do_wherever_the_model_drives(body, nothing):
    shown = body.drive("reach-v3", NO_CHANGE, 3, nothing, driver="operator").memory
    shared = body.drive("reach-v3", NO_CHANGE, 3, nothing, driver="turns").memory
    own = body.drive("reach-v3", NO_CHANGE, 3, nothing).memory
    np.testing.assert_array_equal(shared.actions[0], shown.actions[0])
    assert not np.array_equal(own.actions[0], shown.actions[0])
    # A model without skill hardly moves the hand: its turns are where it stands still.
    moved = np.linalg.norm(np.diff(shared.states[:, :3], axis=0), axis=1)
    asked = np.linalg.norm(shared.actions[:, :3], axis=1)
    still = (moved < 1e-3) & (asked > 0.5)
    assert 0.2 < still.mean() < 0.95
    assert len(shared.actions) > len(shown.actions)


def test_whose_turn_it_is_depends_on_the_seed_alone(body, nothing):
    first, again, other = (
        body.drive("reach-v3", NO_CHANGE, seed, nothing, driver="turns").memory
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.states, again.states)
    assert not np.array_equal(first.states[:20], other.states[:20])
