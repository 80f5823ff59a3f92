"""A Meta-World arm with a camera moves as without, and sees object and goal."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from edge.robots import metaworld_camera, registry
from edge.robots.clock import SimulatedClock
from edge.robots.drawn_cameras import find_drawn
from edge.robots.metaworld_camera import (
    FELT,
    STEPS_PER_PICTURE,
    MetaworldCameraRobot,
)
from edge.robots.robot import Observation
from edge.robots.scene_view import WatchedObservation
from rlds import known_words
from rlds.drawn_pictures import SIMULATORS

TASK = "reach-v3"
NAME = f"metaworld-camera:{TASK}"
GOAL = slice(36, 39)
SEED = 3
STEPS = 20


def drive(name: str) -> Iterator[Observation]:
    robot, expert = registry.open_robot(name), registry.open_expert(name)
    expert.reset(TASK)
    seen = robot.reset(SEED)
    for _ in range(STEPS):
        yield seen
        seen = robot.act(expert.propose(seen)).observation
    robot.close()


def decode(seen: Observation) -> np.ndarray:
    with Image.open(io.BytesIO(seen.pictures["front"].jpeg)) as found:
        assert found.format == "JPEG"
        return np.asarray(found.convert("RGB"), np.int64)


def test_arm_with_a_camera_moves_to_the_bit_as_without() -> None:
    for seen, blind in zip(drive(NAME), drive(f"metaworld:{TASK}"), strict=True):
        assert isinstance(seen, WatchedObservation)
        np.testing.assert_array_equal(seen.scene, blind.state)
        np.testing.assert_array_equal(seen.state, blind.state[list(FELT)])
        assert seen.t_monotonic_ns == blind.t_monotonic_ns
        assert not blind.pictures


def test_newest_picture_stays_until_the_next_one_and_says_when_it_was_taken() -> None:
    steps = list(drive(NAME))
    for number, seen in enumerate(steps):
        taken = steps[number - number % STEPS_PER_PICTURE]
        assert seen.pictures["front"].t_monotonic_ns == taken.t_monotonic_ns
        assert seen.pictures == taken.pictures
    pictures = {seen.pictures["front"].jpeg for seen in steps}
    assert len(pictures) == -(-STEPS // STEPS_PER_PICTURE)


def test_picture_shows_the_goal_where_it_is() -> None:
    robot = MetaworldCameraRobot(TASK, SimulatedClock(0))
    places, middles = [], []
    for seed in range(12):
        seen = robot.reset(seed)
        assert isinstance(seen, WatchedObservation)
        pixels = decode(seen)
        assert pixels.shape == (64, 64, 3)
        red, green, blue = np.moveaxis(pixels, 2, 0)
        is_goal = (green > red + 60) & (green > blue + 40)
        assert is_goal.sum() >= 4, "it is seen"
        places.append(seen.scene[GOAL])
        middles.append(np.argwhere(is_goal).mean(axis=0))
    # A view from the side: each axis of the scene moves the ball along both of the
    # picture, so a linear map has to explain where it is.
    inward = np.column_stack([np.array(places), np.ones(len(places))])
    outward = np.array(middles)
    found, *_ = np.linalg.lstsq(inward, outward, rcond=None)
    left_pixels = np.abs(inward @ found - outward)
    assert left_pixels.max() < 1.5
    assert np.ptp(outward, axis=0).min() > 5.0


@pytest.mark.parametrize("task", ["push-v3", "button-press-topdown-v3"])
def test_task_is_drawn_whether_its_scene_marks_a_goal_or_not(task: str) -> None:
    robot = MetaworldCameraRobot(task, SimulatedClock(0))
    first, second = (decode(robot.reset(seed)) for seed in (0, 1))
    assert (first != second).any(), "objects lie elsewhere"
    np.testing.assert_array_equal(decode(robot.reset(0)), first)


def test_it_is_known_by_its_string_and_draws_all_that_it_sees() -> None:
    registry.require_known(NAME)
    robot = registry.open_robot(NAME)
    spec = robot.spec
    assert (spec.state_size, spec.action_size) == (len(FELT), 4)
    assert known_words.find_unknown(spec.environment_id) is None
    name, _, _ = spec.environment_id.rpartition("-")
    assert find_drawn(robot) == {"front"}
    assert SIMULATORS[name].robot_model == spec.robot_model
    sizes = {one.name: (one.width, one.height) for one in spec.cameras}
    assert SIMULATORS[name].sizes == sizes
    assert sizes == {"front": (metaworld_camera.PICTURE_PIXELS,) * 2}
