from pathlib import Path

import numpy as np
import pytest

from base.errors import ContinuonError
from edge.errors import ActionAfterEndError, ActionShapeError, ReplayError
from edge.robots.clock import SimulatedClock
from edge.robots.replay_robot import ReplayRobot, open_replay
from edge.testing import tiny_package
from rlds import example_codec, tfrecord

ZERO = np.zeros(4, np.float32)


def open_robot(steps: int = 5) -> ReplayRobot:
    episode = tiny_package.episode(seed=1, steps=steps)
    return ReplayRobot(episode, "episode", SimulatedClock(0))


def test_recorded_observations_are_played_once_and_in_order() -> None:
    replay = open_robot(steps=5)
    recorded = tiny_package.episode(seed=1, steps=5).steps["observation/state"]
    seen = [replay.reset(seed=9).state]
    terminal = False
    while not terminal:
        transition = replay.act(ZERO)
        terminal = transition.terminal
        assert transition.success is None
        if not terminal:
            seen.append(transition.observation.state)
    np.testing.assert_array_equal(np.stack(seen), recorded)


def test_rate_and_task_come_from_the_episode() -> None:
    spec = open_robot().spec
    assert (spec.control_hz, spec.task, spec.simulated) == (80.0, "reach-v3", True)
    assert (spec.state_size, spec.action_size) == (39, 4)


def test_reset_starts_from_the_first_observation() -> None:
    replay = open_robot()
    first = replay.reset(0).state
    replay.act(ZERO)
    np.testing.assert_array_equal(replay.reset(1).state, first)


def test_action_before_reset_or_after_the_end_is_refused() -> None:
    replay = open_robot(steps=1)
    with pytest.raises(ActionAfterEndError):
        replay.act(ZERO)
    replay.reset(0)
    assert replay.act(ZERO).terminal
    with pytest.raises(ActionAfterEndError):
        replay.act(ZERO)


def test_action_of_the_wrong_size_is_refused() -> None:
    replay = open_robot()
    replay.reset(0)
    with pytest.raises(ActionShapeError, match="4 values"):
        replay.act(np.zeros(3, np.float32))


def test_whole_file_opens_as_a_robot_and_a_truncated_one_is_refused(
    tmp_path: Path,
) -> None:
    path = tmp_path / "episode.tfrecord"
    raw = tfrecord.frame(example_codec.encode(tiny_package.episode(seed=1)))
    path.write_bytes(raw)
    assert open_replay(path, SimulatedClock(0)).spec.task == "reach-v3"
    path.write_bytes(raw[:-9])
    with pytest.raises(ContinuonError, match=r"episode\.tfrecord"):
        open_replay(path, SimulatedClock(0))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises((ReplayError, ContinuonError, OSError), match="absent"):
        open_replay(tmp_path / "absent.tfrecord", SimulatedClock(0))
