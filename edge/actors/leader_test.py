"""A leader arm leads a follower: slowly at first, and not after it is gone."""

import contextlib
import os
import pty
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from edge.actors import registry as actors
from edge.actors.actor import Actor, Ending, Signal, Stage
from edge.actors.leader import APPROACH, LAID_S, Leader
from edge.actors.terminal import Terminal
from edge.errors import (
    ActorAbsentError,
    ActorLostError,
    ActorUnavailableError,
    UnknownActorError,
)
from edge.robots import registry as robots
from edge.robots.robot import Observation, Robot
from edge.robots.simulated_point import SPEC
from edge.testing import dynamixel_bus, feetech_bus
from edge.testing.feetech_bus import LEKIWI_JOINTS, FeetechBus

STEPS_PER_DEGREE = 4095 / 360
LYING = [2048, 1500, 2600, 2048, 2048, 1100]
LIFTED = [2300, 1900, 2300, 2100, 2300, 2000]


@dataclass
class Desk:
    """Two arms on a desk, and a person at a terminal before them."""

    leading: FeetechBus
    following: FeetechBus
    folder: Path
    keys: int
    terminal: Terminal
    told: list[str] = field(default_factory=list)
    now_s: float = 100.0

    @property
    def robot(self) -> str:
        port = self.following.port
        return f"lerobot:so101_follower@{port},id=f,calibration={self.folder}"

    @property
    def arm(self) -> str:
        return f"so101_leader@{self.leading.port},id=l,calibration={self.folder}"

    def stage(self, robot: Robot, name: str = "") -> Stage:
        keys = self.terminal
        return Stage(name or self.robot, robot.spec, None, None, self.told.append, keys)

    def open(self, robot: Robot) -> Leader:
        return Leader(self.arm, self.stage(robot), lambda: self.now_s)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    far, near = pty.openpty()
    with feetech_bus.plug_in() as leading, feetech_bus.plug_in() as following:
        leading.calibrate(tmp_path, "l")
        following.calibrate(tmp_path, "f")
        leading.move(LYING)
        yield Desk(leading, following, tmp_path, far, Terminal(near, "test"))
    os.close(near)
    os.close(far)


@pytest.fixture
def robot(desk: Desk) -> Iterator[Robot]:
    with contextlib.closing(robots.open_robot(desk.robot)) as opened:
        yield opened


def lead(actor: Actor, robot: Robot, steps: int) -> tuple[list[float], Observation]:
    """Lets the actor demonstrate; the fastest of each action, and what was seen."""
    seen = robot.observe()  # type: ignore[attr-defined]
    fastest = []
    for _ in range(steps):
        actor.signal()
        action = actor.propose(seen)
        fastest.append(float(np.abs(action).max()))
        seen = robot.act(action).observation
        time.sleep(1 / robot.spec.control_hz)
    return fastest, seen


def test_follower_comes_slowly_until_both_stand_alike_and_then_follows_at_once(
    desk: Desk, robot: Robot
) -> None:
    actor = desk.open(robot)
    robot.reset(0)
    actor.reset("pick")
    fastest, seen = lead(actor, robot, 20)
    assert max(fastest) <= APPROACH
    assert not desk.told[-1].startswith("both arms")
    _, seen = lead(actor, robot, 60)
    assert desk.told[-1].startswith("both arms stand alike")
    np.testing.assert_allclose(desk.following.goals, LYING, atol=3)
    desk.leading.move(LIFTED)
    fastest, seen = lead(actor, robot, 15)
    assert max(fastest) == 1.0
    np.testing.assert_allclose(desk.following.goals, LIFTED, atol=3)
    np.testing.assert_allclose(seen.state[:5], seen.state[6:11], atol=3)
    actor.close()


def test_leader_takes_over_when_it_is_moved_and_hands_back_by_key(
    desk: Desk, robot: Robot
) -> None:
    actor = desk.open(robot)
    actor.reset("pick")
    desk.leading.move([at + 5 for at in LYING])  # somebody knocks at the desk
    assert actor.signal() == Signal()
    desk.leading.move(LIFTED)
    assert actor.signal() == Signal(takes_over=True)
    os.write(desk.keys, b"h")
    assert actor.signal() == Signal()
    assert actor.signal() == Signal(), "it is held still in the air"
    desk.leading.move([at - 100 for at in LIFTED])
    assert actor.signal() == Signal(takes_over=True)
    actor.reset("pick")
    assert actor.signal() == Signal()
    os.write(desk.keys, b" ")
    assert actor.signal() == Signal(takes_over=True), "by key, and not moved"
    actor.close()


def test_leader_that_is_laid_down_where_it_lay_hands_back(
    desk: Desk, robot: Robot
) -> None:
    actor = desk.open(robot)
    actor.reset("pick")
    desk.leading.move(LIFTED)
    assert actor.signal().takes_over
    desk.leading.move([at + 30 for at in LYING])
    for _ in range(3):
        assert actor.signal().takes_over, "it may only pass by"
    desk.now_s += LAID_S
    assert not actor.signal().takes_over
    assert "laid down" in desk.told[-1]
    desk.now_s += LAID_S
    assert not actor.signal().takes_over
    actor.close()


