import dataclasses
from pathlib import Path

import pytest

from edge import errors
from edge.control import policy_source
from edge.control.policy_source import Driver
from edge.robots.robot import Camera, Microphone, RobotSpec
from edge.robots.simulated_point import PointExpert
from edge.testing import tiny_package
from release.package import TensorSpec
from release.verification import verify_integrity

SPEC = RobotSpec(
    state_size=39,
    action_size=4,
    control_hz=80.0,
    robot_model="sawyer",
    environment_id="test",
    task="push-v3",
    action_minimum=(-1.0,) * 4,
    action_maximum=(1.0,) * 4,
    simulated=True,
)


@pytest.fixture
def package_driver(tmp_path: Path) -> Driver:
    tiny_package.write_package(tmp_path / "p", action_limit=0.5)
    return policy_source.make_package_driver(verify_integrity(tmp_path / "p"))


def test_package_drives_a_robot_that_it_fits_within_its_own_limits(
    package_driver: Driver,
) -> None:
    assert package_driver.policy_for("metaworld:push-v3", SPEC)
    assert package_driver.safety_for(SPEC).action_maximum == (0.5,) * 4
    assert package_driver.package_digest is not None
    assert package_driver.actor == f"policy:{package_driver.package_digest[:12]}"


@pytest.mark.parametrize(
    ("spec", "error", "match"),
    [
        (
            dataclasses.replace(SPEC, state_size=40),
            errors.RobotMismatchError,
            r"\(39,\).*got.*\(40,\)",
        ),
        (
            dataclasses.replace(SPEC, control_hz=100.0),
            errors.RobotMismatchError,
            "80 Hz, got 100 Hz",
        ),
        (
            dataclasses.replace(SPEC, robot_model="panda"),
            errors.RobotMismatchError,
            "model 'sawyer', got 'panda'",
        ),
        (
            dataclasses.replace(SPEC, action_maximum=(0.5, 0.5, 0.4, 0.5)),
            errors.RobotMismatchError,
            "actions reach from -0.5 to 0.5, got -1 to 0.4 of robot",
        ),
        (
            dataclasses.replace(SPEC, task="fly-v3"),
            errors.UnknownTaskError,
            "fly-v3",
        ),
    ],
)
def test_robot_that_does_not_fit_is_refused(
    package_driver: Driver, spec: RobotSpec, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        package_driver.policy_for("robot", spec)


def test_safety_config_that_is_wider_than_the_robot_is_refused(tmp_path: Path) -> None:
    wide = tiny_package.safety_config(action_maximum=[0.5, 0.5, 0.5, 0.6])
    tiny_package.write_package(tmp_path / "p", action_limit=0.5, safety=wide)
    driver = policy_source.make_package_driver(verify_integrity(tmp_path / "p"))
    assert driver.policy_for("robot", SPEC)
    narrow = dataclasses.replace(SPEC, action_maximum=(0.5,) * 4)
    with pytest.raises(errors.SafetyConfigError, match="limits within those of sawyer"):
        driver.policy_for("robot", narrow)


def test_expert_has_no_package_and_runs_within_the_robots_limits() -> None:
    policies = {"metaworld:push-v3": PointExpert()}
    expert = policy_source.make_expert_driver(policies.__getitem__)
    assert (expert.package_digest, expert.actor) == (None, "expert")
    policy = expert.policy_for("metaworld:push-v3", SPEC)
    assert policy is policies["metaworld:push-v3"]
    assert expert.safety_for(SPEC).action_maximum == SPEC.action_maximum


@pytest.mark.parametrize(
    ("reads", "has", "fits"),
    [
        ((), ("front",), True),
        (("image",), ("front",), True),
        (("image",), (), False),
        (("image",), ("front", "wrist"), False),
        (("image_front",), ("front", "wrist"), True),
        (("image_front", "image_wrist"), ("wrist", "front"), True),
        (("image_front", "image_wrist"), ("front",), False),
        (("image_front",), ("wrist",), False),
    ],
)
def test_robot_must_have_the_cameras_that_a_package_reads(
    tmp_path: Path, reads: tuple[str, ...], has: tuple[str, ...], fits: bool
) -> None:
    tiny_package.write_package(tmp_path / "p")
    fit = verify_integrity(tmp_path / "p").manifest.robot
    seen = {name: TensorSpec(name, (48, 64, 3), "uint8") for name in reads}
    fit = dataclasses.replace(fit, observation={**fit.observation, **seen})
    cameras = tuple(Camera(name, 320, 240, 20.0) for name in has)
    spec = dataclasses.replace(SPEC, cameras=cameras)
    if fits:
        policy_source.require_fit("p", fit, "arm", spec)
        return
    with pytest.raises(errors.RobotMismatchError, match=r"--camera=NAME=SOURCE"):
        policy_source.require_fit("p", fit, "arm", spec)


@pytest.mark.parametrize(
    ("reads", "has", "fits"), [(8, 8, True), (8, None, False), (8, 40, False)]
)
def test_robot_must_have_the_microphone_that_a_package_reads(
    tmp_path: Path, reads: int, has: int | None, fits: bool
) -> None:
    tiny_package.write_package(tmp_path / "p")
    fit = verify_integrity(tmp_path / "p").manifest.robot
    heard = {"audio_mel": TensorSpec("audio_mel", (reads,), "float32")}
    fit = dataclasses.replace(fit, observation={**fit.observation, **heard})
    microphone = None if has is None else Microphone(20.0, has)
    spec = dataclasses.replace(SPEC, microphone=microphone)
    if fits:
        policy_source.require_fit("p", fit, "arm", spec)
        return
    with pytest.raises(errors.RobotMismatchError, match=r"--microphone=SOURCE"):
        policy_source.require_fit("p", fit, "arm", spec)


def test_robot_may_hear_more_than_a_package_reads(tmp_path: Path) -> None:
    tiny_package.write_package(tmp_path / "p")
    fit = verify_integrity(tmp_path / "p").manifest.robot
    spec = dataclasses.replace(SPEC, microphone=Microphone(20.0))
    policy_source.require_fit("p", fit, "arm", spec)
