"""Each fault of a robot is found by the check that looks for it, and by no other."""

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edge import robot_checks, standing_checks
from edge.check_result import Check, Result
from edge.robots import registry
from edge.robots.clock import SimulatedClock
from edge.robots.guarded_robot import GuardedRobot
from edge.robots.robot import Observation, Robot, RobotSpec, Transition, Vector
from edge.robots.simulated_point import SimulatedPoint
from edge.testing import tiny_package
from edge.testing.moving_arm import MovingArm, read_port
from rlds import example_codec, tfrecord

SPEC = RobotSpec(
    state_size=2,
    action_size=1,
    control_hz=50.0,
    robot_model="bench-arm",
    environment_id="bench",
    task="wait",
    action_minimum=(-1.0,),
    action_maximum=(1.0,),
    simulated=False,
    hold_after_s=0.3,
)
BUSY = {"deadlines", "rate of steps", "time to read"}
"""What a machine that does other things may fail at."""


class Arm(MovingArm):
    """An arm that can say what it senses; its second sensor is noisy."""

    def __init__(self, port: Path) -> None:
        super().__init__(port, SPEC)
        self._random = np.random.default_rng(0)

    def observe(self) -> Observation:
        return self._observe()

    def _observe(self) -> Observation:
        seen = super()._observe()
        seen.state[1] = self._random.normal()
        return seen


class FrozenArm(Arm):
    def _observe(self) -> Observation:
        return Observation(np.zeros(2, np.float32), super()._observe().t_monotonic_ns)


class StaleArm(Arm):
    """Its reading is always as old as the arm."""

    def __init__(self, port: Path) -> None:
        super().__init__(port)
        self._first_ns = self._clock.now_ns()

    def observe(self) -> Observation:
        return Observation(self._observe().state, self._first_ns)


class SlowArm(Arm):
    """Its sensors take two periods."""

    def observe(self) -> Observation:
        time.sleep(0.04)
        return super().observe()


class RestlessArm(Arm):
    """It goes on after it was held."""

    def hold(self) -> None:
        """Does nothing."""


class WaitingArm(Arm):
    """It waits for its motors to say that they stand."""

    def hold(self) -> None:
        super().hold()
        time.sleep(0.05)


class LockingArm(Arm):
    """Its hold takes a lock that another thread has in the instant of a fork."""

    def __init__(self, port: Path) -> None:
        super().__init__(port)
        self._owner = os.getpid()
        self._lock = threading.Lock()

    def hold(self) -> None:
        if os.getpid() != self._owner:
            self._lock.acquire()  # as a thread that the fork does not have left it
            self._lock.acquire()
        super().hold()


class RaisingArm(Arm):
    def observe(self) -> Observation:
        raise OSError("no answer")


class Restarting(SimulatedPoint):
    """Its episodes depend on those before."""

    def reset(self, seed: int) -> Observation:
        before = self._position
        super().reset(seed)
        self._position = 0.1 * before + 0.01
        return self._observation()


class Timeless(SimulatedPoint):
    """It does not advance its clock."""

    def act(self, action: Vector) -> Transition:
        before_ns = self.clock.now_ns()
        done = super().act(action)
        self._clock = SimulatedClock(0)
        self._clock.advance(before_ns)
        return done


