import numpy as np

from model.learn import actuation
from model.testing import small_models
from tests.benchmarks import adaptation_replay as replay


def memory(steps: int, value: float, task: int = 0) -> replay.Memory:
    states = value + np.arange(steps + 1, dtype=np.float32)[:, None] / 1000
    actions = 10 * value + np.arange(steps, dtype=np.float32)[:, None] / 1000
    return replay.Memory(states, actions, np.eye(2, dtype=np.float32)[task], actions)


def windows(
    lived: list[replay.Memory], known: list[replay.Memory], count: int, steps: int
) -> dict[str, np.ndarray]:
    return replay.make_windows(np.random.default_rng(0), (lived, known), count, steps)


def test_windows_are_of_each_kind_of_memories_in_turn() -> None:
    cut = windows([memory(40, 2.0, task=1)], [memory(40, 1.0)], 8, 16)
    np.testing.assert_array_equal(cut["states"][:, 0, 0].round(), [2, 1] * 4)
    np.testing.assert_array_equal(cut["actions"][:, 0, 0].round(), [20, 10] * 4)
    np.testing.assert_array_equal(cut["task"][0], np.tile([0, 1], (16, 1)))
    assert cut["states"].shape == (8, 17, 1)


def test_window_is_whole_episodes_from_their_first_steps() -> None:
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


def test_each_weighted_step_keeps_its_own_action_and_next_state() -> None:
    cut = windows([memory(5, 0.0), memory(9, 0.0)], [memory(40, 0.0)], 20, 16)
    place = np.round(1000 * cut["states"][:, :, 0])
    action = np.round(1000 * cut["actions"][:, :, 0])
    np.testing.assert_array_equal(place[:, :-1], action)
    followed = cut["next_weight"] > 0
    np.testing.assert_array_equal(place[:, 1:][followed], action[followed] + 1)
    borders = cut["starts"][:, 1:]
    np.testing.assert_array_equal(followed[:, :-1], ~borders)


def test_long_episode_is_cut_where_its_window_ends() -> None:
    cut = windows([memory(40, 0.0)], [memory(40, 0.0)], 2, 16)
    assert cut["starts"].sum() == 2
    assert (cut["next_weight"] == 1).all()


def test_memories_projected_to_another_calibration_differ_only_in_its_channel() -> None:
    trained, changed = small_models.model(), small_models.model()
    changed.input_bias[...] = changed.input_bias[...].at[1].set(0.5)
    task = np.eye(3, dtype=np.float32)[0]
    actions = small_models.numbers(5, 2, seed=2)
    known = [
        replay.Memory(small_models.numbers(n + 1, 6), actions[:n], task, actions[:n])
        for n in (5, 3)
    ]
    both = replay.project_memories(known, trained, changed)
    for seen, one in zip(both, known, strict=True):
        moved = np.abs(seen.states - one.states).max(axis=0) > 1e-4
        assert moved.tolist() == [False, True, False, False, False, False]
        np.testing.assert_array_equal(seen.actions, one.actions)
        np.testing.assert_array_equal(seen.task, task)


def random_memory(steps: int, seed: int) -> replay.Memory:
    random = np.random.default_rng(seed)
    states = random.uniform(-1, 1, (steps + 1, 3)).astype(np.float32)
    actions = random.uniform(-1, 1, (steps, 2)).astype(np.float32)
    executed = np.clip(actions + 0.1, -1, 1)
    return replay.Memory(states, actions, np.eye(2, dtype=np.float32)[0], executed)


def test_memories_of_other_drives_have_smaller_commands_and_begin_at_rest() -> None:
    known = [random_memory(steps, steps) for steps in (6, 4)]
    other = actuation.Actuation(np.array([2.0, 1.0]), 2)
    for one, moved in zip(known, replay.apply_actuation(known, other), strict=True):
        np.testing.assert_array_equal(moved.states[:3], one.states[[0, 0, 0]])
        np.testing.assert_array_equal(moved.states[2:], one.states[:-2])
        np.testing.assert_allclose(moved.actions * (2, 1), one.actions, rtol=1e-6)
        np.testing.assert_allclose(moved.executed * (2, 1), one.executed, rtol=1e-6)
        np.testing.assert_array_equal(moved.task, one.task)


def test_response_is_fitted_to_executed_and_not_to_intended_commands() -> None:
    known = [random_memory(steps, steps) for steps in (6, 4)]
    told = replay.moves(known)
    for one, states, commands in zip(known, told.states, told.commands, strict=True):
        assert states is one.states
        assert commands is one.executed


def test_actions_of_a_careful_operator_are_scaled_to_the_known_pace() -> None:
    known = [random_memory(60, seed) for seed in (1, 2)]
    half = np.array([0.5, 1.0], np.float32)
    careful = [one._replace(actions=one.actions * half) for one in known]
    told = replay.measure_pace(careful, known)
    np.testing.assert_allclose(told, half, rtol=1e-5)
    for one, same in zip(known, replay.scale_to_full_pace(careful, told), strict=True):
        np.testing.assert_allclose(same.actions, one.actions, rtol=1e-5)
        np.testing.assert_array_equal(same.states, one.states)


def test_pace_is_one_for_larger_commands_and_for_none() -> None:
    known = [random_memory(60, 1)]
    for factor in (1.0, np.array([1.2, 0.0], np.float32)):
        lived = [known[0]._replace(actions=np.clip(known[0].actions * factor, -1, 1))]
        np.testing.assert_array_equal(replay.measure_pace(lived, known), 1)


def test_slowed_memories_take_longer_by_the_scale_of_the_arm_commands() -> None:
    known = [random_memory(steps, steps) for steps in (6, 4)]
    told = np.array([0.5, 1.0])
    for one, slow in zip(
        known, replay.scale_time(known, told, np.array([True, False])), strict=True
    ):
        assert len(slow.actions) == len(slow.executed) == 2 * len(one.actions)
        np.testing.assert_allclose(slow.actions[::2] / told, one.actions, rtol=1e-6)
        np.testing.assert_allclose(slow.executed[::2] / told, one.executed, rtol=1e-6)
        np.testing.assert_array_equal(slow.states[::2], one.states)
        np.testing.assert_array_equal(slow.task, one.task)


def test_memories_at_full_pace_are_unchanged() -> None:
    known = [random_memory(6, 1)]
    for moves_arm in (np.array([True, True]), np.array([False, False])):
        (same,) = replay.scale_time(known, np.ones(2), moves_arm)
        np.testing.assert_array_equal(same.states, known[0].states)
        np.testing.assert_array_equal(same.actions, known[0].actions)
