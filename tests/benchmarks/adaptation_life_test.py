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
    lived = body.drive("reach-v3", CHANGES[name], 3, nothing, operated=True)
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


def memory(steps, value, task=0):
    states = value + np.arange(steps + 1, dtype=np.float32)[:, None] / 1000
    actions = 10 * value + np.arange(steps, dtype=np.float32)[:, None] / 1000
    return life.Memory(states, actions, np.eye(2, dtype=np.float32)[task])


def test_windows_are_shared_evenly_between_lived_and_known_episodes():
    random = np.random.default_rng(0)
    known, lived = [memory(40, 1.0)], [memory(40, 2.0, task=1)]
    cut = life.windows(random, lived, known, 8, 16)
    np.testing.assert_array_equal(cut["states"][:, 0, 0].round(), [2, 1] * 4)
    np.testing.assert_array_equal(cut["actions"][:, 0, 0].round(), [20, 10] * 4)
    np.testing.assert_array_equal(cut["task"][0], np.tile([0, 1], (16, 1)))
    assert cut["states"].shape == (8, 17, 1)


def test_each_weighted_step_keeps_its_own_action_and_next_state():
    random = np.random.default_rng(0)
    one = [memory(40, 0.0)]
    cut = life.windows(random, one, one, 200, 16)
    place = np.round(1000 * cut["states"][:, :, 0])
    action = np.round(1000 * cut["actions"][:, :, 0])
    used = cut["action_weight"] > 0
    np.testing.assert_array_equal(place[:, :-1][used], action[used])
    np.testing.assert_array_equal(place[:, 1:][used], action[used] + 1)
    from_start = place[:, 0] == 0
    assert 10 < from_start.sum() < 190
    assert used[from_start].all()
    assert not used[~from_start][:, :4].any()


def test_rest_of_a_window_beyond_a_short_episode_has_no_weight():
    one = [memory(5, 0.0)]
    cut = life.windows(np.random.default_rng(0), one, one, 4, 16)
    np.testing.assert_array_equal(cut["next_weight"].sum(1), [5] * 4)
    assert np.isfinite(cut["states"]).all()
