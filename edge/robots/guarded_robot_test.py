"""A robot of somebody else's code that answers wrongly is refused in one line."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from edge.errors import ActionAfterEndError, ActionShapeError, RobotFaultError
from edge.robots.clock import SimulatedClock
from edge.robots.guarded_robot import GuardedRobot
from edge.robots.robot import (
    Camera,
    Microphone,
    Observation,
    Picture,
    RobotSpec,
    Sound,
    Transition,
    Vector,
)
from edge.robots.simulated_point import SimulatedPoint

FORWARD = np.ones(1, np.float32)


class Wrong(SimulatedPoint):
    """A point that answers what a test gives it; an exception is raised."""

    def __init__(self) -> None:
        super().__init__(SimulatedClock(0))
        self.answer: Any = None

    def act(self, action: Vector) -> Transition:
        if isinstance(self.answer, Exception):
            raise self.answer
        super().act(action)
        answer: Transition = self.answer
        return answer

    def observe(self) -> Observation:
        answer: Observation = self.answer
        return answer


def guard(robot: SimulatedPoint) -> GuardedRobot:
    return GuardedRobot(robot, "wrong.py:Wrong", __file__)


def step(**changes: Any) -> Transition:
    """A transition as it should be, but for the changes."""
    right = Transition(Observation(np.zeros(2, np.float32), 5), 0.5, None, False)
    return dataclasses.replace(right, **changes)


def test_robot_that_answers_rightly_is_as_it_is_without_a_guard() -> None:
    plain, guarded = (
        SimulatedPoint(SimulatedClock(0)),
        guard(SimulatedPoint(SimulatedClock(0))),
    )
    assert guarded.spec == plain.spec
    assert guarded.observe is None
    for seed in (1, 2):
        np.testing.assert_array_equal(
            guarded.reset(seed).state, plain.reset(seed).state
        )
        for _ in range(4):
            got, expected = guarded.act(FORWARD), plain.act(FORWARD)
            np.testing.assert_array_equal(
                got.observation.state, expected.observation.state
            )
            assert got.observation.t_monotonic_ns == guarded.clock.now_ns()
            assert (got.reward, got.success) == (expected.reward, expected.success)
        guarded.hold()
    guarded.close()


def test_numbers_of_other_types_become_those_of_a_robot() -> None:
    robot = Wrong()
    guarded = guard(robot)
    guarded.reset(0)
    robot.answer = step(
        observation=Observation([1, 2], np.int64(7)),  # type: ignore[arg-type]
        reward=np.float64(2.0),
        success=np.True_,
        terminal=np.False_,
    )
    got = guarded.act(FORWARD)
    assert got.observation.state.dtype == np.float32
    assert type(got.observation.t_monotonic_ns) is int
    assert (got.reward, got.success, got.terminal) == (2.0, True, False)


def test_reading_is_not_changed_by_a_driver_that_writes_into_its_own_array() -> None:
    robot = Wrong()
    guarded = guard(robot)
    guarded.reset(0)
    array = np.zeros(2, np.float32)
    robot.answer = step(observation=Observation(array, 1))
    seen = guarded.act(FORWARD).observation
    array[:] = 9.0
    assert seen.state.tolist() == [0.0, 0.0]


class Seeing(Wrong):
    """The same with a camera."""

    @property
    def spec(self) -> RobotSpec:
        cameras = (Camera("front", 64, 48, 20.0),)
        return dataclasses.replace(super().spec, cameras=cameras)


def see(pictures: object) -> Transition:
    seen = Observation(np.zeros(2, np.float32), 5, pictures=pictures)  # type: ignore[arg-type] # as somebody's class gives it
    return step(observation=seen)


def test_pictures_are_those_of_the_driver_at_that_time() -> None:
    robot = Seeing()
    guarded = guard(robot)
    guarded.reset(0)
    pictures = {"front": Picture(b"one", 3)}
    robot.answer = see(pictures)
    seen = guarded.act(FORWARD).observation
    pictures["front"] = Picture(b"two", 4)
    assert seen.pictures == {"front": Picture(b"one", 3)}
    robot.answer = see({})
    assert guarded.act(FORWARD).observation.pictures == {}


@pytest.mark.parametrize(
    ("pictures", "said"),
    [
        ([b"jpeg"], "pictures by camera from act"),
        ({"wrist": Picture(b"", 0)}, "the cameras ['front'] from act, got one of"),
        ({"front": b"jpeg"}, "a Picture of bytes and whole nanoseconds"),
        ({"front": Picture("jpeg", 0)}, "got other types"),  # type: ignore[arg-type]
        ({"front": Picture(b"jpeg", 0.5)}, "got other types"),  # type: ignore[arg-type]
    ],
)
def test_wrong_pictures_are_one_line(pictures: object, said: str) -> None:
    robot = Seeing()
    guarded = guard(robot)
    guarded.reset(0)
    robot.answer = see(pictures)
    with pytest.raises(RobotFaultError) as caught:
        guarded.act(FORWARD)
    assert said in str(caught.value)


class Hearing(Wrong):
    """The same with a microphone."""

    @property
    def spec(self) -> RobotSpec:
        return dataclasses.replace(super().spec, microphone=Microphone(20.0, bands=3))


def hear(sound: object) -> Transition:
    heard = Observation(np.zeros(2, np.float32), 5, sound=sound)  # type: ignore[arg-type] # as somebody's class gives it
    return step(observation=heard)


def test_sound_is_that_of_the_driver_at_that_time() -> None:
    robot = Hearing()
    guarded = guard(robot)
    guarded.reset(0)
    powers = np.array([-1.0, np.nan, -3.0])
    robot.answer = hear(Sound(powers, 3))
    seen = guarded.act(FORWARD).observation
    powers[:] = 9.0
    assert seen.sound is not None
    assert seen.sound.powers.dtype == np.float32
    # The robot goes on without a sound that is none: control sees to that.
    known = np.array([-1, np.nan, -3], np.float32)
    np.testing.assert_array_equal(seen.sound.powers, known)
    robot.answer = hear(None)
    assert guarded.act(FORWARD).observation.sound is None


@pytest.mark.parametrize(
    ("sound", "said"),
    [
        (np.zeros(3), "the sound from act to be a Sound at whole nanoseconds"),
        (Sound(np.zeros(3, np.float32), 0.5), "a Sound at whole nanoseconds"),  # type: ignore[arg-type]
        (Sound("loud", 0), "the powers of sound from act to be numbers, got loud"),  # type: ignore[arg-type]
        (Sound(np.zeros(4, np.float32), 0), "sound of 3 bands from act, got shape (4,"),
    ],
)
def test_wrong_sound_is_one_line(sound: object, said: str) -> None:
    robot = Hearing()
    guarded = guard(robot)
    guarded.reset(0)
    robot.answer = hear(sound)
    with pytest.raises(RobotFaultError) as caught:
        guarded.act(FORWARD)
    assert said in str(caught.value)


def test_sound_of_a_robot_without_a_microphone_is_one_line() -> None:
    robot = Wrong()
    guarded = guard(robot)
    guarded.reset(0)
    robot.answer = hear(Sound(np.zeros(3, np.float32), 0))
    with pytest.raises(RobotFaultError, match="no sound from act without a microphone"):
        guarded.act(FORWARD)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "expected act to return a Transition, got None"),
        (step(success="yes"), "the success of a step, True, False or None, got yes"),
        (step(success=1), "True, False or None, got 1"),
        (step(terminal=None), "terminal to be True or False, got None"),
        (step(reward="much"), "a number as the reward, got much"),
        (step(reward=np.nan), "a finite number as the reward, got nan"),
        (step(observation=None), "expected act to give an Observation, got None"),
        (
            step(observation=Observation(np.zeros(3, np.float32), 1)),
            "a state of shape (2,) from act, got shape (3,)",
        ),
        (
            step(observation=Observation(np.array([0.0, np.inf], np.float32), 1)),
            "finite numbers in the state of act, got [ 0. inf]",
        ),
        (
            step(observation=Observation("ab", 1)),  # type: ignore[arg-type]
            "the state of act to be numbers, got ab",
        ),
        (
            step(observation=Observation(np.zeros(2, np.float32), 0.5)),  # type: ignore[arg-type]
            "the whole nanoseconds of its clock from act, got 0.5",
        ),
        (
            ZeroDivisionError("by zero"),
            "act to work, got ZeroDivisionError: by zero (g",
        ),
    ],
)
def test_wrong_answer_is_one_line_with_the_robot_and_what_came(
    answer: object, said: str
) -> None:
    robot = Wrong()
    guarded = guard(robot)
    guarded.reset(0)
    robot.answer = answer
    with pytest.raises(RobotFaultError) as caught:
        guarded.act(FORWARD)
    text = str(caught.value)
    assert text.startswith("robot wrong.py:Wrong: expected ")
    assert said in text
    assert text.endswith("correct its class, then check it: //edge:check_robot")
    assert "\n" not in text


def test_line_of_their_file_that_raised_is_named() -> None:
    robot = Wrong()
    guarded = guard(robot)
    guarded.reset(0)
    robot.answer = OSError("unplugged")
    with pytest.raises(RobotFaultError, match=r"guarded_robot_test\.py:\d+"):
        guarded.act(FORWARD)


def test_senses_are_checked_the_same_way_when_they_are_read_without_moving() -> None:
    robot = Wrong()
    observe = guard(robot).observe
    assert observe is not None
    robot.answer = Observation(np.zeros(2, np.float32), 3)
    assert observe().t_monotonic_ns == 3
    robot.answer = None
    with pytest.raises(RobotFaultError, match="observe to give an Observation"):
        observe()


def test_action_before_a_reset_or_of_another_shape_does_not_reach_the_robot() -> None:
    robot = Wrong()
    robot.answer = AssertionError("it reached the robot")
    guarded = guard(robot)
    with pytest.raises(ActionAfterEndError):
        guarded.act(FORWARD)
    guarded.reset(0)
    with pytest.raises(ActionShapeError):
        guarded.act(np.zeros(3, np.float32))
    robot.answer = step(terminal=True)
    guarded.act(FORWARD)
    with pytest.raises(ActionAfterEndError):
        guarded.act(FORWARD)
