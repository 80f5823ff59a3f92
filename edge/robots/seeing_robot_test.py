"""A robot with cameras beside it senses and moves as it does without, and sees."""

import dataclasses

import numpy as np
import pytest

from edge.errors import CameraError
from edge.robots.camera_drivers import NamedCamera, parse
from edge.robots.clock import SimulatedClock
from edge.robots.robot import Camera, Observation
from edge.robots.seeing_robot import SeeingRobot, add_cameras
from edge.robots.simulated_point import SPEC, SimulatedPoint

FORWARD = np.ones(1, np.float32)


class Gone:
    """A camera that is not there."""

    def open(self) -> None:
        raise OSError("not there")

    def take(self) -> tuple[bytes, int]:
        raise AssertionError("it was never opened")

    def close(self) -> None:
        pass


GONE = NamedCamera(Camera("wrist", 32, 24, 20.0), Gone)


def test_robot_senses_what_it_did_and_the_newest_pictures() -> None:
    told: list[str] = []
    plain = SimulatedPoint(SimulatedClock(0))
    robot = SeeingRobot(
        SimulatedPoint(SimulatedClock(0)),
        [parse("front=simulated,32x24"), GONE],
        told.append,
        first_picture_s=5.0,
    )
    assert robot.spec == dataclasses.replace(plain.spec, cameras=robot.spec.cameras)
    assert [camera.name for camera in robot.spec.cameras] == ["front", "wrist"]
    assert robot.observe is None
    for seen, expected in (
        (robot.reset(3), plain.reset(3)),
        (robot.act(FORWARD).observation, plain.act(FORWARD).observation),
    ):
        np.testing.assert_array_equal(seen.state, expected.state)
        assert seen.t_monotonic_ns == expected.t_monotonic_ns
        assert set(seen.pictures) == {"front"}
        assert seen.pictures["front"].jpeg.startswith(b"\xff\xd8")
    robot.hold()
    robot.close()
    assert told == ["camera wrist: not there; it is opened again each 1 s"]


def test_robot_that_can_be_looked_at_while_it_stands_still_can_be() -> None:
    class Standing(SimulatedPoint):
        def observe(self) -> Observation:
            return self.reset(0)

    robot = SeeingRobot(
        Standing(SimulatedClock(0)), [parse("front=simulated,32x24")], lambda line: None
    )
    assert robot.observe is not None
    assert set(robot.observe().pictures) == {"front"}
    robot.close()


def test_two_cameras_of_one_name_are_refused() -> None:
    with pytest.raises(CameraError, match="different names"):
        add_cameras(SPEC, [GONE.camera, GONE.camera])
    assert add_cameras(SPEC, [GONE.camera]).cameras == (GONE.camera,)
    with pytest.raises(CameraError, match="different names"):
        SeeingRobot(SimulatedPoint(SimulatedClock(0)), [GONE, GONE], lambda line: None)