def test_keys_begin_and_say_how_it_went(desk: Desk, robot: Robot) -> None:
    actor = desk.open(robot)
    assert desk.told[0].startswith("keys: space: take over")
    assert actor.may_begin() is None
    os.write(desk.keys, b" ")
    assert actor.may_begin(1.0)
    actor.reset("pick")
    for key, ending in ((b"y", Ending.SUCCESS), (b"b", Ending.LEFT_OUT)):
        os.write(desk.keys, key)
        assert actor.signal().ending is ending
        actor.reset("pick")
    os.write(desk.keys, b"x")
    assert actor.signal().holds_still
    actor.close()


@pytest.mark.parametrize("how", ["cable", "servo"])
def test_leader_that_is_gone_holds_the_robot_and_ends_the_run(
    desk: Desk, robot: Robot, how: str
) -> None:
    actor = desk.open(robot)
    actor.reset("pick")
    if how == "cable":
        desk.leading.unplug()
    else:
        desk.leading.servos[2].is_deaf = True
    begin_s = time.monotonic()
    assert actor.signal() == Signal(takes_over=True, ending=Ending.LOST)
    assert time.monotonic() - begin_s < 1.0  # 0.16 on a machine with nothing else
    assert desk.told[-1].startswith("the leader arm is gone")
    assert actor.signal().holds_still
    with pytest.raises(ActorLostError):
        actor.may_begin()
    actor.close()


def test_leader_can_be_moved_by_hand_and_the_follower_cannot(
    desk: Desk, robot: Robot
) -> None:
    actor = desk.open(robot)
    assert not any(servo.is_on for servo in desk.leading.servos.values())
    assert all(servo.is_on for servo in desk.following.servos.values())
    actor.close()


def test_arm_of_a_lekiwi_follows_and_keys_move_its_base(
    desk: Desk, tmp_path: Path
) -> None:
    with feetech_bus.plug_in(len(LEKIWI_JOINTS)) as bus:
        bus.calibrate(tmp_path, "k", LEKIWI_JOINTS)
        name = f"lerobot:lekiwi@{bus.port},id=k,calibration={tmp_path}"
        robot = robots.open_robot(name)
        actor = actors.open_actor(f"leader:{desk.arm}", desk.stage(robot, name))
        robot.reset(0)
        actor.reset("pick")
        os.write(desk.keys, b"d")
        actor.signal()
        action = actor.propose(robot.reset(0))
        assert action.shape == (9,)
        np.testing.assert_array_equal(action[6:], [1, 0, 0])
        lead(actor, robot, 90)
        np.testing.assert_allclose(bus.goals[:6], LYING, atol=3)
        actor.close()
        robot.close()


def test_koch_is_led_by_a_koch(desk: Desk, tmp_path: Path) -> None:
    with (
        dynamixel_bus.plug_in(dynamixel_bus.FOLLOWER) as following,
        dynamixel_bus.plug_in(dynamixel_bus.LEADER) as leading,
    ):
        following.calibrate(tmp_path, "kf")
        leading.calibrate(tmp_path, "kl")
        leading.move(LIFTED)
        name = f"lerobot:koch_follower@{following.port},id=kf,calibration={tmp_path}"
        robot = robots.open_robot(name)
        arm = f"leader:koch_leader@{leading.port},id=kl,calibration={tmp_path}"
        actor = actors.open_actor(arm, desk.stage(robot, name))
        robot.reset(0)
        actor.reset("pick")
        lead(actor, robot, 45)
        np.testing.assert_allclose(following.goals[:5], LIFTED[:5], atol=3)
        actor.close()
        robot.close()


def test_leader_of_no_such_robot_or_port_is_one_line(desk: Desk, robot: Robot) -> None:
    stage = desk.stage(robot)
    with pytest.raises(ActorUnavailableError, match="a robot with its joints"):
        actors.open_actor(
            f"leader:{desk.arm}",
            Stage("point", SPEC, None, None, desk.told.append, desk.terminal),
        )
    with pytest.raises(ActorAbsentError, match="an arm at /dev/no-such-port"):
        actors.open_actor("leader:so101_leader@/dev/no-such-port", stage)
    with pytest.raises(ActorUnavailableError, match="lead by so100_leader or so101_le"):
        actors.open_actor(f"leader:koch_leader@{desk.leading.port}", stage)
    (desk.folder / "l.json").unlink()
    with pytest.raises(ActorUnavailableError, match="//edge:calibrate") as caught:
        desk.open(robot)
    assert f"--arm=leader:{desk.arm}" in str(caught.value)


@pytest.mark.parametrize("text", ["", "so101_follower@/dev/x", "so101_leader,id=a"])
def test_name_that_is_not_understood_is_refused_before_anything_opens(
    text: str,
) -> None:
    with pytest.raises(UnknownActorError, match=r"expected leader:TYPE@PORT"):
        actors.require_known(f"leader:{text}")
