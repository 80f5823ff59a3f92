"""A robot with a microphone beside it moves as it does without, and hears."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edge.errors import MicrophoneError
from edge.robots.clock import Clock, SimulatedClock
from edge.robots.hearing_robot import HearingRobot
from edge.robots.microphone_drivers import NamedMicrophone, parse
from edge.robots.robot import Microphone, Observation, Robot, RobotSpec, Sound
from edge.robots.simulated_point import SPEC, SimulatedPoint
from edge.testing.sounds import make_noise, write_wav

FORWARD = np.full(1, 0.01, np.float32)


@pytest.fixture
def named(tmp_path: Path) -> NamedMicrophone:
    return parse(str(write_wav(tmp_path / "a.wav", make_noise(16_000, 2.0), 16_000)))


def drive(robot: Robot, seed: int) -> list[Observation]:
    seen = [robot.reset(seed)]
    seen += [robot.act(FORWARD).observation for _ in range(60)]
    robot.hold()
    return seen


def test_robot_senses_what_it_did_and_hears_the_same_in_each_episode_of_a_seed(
    named: NamedMicrophone,
) -> None:
    plain = SimulatedPoint(SimulatedClock(0))
    robot = HearingRobot(SimulatedPoint(SimulatedClock(0)), named, print)
    assert robot.spec == dataclasses.replace(SPEC, microphone=Microphone(20.0))
    assert robot.observe is None
    episodes = []
    for seed in (3, 4, 3):
        expected, seen = drive(plain, seed), drive(robot, seed)
        heard = []
        for one, other in zip(seen, expected, strict=True):
            np.testing.assert_array_equal(one.state, other.state)
            assert one.t_monotonic_ns == other.t_monotonic_ns
            assert one.sound is not None
            assert 0 <= one.t_monotonic_ns - one.sound.t_monotonic_ns < 50_000_000
            heard.append(one.sound.powers)
        episodes.append(np.stack(heard))
        # 100 steps a second hold 20 values a second.
        assert len({value.tobytes() for value in heard}) in (12, 13)
    for episode in episodes[1:]:
        np.testing.assert_array_equal(episode, episodes[0])
    robot.close()


class Live:
    """A microphone whose sound a test says."""

    def __init__(self) -> None:
        self.sound: Sound | None = None
        self.closed = False

    def begin(self, now_ns: int) -> None: ...

    def hear(self, now_ns: int) -> Sound | None:
        return self.sound

    def close(self) -> None:
        self.closed = True


def test_sound_is_held_until_the_next_one_and_none_before_the_first() -> None:
    class Standing(SimulatedPoint):
        def observe(self) -> Observation:
            return self.reset(0)

    live = Live()

    def open_live(microphone: Microphone, clock: Clock, tell: object) -> Live:
        return live

    robot = HearingRobot(Standing(SimulatedClock(0)), NamedMicrophone(open_live), print)
    assert robot.observe is not None
    assert robot.observe().sound is None
    live.sound = Sound(np.zeros(4, np.float32), 5)
    for seen in (robot.observe(), robot.reset(0), robot.act(FORWARD).observation):
        assert seen.sound is live.sound
    robot.close()
    assert live.closed


def test_robot_that_hears_by_itself_gets_no_other_microphone(
    named: NamedMicrophone,
) -> None:
    class Hearing(SimulatedPoint):
        @property
        def spec(self) -> RobotSpec:
            return dataclasses.replace(SPEC, microphone=Microphone(5.0))

    with pytest.raises(MicrophoneError, match=r"got point; leave the flag out"):
        HearingRobot(Hearing(SimulatedClock(0)), named, print)
