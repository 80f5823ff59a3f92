import numpy as np

from model import testing
from tests.benchmarks import adaptation_replay as replay


def memory(steps, value, task=0):
    states = value + np.arange(steps + 1, dtype=np.float32)[:, None] / 1000
    actions = 10 * value + np.arange(steps, dtype=np.float32)[:, None] / 1000
    return replay.Memory(states, actions, np.eye(2, dtype=np.float32)[task])


def windows(lived, known, count, steps):
    return replay.windows(np.random.default_rng(0), (lived, known), count, steps)


def test_windows_are_of_each_kind_of_memories_in_turn():
    cut = windows([memory(40, 2.0, task=1)], [memory(40, 1.0)], 8, 16)
    np.testing.assert_array_equal(cut["states"][:, 0, 0].round(), [2, 1] * 4)
    np.testing.assert_array_equal(cut["actions"][:, 0, 0].round(), [20, 10] * 4)
    np.testing.assert_array_equal(cut["task"][0], np.tile([0, 1], (16, 1)))
    assert cut["states"].shape == (8, 17, 1)


def test_window_begins_with_an_episode_and_goes_on_with_whole_ones():
    cut = windows([memory(5, 1.0), memory(7, 2.0)], [memory(6, 3.0)], 20, 16)
    place = np.round(1000 * (cut["states"][:, :-1, 0] % 1))
    assert cut["starts"][:, 0].all()
    np.testing.assert_array_equal(cut["starts"], place == 0)
    lengths = {1: 5, 2: 7, 3: 6}
    for row, starts in zip(cut["states"][:, :, 0], cut["starts"], strict=True):
        first = np.flatnonzero(starts)
        begun = row[first].astype(int)
        np.testing.assert_array_equal(np.diff(first), [lengths[i] for i in begun[:-1]])
    assert (cut["action_weight"] == 1).all()


def test_each_weighted_step_keeps_its_own_action_and_next_state():
    cut = windows([memory(5, 0.0), memory(9, 0.0)], [memory(40, 0.0)], 20, 16)
    place = np.round(1000 * cut["states"][:, :, 0])
    action = np.round(1000 * cut["actions"][:, :, 0])
    np.testing.assert_array_equal(place[:, :-1], action)
    followed = cut["next_weight"] > 0
    np.testing.assert_array_equal(place[:, 1:][followed], action[followed] + 1)
    borders = cut["starts"][:, 1:]
    np.testing.assert_array_equal(followed[:, :-1], ~borders)


def test_long_episode_is_cut_where_its_window_ends():
    cut = windows([memory(40, 0.0)], [memory(40, 0.0)], 2, 16)
    assert cut["starts"].sum() == 2
    assert (cut["next_weight"] == 1).all()


def test_memories_seen_through_another_calibration_differ_in_its_channel_alone():
    trained, changed = testing.model(), testing.model()
    changed.input_bias[...] = changed.input_bias[...].at[1].set(0.5)
    task = np.eye(3, dtype=np.float32)[0]
    known = [
        replay.Memory(
            testing.numbers(steps + 1, 6), testing.numbers(steps, 2, seed=2), task
        )
        for steps in (5, 3)
    ]
    both = replay.seen_through(known, trained, changed)
    for seen, one in zip(both, known, strict=True):
        moved = np.abs(seen.states - one.states).max(axis=0) > 1e-4
        assert moved.tolist() == [False, True, False, False, False, False]
        np.testing.assert_array_equal(seen.actions, one.actions)
        np.testing.assert_array_equal(seen.task, task)
