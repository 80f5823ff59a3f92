import dataclasses

import numpy as np
import pytest

from edge.robots import poor_sensors, registry
from edge.robots.clock import SimulatedClock
from edge.robots.poor_sensors import DELAY_STEPS, NOISE_M
from edge.robots.robot import Observation
from edge.robots.scene_view import SceneView, WatchedObservation
from edge.testing.simulated_episodes import ControlStep, EpisodeResult, drive

TASK = "pick-place-v3"

Pair = tuple[list[ControlStep], list[ControlStep]]
"""The steps of one episode with good sensors, and with poor ones."""


class Recorder:
    def __init__(self) -> None:
        self.steps: list[ControlStep] = []

    def append(self, step: ControlStep) -> None:
        self.steps.append(step)


def record(
    name: str, seed: int, max_steps: int = 500
) -> tuple[EpisodeResult, list[ControlStep]]:
    robot, recorder = registry.open_robot(name), Recorder()
    expert = registry.open_expert(name)
    result = drive(robot, expert, seed, recorder, max_steps, actor_noise=0.1)
    return result, recorder.steps


@pytest.fixture(scope="module")
def pair() -> Pair:
    """The same episode with good and with poor sensors."""
    (good, good_steps) = record(f"metaworld:{TASK}", 3)
    (poor, poor_steps) = record(f"metaworld-poor:{TASK}", 3)
    assert good.success
    assert poor.steps == good.steps
    return good_steps, poor_steps


def states(steps: list[ControlStep]) -> np.ndarray:
    return np.stack([step.observation.state for step in steps])


def test_expert_sees_the_scene_and_acts_as_with_good_sensors(
    pair: Pair,
) -> None:
    good, poor = pair
    for one, other in zip(good, poor, strict=True):
        np.testing.assert_array_equal(one.proposed_action, other.proposed_action)
        np.testing.assert_array_equal(one.action, other.action)
        seen = other.observation
        assert isinstance(seen, WatchedObservation)
        np.testing.assert_array_equal(one.observation.state, seen.scene)


def test_gripper_and_goal_are_unchanged_and_the_previous_frame_is_hidden(
    pair: Pair,
) -> None:
    good, poor = (states(steps) for steps in pair)
    np.testing.assert_array_equal(poor[:, 3], good[:, 3])
    np.testing.assert_array_equal(poor[:, 36:], good[:, 36:])
    assert not poor[:, 18:36].any()
    assert good[:, 18:36].any()


def test_half_of_the_object_readings_are_missing_and_the_others_are_three_steps_old(
    pair: Pair,
) -> None:
    good, poor = (states(steps) for steps in pair)
    present = poor[:, 4:11].any(axis=1)
    assert 0.35 < present.mean() < 0.65
    assert not poor[~present, 4:11].any()
    late = good[np.maximum(np.arange(len(good)) - DELAY_STEPS, 0)]
    np.testing.assert_array_equal(poor[present, 7:11], late[present, 7:11])
    error = poor[present, 4:7] - late[present, 4:7]
    assert np.abs(error).max() < 5 * NOISE_M
    assert error.std() == pytest.approx(NOISE_M, rel=0.25)


def test_object_that_the_task_lacks_stays_zero(
    pair: Pair,
) -> None:
    assert not states(pair[1])[:, 11:18].any()


def test_hand_is_sensed_to_one_centimetre_and_without_delay(
    pair: Pair,
) -> None:
    good, poor = (states(steps) for steps in pair)
    error = poor[:, :3] - good[:, :3]
    assert error.std() == pytest.approx(NOISE_M, rel=0.25)
    assert np.abs(error.mean()) < NOISE_M / 3


def test_readings_of_both_objects_go_missing_independently() -> None:
    now = np.arange(1, 40, dtype=np.float32)
    random = np.random.default_rng(0)
    readings = np.stack(
        [poor_sensors.degrade_reading(now, now, random) for _ in range(4000)]
    )
    first, second = readings[:, 4:11].any(1), readings[:, 11:18].any(1)
    assert first.mean() == pytest.approx(0.5, abs=0.03)
    assert second.mean() == pytest.approx(0.5, abs=0.03)
    assert (first & second).mean() == pytest.approx(0.25, abs=0.03)


def test_seed_fully_determines_the_readings_whatever_came_before() -> None:
    name = f"metaworld-poor:{TASK}"
    robot = registry.open_robot(name)

    def read(seed: int) -> np.ndarray:
        still = np.zeros(4, np.float32)
        first = robot.reset(seed).state
        rest = [robot.act(still).observation.state for _ in range(10)]
        return np.stack([first, *rest])

    once, other, again = read(5), read(6), read(5)
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once[:, :3], other[:, :3])


def test_only_the_environment_in_the_spec_differs() -> None:
    good = registry.open_robot(f"metaworld:{TASK}").spec
    poor = registry.open_robot(f"metaworld-poor:{TASK}").spec
    assert poor.environment_id == f"{good.environment_id}-poor-sensors"
    renamed = dataclasses.replace(poor, environment_id=good.environment_id)
    assert renamed == good


def test_observation_without_a_scene_is_refused() -> None:
    policy = SceneView(registry.open_expert(f"metaworld:{TASK}"))
    robot = registry.open_robot(f"metaworld:{TASK}", SimulatedClock(0))
    seen = robot.reset(1)
    assert type(seen) is Observation
    with pytest.raises(TypeError, match="open robot and expert by the same name"):
        policy.propose(seen)
