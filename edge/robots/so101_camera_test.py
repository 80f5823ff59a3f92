"""The SO-101 with a camera moves as without, sees block and goal, and draws quickly."""

import io

import numpy as np
from PIL import Image

from edge.robots import registry, so101_robot
from edge.robots.clock import SimulatedClock
from edge.robots.robot import Robot
from edge.robots.scene_view import WatchedObservation
from edge.robots.so101_robot import So101Robot
from edge.testing.simulated_episodes import ControlStep, EpisodeResult, drive
from rlds import known_words

NAME = "so101-camera:pick-place"
HAND = 11
SEED = 5


class Recorder:
    def __init__(self) -> None:
        self.steps: list[ControlStep] = []

    def append(self, step: ControlStep) -> None:
        self.steps.append(step)


def make(camera: bool = True) -> So101Robot:
    return So101Robot("pick-place", SimulatedClock(0), camera=camera)


def record(robot: Robot, name: str) -> tuple[EpisodeResult, list[ControlStep]]:
    recorder = Recorder()
    result = drive(robot, registry.open_expert(name), SEED, recorder)
    return result, recorder.steps


def decode(image: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(image)) as found:
        assert found.format == "JPEG"
        return np.asarray(found.convert("RGB"), np.int64)


def middle_of(is_it: np.ndarray) -> np.ndarray:
    """Row and column of the middle of what is marked."""
    assert is_it.sum() >= 4, "it is seen"
    middle: np.ndarray = np.argwhere(is_it).mean(axis=0)
    return middle


def green(pixels: np.ndarray) -> np.ndarray:
    red, greens, blue = np.moveaxis(pixels, 2, 0)
    return np.asarray((greens > red + 60) & (greens > blue + 40))


def purple(pixels: np.ndarray) -> np.ndarray:
    red, greens, blue = np.moveaxis(pixels, 2, 0)
    return np.asarray((red > greens + 25) & (blue > greens + 25))


def test_arm_with_a_camera_moves_to_the_bit_as_without() -> None:
    seeing, blind = make(), make(camera=False)
    result, steps = record(seeing, NAME)
    known, expected = record(blind, "so101-sim:pick-place")
    assert result.success
    assert result.steps == known.steps
    for step, same in zip(steps, expected, strict=True):
        seen = step.observation
        assert isinstance(seen, WatchedObservation)
        np.testing.assert_array_equal(seen.scene, same.observation.state)
        np.testing.assert_array_equal(step.action, same.action)
        felt = same.observation.state[: so101_robot.FELT_SIZE]
        np.testing.assert_array_equal(seen.state, felt)
        assert not same.observation.pictures
    # The simulated model has all its faces still; the drawn one has few.
    assert seeing._env.model.nmeshface == blind._env.model.nmeshface > 300_000
    assert seeing._camera is not None
    assert 5_000 < seeing._camera.model.nmeshface < 20_000


def test_picture_shows_block_and_goal_where_they_are() -> None:
    robot = make()
    blocks, goals, places = [], [], []
    for seed in range(15):
        seen = robot.reset(seed)
        assert isinstance(seen, WatchedObservation)
        pixels = decode(seen.pictures["front"].jpeg)
        assert pixels.shape == (64, 64, 3)
        if purple(pixels).sum() < 4:
            continue  # the arm stands before it
        blocks.append(middle_of(purple(pixels)))
        goals.append(middle_of(green(pixels)))
        _, block, goal = np.cumsum(seen.scene[HAND:].reshape(3, 3), axis=0)
        places.append(np.concatenate([block[:2], goal[:2]]))
    assert len(blocks) >= 8
    place = np.array(places)
    # The camera looks at the arm from ahead: y is along a row, x along a column.
    for found, (x, y) in ((blocks, (0, 1)), (goals, (2, 3))):
        rows, columns = np.array(found).T
        assert np.corrcoef(columns, place[:, y])[0, 1] > 0.95
        assert np.corrcoef(rows, place[:, x])[0, 1] > 0.9


def test_same_seed_gives_the_same_pictures() -> None:
    one, other = make(), make()
    other.reset(SEED + 1)
    assert one.reset(SEED).pictures == other.reset(SEED).pictures
    action = np.array([0.5, -0.5, 0.2, 1.0], np.float32)
    after = one.act(action).observation.pictures
    assert after == other.act(action).observation.pictures
    assert after != one.act(action).observation.pictures


def test_it_is_known_by_its_string_and_leaves_a_robot_in_listed_words() -> None:
    registry.require_known(NAME)
    spec = registry.read_spec(NAME)
    assert [one.name for one in spec.cameras] == ["front"]
    assert (spec.state_size, spec.action_size) == (14, 4)
    assert known_words.find_unknown(spec.environment_id) is None
    assert spec.environment_id.startswith("so101-camera-")
