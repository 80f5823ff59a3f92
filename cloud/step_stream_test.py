"""Episodes follow each other in one stream, with borders and fair weights."""

import numpy as np
import pytest

from cloud import step_stream
from cloud.errors import DatasetError
from cloud.testing import training_episodes

TASKS = training_episodes.TASKS


def join(episodes, tasks=TASKS, state_size=4, action_size=2):
    return step_stream.join(episodes, tasks, state_size, action_size)


def test_borders_are_marked_and_no_next_state_crosses_them():
    stream = join([training_episodes.episode(0, 5), training_episodes.episode(1, 7)])
    assert np.flatnonzero(stream.starts).tolist() == [0, 5]
    assert np.flatnonzero(stream.next_weight == 0).tolist() == [4, 11]
    assert stream.tasks.tolist() == [0] * 5 + [1] * 7


def test_tasks_weigh_the_same_whatever_the_length_of_their_episodes():
    stream = join([training_episodes.episode(0, 5), training_episodes.episode(1, 20)])
    total = np.bincount(stream.tasks, stream.action_weight)
    np.testing.assert_allclose(total, total.mean(), rtol=1e-5)
    np.testing.assert_allclose(stream.action_weight.mean(), 1, rtol=1e-5)


def test_task_without_an_episode_takes_no_weight():
    stream = join([training_episodes.episode(0, 5)])
    np.testing.assert_allclose(stream.action_weight, 1)


def test_the_operators_clean_proposal_is_what_is_imitated():
    one = training_episodes.episode(0)
    np.testing.assert_array_equal(join([one]).actions, one.steps["proposed_action"])


def test_episode_of_another_robot_is_refused_by_name_and_shape():
    with pytest.raises(DatasetError, match=r"000000000003.*\(12, 5\), got \(12, 4\)"):
        join([training_episodes.episode(3)], state_size=5)


def test_episode_of_an_unknown_task_is_refused_with_the_known_ones():
    with pytest.raises(DatasetError, match="expected a task of left, got 'right'"):
        join([training_episodes.episode(1)], tasks=("left",))