class Deaf(SimulatedPoint):
    """It moves by itself."""

    def act(self, action: Vector) -> Transition:
        return super().act(np.full_like(action, 0.1))


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at a robot that stands, and waits for one that hangs, not quite so long."""
    monkeypatch.setattr(standing_checks, "_LOOK_S", 0.4)
    monkeypatch.setattr(standing_checks, "_HANG_S", 1.0)


def check(robot: Robot, share: float | None = None) -> dict[str, Check]:
    guarded = GuardedRobot(robot, "arm.py:Arm", __file__)
    found = list(robot_checks.check_robot(guarded, share))
    guarded.close()
    assert len({one.name for one in found}) == len(found)
    return {one.name: one for one in found}


def failures(found: dict[str, Check]) -> set[str]:
    return {name for name, one in found.items() if one.result is Result.FAILED} - BUSY


def moved(port: Path) -> list[float]:
    return [one.velocity[0] for one in read_port(port) if not one.is_hold]


def test_good_arm_passes_and_is_not_moved_unless_told_to(tmp_path: Path) -> None:
    found = check(Arm(tmp_path / "port"))
    assert failures(found) == set()
    assert found["moves"].result is Result.NOT_CHECKED
    assert "--move" in found["moves"].remedy
    assert found["sensors that stand"].found.endswith("channels [0]")
    assert moved(tmp_path / "port") == []


def test_good_arm_that_may_move_does_so_within_its_share_and_stands_then(
    tmp_path: Path,
) -> None:
    found = check(Arm(tmp_path / "port"), 0.1)
    assert failures(found) == set()
    assert "action 0 in [0]" in found["which moves what"].found
    speeds = moved(tmp_path / "port")
    assert max(map(abs, speeds)) == pytest.approx(0.1)
    assert sum(np.sign(speeds)) == 0, "as far back as forth"
    assert read_port(tmp_path / "port")[-1].is_hold


@pytest.mark.parametrize(
    ("arm", "share", "failed"),
    [
        (FrozenArm, 0.1, "response"),
        (StaleArm, None, "times of readings"),
        (WaitingArm, None, "hold"),
        (LockingArm, None, "hold by a watchdog"),
        (RestlessArm, 0.1, ""),
        (RaisingArm, None, "senses"),
    ],
)
def test_arm_with_one_fault_fails_at_that(
    tmp_path: Path, arm: type[Arm], share: float | None, failed: str
) -> None:
    found = check(arm(tmp_path / "port"), share)
    assert failures(found) == ({failed} if failed else set())
    if failed:
        assert found[failed].remedy


def test_arm_that_goes_on_after_a_hold_fails(tmp_path: Path) -> None:
    class Drifting(RestlessArm):
        def _command(self, velocity: np.ndarray) -> None:
            # What it was told last, it does on and on, once it has moved.
            moving = self._velocity.any() and not velocity.any()
            super()._command(self._velocity if moving else velocity)

    found = check(Drifting(tmp_path / "port"), 0.1)
    assert "stands when held" in failures(found)
    assert "channels [0] go on changing" in found["stands when held"].found


def test_arm_whose_sensors_take_longer_than_a_period_fails(tmp_path: Path) -> None:
    found = check(SlowArm(tmp_path / "port"))
    assert found["time to read"].result is Result.FAILED
    assert "of a period of 20.00 ms" in found["time to read"].found


def test_arm_without_observe_is_told_what_cannot_be_checked(tmp_path: Path) -> None:
    found = check(MovingArm(tmp_path / "port", SPEC), 0.1)
    assert failures(found) == set()
    assert found["senses at rest"].result is Result.NOT_CHECKED
    assert found["stands when held"].result is Result.NOT_CHECKED


def test_names_that_are_hidden_where_they_leave_are_a_note() -> None:
    class Named(SimulatedPoint):
        spec = RobotSpec(
            2, 1, 100.0, "frob-arm", "line", "", (-1.0,), (1.0,), simulated=True
        )

    found = check(Named(SimulatedClock(0)))
    assert failures(found) == set()
    assert found["names"].result is Result.NOTE
    assert found["names"].found.startswith("robot_model 'frob-arm', task '': shared")
    assert "--share_words" in found["names"].remedy


def test_limits_without_a_zero_are_a_note() -> None:
    class Pushing(SimulatedPoint):
        spec = RobotSpec(
            2, 1, 100.0, "arm", "line", "push", (0.5,), (1.0,), simulated=True
        )

    found = check(Pushing(SimulatedClock(0)))
    assert found["limits"].result is Result.NOTE
    assert "[0.5]" in found["limits"].remedy


@pytest.mark.parametrize(
    ("point", "failed"),
    [
        (SimulatedPoint, set()),
        (Restarting, {"same seed, same episode"}),
        (Timeless, {"time of a step"}),
        (Deaf, {"response"}),
    ],
)
def test_simulated_robot_with_one_fault_fails_at_that(
    point: type[SimulatedPoint], failed: set[str]
) -> None:
    assert failures(check(point(SimulatedClock(0)), 1.0)) == failed


@pytest.mark.parametrize(
    ("name", "failed"),
    [
        ("metaworld:push-v3", set()),
        ("metaworld-poor:reach-v3", set()),
        ("metaworld-changed:reach-v3", set()),
        ("gym:CartPole-v1", set()),
        ("gym:MountainCarContinuous-v0", set()),
        ("gym:Reacher-v5", set()),
        ("edge.robots.simulated_point:SimulatedPoint", set()),
        ("replay:", {"response"}),  # as its name says
    ],
)
def test_each_robot_that_is_registered_here_passes(
    tmp_path: Path, name: str, failed: set[str]
) -> None:
    if name == "replay:":
        path = tmp_path / "episode.tfrecord"
        episode = tiny_package.episode(seed=1, steps=20)
        path.write_bytes(tfrecord.frame(example_codec.encode(episode)))
        name = f"replay:{path}"
    robot = registry.open_robot(name)
    found = {one.name: one for one in robot_checks.check_robot(robot, 1.0)}
    robot.close()
    assert failures(found) == failed
    assert len(found) >= 8
