"""Robots of other people's code are found by file, module or entry point."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.errors import (
    EdgeError,
    NoExpertError,
    OutsideRobotError,
    RobotFaultError,
    RobotUnavailableError,
    UnknownRobotError,
)
from edge.robots import outside, registry
from edge.robots.clock import SimulatedClock
from edge.robots.robot import Robot
from edge.robots.simulated_point import SPEC

ARM = """
from edge.robots import simulated_point
from edge.robots.clock import MonotonicClock
from edge.robots.robot import Observation, RobotSpec
from edge.robots.simulated_point import PointExpert, SimulatedPoint

class MyArm(SimulatedPoint):
    spec = simulated_point.SPEC
    def __init__(self, clock):
        super().__init__(clock)
    @staticmethod
    def expert(observation):
        return PointExpert().propose(observation)

class Ported(SimulatedPoint):
    def __init__(self, port, clock):
        super().__init__(clock)
        self.port = port

class Unplugged(MyArm):
    def __init__(self):
        raise OSError("no such port")

class NoSpec(MyArm):
    spec = None

class NoClock(MyArm):
    clock = None
    def __init__(self):
        pass

class Hasty(MyArm):
    clock = MonotonicClock()
    def __init__(self):
        pass

class Lazy:
    spec = simulated_point.SPEC
    def reset(self, seed):
        pass
    def act(self, action):
        pass

class WrongExpert(MyArm):
    @staticmethod
    def expert(observation):
        return observation.state / []

class WrongSpec(MyArm):
    def __init__(self):
        RobotSpec(2, 1, 100.0, "a", "b", "c", (1.0,), (1.0,), True)

number = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that somebody works in, with an arm; Python's path is as it was."""
    (tmp_path / "my_arm.py").write_text(ARM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    outside.look_outside.cache_clear()
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(f"{tmp_path}/"):
            del sys.modules[name]


def drive(robot: Robot) -> None:
    """Drives an episode with what the robot's expert would do."""
    robot.reset(1)
    assert not robot.act(np.ones(1, np.float32)).terminal
    robot.hold()
    robot.close()


def test_class_in_a_file_is_a_robot_with_its_expert(folder: Path) -> None:
    for name in ("my_arm.py:MyArm", f"{folder}/my_arm.py:MyArm", "./my_arm.py:MyArm"):
        registry.require_known(name)
        clock = SimulatedClock(0)
        robot = registry.open_robot(name, clock)
        assert robot.spec == SPEC
        assert robot.clock is clock
        seen = robot.reset(1)
        action = registry.open_expert(name).propose(seen)
        assert action.shape == (1,)
        drive(robot)
        assert registry.name_actor(name) == "expert"
        assert not registry.has_driver(name), "its class says that it is simulated"
        assert registry.read_spec(name) == SPEC


def test_class_of_a_module_is_found_in_the_folder_and_where_the_variable_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive(registry.open_robot("my_arm:MyArm"))
    package = folder / "elsewhere/my_package"
    package.mkdir(parents=True)
    (package / "arms.py").write_text(ARM)
    monkeypatch.setenv(outside.PATH_VARIABLE, f"{folder / 'elsewhere'}:")
    outside.look_outside.cache_clear()
    drive(registry.open_robot("my_package.arms:MyArm"))


def test_modules_of_others_are_behind_those_that_are_here(folder: Path) -> None:
    (folder / "base.py").write_text("raise AssertionError\n")
    assert registry.open_robot("edge.robots.simulated_point:SimulatedPoint").spec
    with pytest.raises(OutsideRobotError):
        registry.open_robot("base:Arm")
    assert sys.path[-1] == str(folder)


def test_what_stands_behind_the_class_is_handed_to_it(folder: Path) -> None:
    name = "my_arm.py:Ported:/dev/ttyUSB0:fast"
    robot = registry.open_robot(name)
    assert robot._robot.port == "/dev/ttyUSB0:fast"  # type: ignore[attr-defined]
    assert registry.has_driver(name), "its class does not say what it is"
    assert registry.name_actor(name) == "keyboard"
    # A class with one task may be named with it, as an evaluation does.
    assert registry.open_robot(f"my_arm.py:MyArm:{SPEC.task}").spec == SPEC
    for wrong in ("my_arm.py:Ported", "my_arm.py:MyArm:left"):
        with pytest.raises(OutsideRobotError, match=r"write my_arm\.py:MyArm:ARGU"):
            registry.open_robot(wrong)


def test_file_is_loaded_once_and_what_lies_beside_it_is_found(folder: Path) -> None:
    (folder / "arms").mkdir()
    (folder / "arms/wire.py").write_text("NAME = 'wire'\n")
    (folder / "arms/arm.py").write_text(f"import wire\n{ARM}\nwire.NAME += '!'\n")
    for _ in range(2):
        registry.open_robot("arms/arm.py:MyArm").close()
    assert sys.modules["wire"].NAME == "wire!"


def test_installed_package_names_a_robot_and_replaces_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = folder / "site/arms-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: arms\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[{outside.GROUP}]\nmy-arm = my_arm:MyArm\nported = my_arm:Ported\n"
        "metaworld = my_arm:MyArm\nbroken = my_arm:Absent\n"
    )
    monkeypatch.setenv(outside.PATH_VARIABLE, str(folder / "site"))
    outside.look_outside.cache_clear()
    drive(registry.open_robot("my-arm"))
    assert registry.name_actor("my-arm") == "expert"
    drive(registry.open_robot("ported:COM1"))
    assert registry.open_robot("metaworld:reach-v3").spec.robot_model == "sawyer"
    with pytest.raises(OutsideRobotError, match="'Absent', which it has not"):
        registry.require_known("broken")


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("absent.py:MyArm", OutsideRobotError, "absent.py, got none; correct the path"),
        ("absent:MyArm", OutsideRobotError, "a module absent on PYTHONPATH or in this"),
        ("my_arm.other:MyArm", OutsideRobotError, "none named my_arm.other, for"),
        (
            "my_arm.py:Mine",
            OutsideRobotError,
            "'Mine', which it has not; it has MyArm, ",
        ),
        ("my_arm.py:", OutsideRobotError, "'', which it has not"),
        (
            "my_arm.py:number",
            OutsideRobotError,
            "a class in my_arm.py:number, got a int",
        ),
        (
            "my_arm.py:Lazy",
            OutsideRobotError,
            "got none named hold or close; docs/your",
        ),
        ("my_arm.py:NoSpec", OutsideRobotError, "a `spec` that is a RobotSpec in"),
        ("my_arm.py:NoClock", OutsideRobotError, "a `clock`: MonotonicClock() for a"),
        ("my_arm.py:Hasty", OutsideRobotError, "got a MonotonicClock; docs/your-robot"),
        (
            "my_arm.py:Unplugged",
            RobotUnavailableError,
            "OSError: no such port (my_arm.py:",
        ),
        ("my_arm.py:WrongSpec", RobotUnavailableError, "minimum must be below its max"),
        ("my_arm.py", UnknownRobotError, "FILE.py:CLASS or MODULE:CLASS"),
        ("my-arm:left", UnknownRobotError, "FILE.py:CLASS or MODULE:CLASS"),
    ],
)
def test_wrong_name_or_class_is_refused_in_one_line(
    folder: Path, name: str, error: type[EdgeError], said: str
) -> None:
    with pytest.raises(error) as caught:
        registry.open_robot(name)
    text = str(caught.value)
    assert said in text
    assert "\n" not in text
    if error is not RobotUnavailableError:
        assert text.startswith("--robot: "), "no second start helps"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import absent_library\n", "No module named 'absent_library' (broken.py:1)"),
        ("x = (\n", "SyntaxError: '(' was never closed (broken.py, line 1)"),
        ("\n\n1 / 0\n", "ZeroDivisionError: division by zero (broken.py:3)"),
    ],
)
@pytest.mark.parametrize("name", ["broken.py:MyArm", "broken:MyArm"])
def test_file_that_does_not_load_is_named_with_its_line(
    folder: Path, text: str, said: str, name: str
) -> None:
    (folder / "broken.py").write_text(text)
    with pytest.raises(OutsideRobotError) as caught:
        registry.require_known(name)
    assert f"expected {name} to load" in str(caught.value)
    assert said in str(caught.value)


def test_expert_that_is_absent_wrong_or_slowed_is_refused(folder: Path) -> None:
    seen = registry.open_robot("my_arm.py:MyArm").reset(1)
    with pytest.raises(NoExpertError, match="act yourself"):
        registry.open_expert("my_arm.py:Ported:x")
    with pytest.raises(NoExpertError, match="--actor_speed: expected no speed"):
        registry.open_expert("my_arm.py:MyArm", 0.5)
    expert = registry.open_expert("my_arm.py:WrongExpert")
    expert.reset("a task")
    with pytest.raises(RobotFaultError, match=r"got ValueError: .* \(my_arm.py:\d+\)"):
        expert.propose(seen)
