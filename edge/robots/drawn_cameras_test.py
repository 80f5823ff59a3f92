"""No robot draws what it sees but a simulated one of ours with its own camera."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.errors import CameraError
from edge.robots import camera_drivers, registry
from edge.robots.clock import SimulatedClock
from edge.robots.drawn_cameras import find_drawn
from edge.robots.guarded_robot import GuardedRobot
from edge.robots.robot import Robot
from edge.robots.seeing_robot import SeeingRobot
from edge.robots.simulated_point import SimulatedPoint
from edge.robots.so101_robot import So101Robot
from rlds.drawn_pictures import SIMULATORS, find_simulator
from rlds.spec import EpisodeSpec
from rlds.testing import episodes

DRAWS = "so101-camera:pick-place"
# A class of somebody else's that calls itself what ours does, and sees a real room.
PRETENDER = """
from edge.robots.clock import SimulatedClock
from edge.robots.so101_robot import So101Robot


class Same(So101Robot):
    def __init__(self, clock):
        super().__init__("pick-place", clock, camera=True)


def make(clock):
    return So101Robot("pick-place", clock, camera=True)


class Beside:
    def __init__(self, clock):
        self.inside = So101Robot("pick-place", clock, camera=True)
        self.spec, self.clock = self.inside.spec, clock
        self.reset, self.act = self.inside.reset, self.inside.act

    def reset(self, seed): ...

    def act(self, action): ...

    def hold(self): ...

    def close(self): ...
"""


def open_so101(*, camera: bool) -> So101Robot:
    return So101Robot("pick-place", SimulatedClock(0), camera=camera)


@contextlib.contextmanager
def add(robot: Robot, *cameras: str) -> Iterator[SeeingRobot]:
    named = tuple(map(camera_drivers.parse, cameras))
    with contextlib.closing(
        SeeingRobot(robot, named, lambda line: None, 5.0)
    ) as seeing:
        yield seeing


def test_simulated_arm_draws_its_own_camera() -> None:
    robot = registry.open_robot(DRAWS)
    assert find_drawn(robot) == {"front"}
    spec = robot.spec
    sizes = SIMULATORS["so101-camera"].sizes
    assert {one.name: (one.width, one.height) for one in spec.cameras} == sizes
    said = episodes.metadata(
        environment_id=spec.environment_id,
        robot_model=spec.robot_model,
        tags=("simulated",),
    )
    fields = EpisodeSpec(spec.state_size, spec.action_size, cameras=tuple(sizes))
    assert find_simulator(fields, said) == "so101-camera"


@pytest.mark.parametrize("name", ["so101-sim:pick-place", "metaworld:reach-v3"])
def test_simulated_robot_without_a_camera_draws_none(name: str) -> None:
    assert find_drawn(registry.open_robot(name)) == frozenset()


def test_camera_beside_a_simulated_robot_is_not_drawn() -> None:
    with add(open_so101(camera=False), "front=simulated,64x64") as robot:
        assert robot.spec.cameras
        assert find_drawn(robot) == frozenset()
    with add(SimulatedPoint(SimulatedClock(0)), "front=simulated") as other:
        assert find_drawn(other) == frozenset()


def test_camera_beside_a_drawn_one_takes_the_exemption_from_both() -> None:
    with add(open_so101(camera=True), "wrist=simulated") as robot:
        assert [one.name for one in robot.spec.cameras] == ["front", "wrist"]
        assert find_drawn(robot) == frozenset()


def test_camera_cannot_take_the_name_of_a_drawn_one() -> None:
    with pytest.raises(CameraError), add(open_so101(camera=True), "front=simulated"):
        pass


@pytest.mark.parametrize("attribute", ["Same", "make", "Beside"])
def test_class_of_somebody_else_draws_nothing_whatever_it_calls_itself(
    tmp_path: Path, attribute: str
) -> None:
    path = tmp_path / f"pretender_{attribute.lower()}.py"
    path.write_text(PRETENDER)
    robot = registry.open_robot(f"{path}:{attribute}")
    assert robot.spec == open_so101(camera=True).spec
    assert find_drawn(robot) == frozenset()


def test_wrapped_robot_draws_nothing() -> None:
    guarded = GuardedRobot(open_so101(camera=True), DRAWS, file="")
    assert find_drawn(guarded) == frozenset()


def test_spec_alone_draws_nothing() -> None:
    class Other(SimulatedPoint):
        spec = dataclasses.replace(open_so101(camera=True).spec)

    assert find_drawn(Other(SimulatedClock(0))) == frozenset()
