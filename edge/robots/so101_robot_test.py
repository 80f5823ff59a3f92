"""The simulated SO-101: its state, its expert, its ends, and the same from a seed."""

import numpy as np
import pytest

from edge.errors import ActionAfterEndError, ActionShapeError
from edge.robots import registry, so101_robot
from edge.robots.clock import SimulatedClock
from edge.robots.robot import Robot
from edge.robots.so101_robot import So101Expert, So101Robot
from edge.testing.simulated_episodes import ControlStep, EpisodeResult, drive
from rlds import known_words

NAME = "so101-sim:pick-place"
JAW, HAND, BLOCK, GOAL = 10, slice(11, 14), slice(14, 17), slice(17, 20)


class StateRecorder:
    def __init__(self) -> None:
        self.states: list[tuple[float, ...]] = []

    def append(self, step: ControlStep) -> None:
        self.states.append((*place(step.observation.state), *step.action, step.reward))


def place(state: np.ndarray) -> np.ndarray:
    """The state with hand, block and goal where they are on the table."""
    places = np.cumsum(state[HAND.start :].reshape(3, 3), axis=0)
    return np.concatenate([state[: HAND.start], places.ravel()])


def make() -> So101Robot:
    return So101Robot("pick-place", SimulatedClock(0))


def record(robot: Robot, seed: int) -> tuple[EpisodeResult, np.ndarray]:
    recorder = StateRecorder()
    result = drive(robot, So101Expert(), seed, recorder)
    return result, np.array(recorder.states)


def test_expert_places_the_block_and_a_seed_determines_the_episode() -> None:
    used, fresh = make(), make()
    record(used, 900)
    used_result, used_states = record(used, 5)
    result, states = record(fresh, 5)
    assert used_result.success
    assert result.steps == used_result.steps < so101_robot.MAX_STEPS
    np.testing.assert_array_equal(used_states, states)
    first, last = states[0], states[-1]
    assert np.linalg.norm(first[BLOCK] - first[GOAL]) > 0.08
    assert np.linalg.norm(last[BLOCK][:2] - last[GOAL][:2]) < 0.03
    carried = states[:, BLOCK][:, 2] - first[BLOCK][2] > 0.03
    assert carried.any(), "it was lifted"
    assert states[carried, JAW].max() < 0.4 < last[JAW], "the jaw held it, and let go"
    np.testing.assert_allclose(states[:, GOAL] - first[GOAL], 0.0, atol=1e-7)
    other = record(fresh, 6)[1]
    assert not np.array_equal(other[0][BLOCK], first[BLOCK])


def test_action_moves_the_hand_by_its_share_of_a_step() -> None:
    robot = make()
    robot.reset(1)
    for x in [-0.4] * 10 + [0.0001] * 5:  # its hand turns to the table first
        before = robot.act(np.array([x, 0, 0, 1], np.float32)).observation.state
    for _ in range(10):
        action = np.array([0.1, 0.2, -0.1, 1.0], np.float32)
        after = robot.act(action).observation.state
    moved = after[HAND] - before[HAND]
    np.testing.assert_allclose(moved, [0.025, 0.05, -0.025], atol=0.01)
    assert after[JAW] > 0.9
    assert np.isfinite(after).all()
    robot.close()


def test_slow_expert_takes_longer_and_places_the_block_as_well() -> None:
    robot = make()
    usual, slow = (drive(robot, So101Expert(speed), 3) for speed in (1.0, 0.5))
    assert usual.success
    assert slow.success
    assert slow.steps > 1.3 * usual.steps


def test_expert_whose_block_slips_takes_it_again() -> None:
    recorder = StateRecorder()
    result = drive(make(), So101Expert(), 27, recorder, actor_noise=0.1)
    assert result.success
    states = np.array(recorder.states)
    closed = states[:, JAW] < 0.05  # a jaw with a block in it stays wider open
    assert closed[10:].any(), "it had closed on nothing"
    assert result.steps > 60


def test_episode_ends_after_its_steps_and_takes_no_action_more() -> None:
    clock = SimulatedClock(0)
    robot = So101Robot("pick-place", clock)
    still = np.zeros(4, np.float32)
    with pytest.raises(ActionAfterEndError, match=r"robot so101-sim:pick-place"):
        robot.act(still)
    robot.reset(1)
    with pytest.raises(ActionShapeError, match=r"shape \(4,\), got \(3,\)"):
        robot.act(still[:3])
    robot._steps_left = 2
    assert not robot.act(still).terminal
    last = robot.act(still)
    assert last.terminal
    assert not last.success
    assert clock.now_ns() == 200_000_000
    with pytest.raises(ActionAfterEndError):
        robot.act(still)


def test_it_is_known_by_its_string_and_leaves_a_robot_in_listed_words() -> None:
    registry.require_known(NAME)
    robot = registry.open_robot(NAME)
    assert isinstance(registry.open_expert(NAME), So101Expert)
    assert registry.name_actor(NAME) == registry.EXPERT
    for text in (
        robot.spec.robot_model,
        robot.spec.environment_id,
        robot.spec.task,
    ):
        assert known_words.find_unknown(text) is None
    assert robot.spec.simulated
