"""The actor is heard between two steps, lost with its device, and found again."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge.actors.actor import EXPERT, Actor, Ending, Signal, Stage
from edge.actors.gamepad import EVENT, Gamepad
from edge.errors import ActorUnavailableError
from edge.processes.acting import Acting, HandedKeys
from edge.robots.robot import Observation, Vector
from edge.robots.simulated_point import SPEC

A, B, X, START = 0, 1, 2, 7


@dataclass
class Desk:
    """A gamepad that comes and goes, and the person who holds it."""

    device: Path
    told: list[str] = field(default_factory=list)
    now_s: float = 100.0
    opened: int = 0
    pad: int = -1
    is_dead: bool = False  # it opens, and each read says that it has ended

    def open(self, tell: Callable[[str], None]) -> Actor:
        found = Gamepad(Stage("arm", SPEC, None, self.device, tell))
        if self.is_dead:
            os.close(os.open(self.device, os.O_WRONLY))
        self.opened += 1
        return found

    def plug_in(self) -> None:
        os.mkfifo(self.device)
        # Open for both, so that this does not wait for a reader.
        self.pad = os.open(self.device, os.O_RDWR)

    def press(self, button: int) -> None:
        os.write(self.pad, EVENT.pack(1, 1, 1, button) + EVENT.pack(2, 0, 1, button))

    def unplug(self) -> None:
        os.close(self.pad)
        self.device.unlink()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path / "js0")
    made.plug_in()
    return made


@pytest.fixture
def acting(desk: Desk) -> Iterator[Acting]:
    made = Acting(desk.open, desk.told.append, lambda: desk.now_s)
    yield made
    made.close()


def test_keys_come_in_their_order_and_once() -> None:
    keys = HandedKeys()
    keys.hear({"keys": "d"})
    keys.hear({"keys": "\x1b[A\xff"})
    for wrong in ({}, {"keys": 7}, {"keys": None}, {"keys": "\u20ac"}):
        keys.hear(wrong)
    assert keys.read() == b"d\x1b[A\xff"
    assert keys.read(10.0) == b""


def test_flood_of_keys_that_nobody_reads_takes_no_memory() -> None:
    keys = HandedKeys()
    for _ in range(100):
        keys.hear({"keys": "d" * 8000 + "x"})
    raw = keys.read()
    assert len(raw) == 4096
    assert raw.endswith(b"x")


def test_flood_of_keys_that_nobody_reads_loses_no_stop_key() -> None:
    keys = HandedKeys()
    keys.hear({"keys": "X"})
    for _ in range(3):
        keys.hear({"keys": "d" * 4096})
    assert keys.read() == b"x" + b"d" * 4095
    keys.hear({"keys": "d" * 8000})
    assert b"x" not in keys.read()


def test_device_that_is_not_there_at_the_start_is_waited_for(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "js0")
    acting = Acting(desk.open, desk.told.append, lambda: desk.now_s)
    assert (acting.name, acting.is_person) == ("human", True)
    assert "No such file" in acting.trouble
    for _ in range(5):
        desk.now_s += 3.0
        assert not acting.is_here()
        assert acting.may_begin() is None
        assert not acting.listen("reach")
    (line,) = desk.told
    assert line.startswith("the robot holds still: ")
    desk.plug_in()
    assert wait_until_taken(desk, acting) < 5.0
    desk.press(A)
    assert acting.signal() == Signal(takes_over=True)
    acting.close()


def test_actor_that_can_never_act_is_an_error() -> None:
    def refuse(tell: Callable[[str], None]) -> Actor:
        raise ActorUnavailableError("--actor=expert", "one for this robot", "none")

    with pytest.raises(ActorUnavailableError):
        Acting(refuse, lambda text: None)


def wait_until_back(desk: Desk, acting: Acting) -> float:
    """Asks as control does; returns the seconds until only a key is waited for."""
    begin_s = desk.now_s
    while not acting.is_here() and "is back" not in acting.trouble:
        desk.now_s += 0.2
        assert desk.now_s < begin_s + 100.0
    return desk.now_s - begin_s


def wait_until_taken(desk: Desk, acting: Acting) -> float:
    """The same, and the person takes the robot."""
    seconds = wait_until_back(desk, acting)
    desk.press(A)
    assert acting.is_here()
    return seconds


def test_device_that_opens_but_is_dead_begins_no_episode_and_fills_no_log(
    desk: Desk, acting: Acting
) -> None:
    desk.unplug()
    assert acting.signal().ending is Ending.LOST
    os.mkfifo(desk.device)
    desk.is_dead = True
    told, opened = len(desk.told), desk.opened
    for _ in range(3000):
        desk.now_s += 0.2
        assert not acting.is_here()
    assert desk.opened - opened <= 25, "ten minutes, ever less often"
    assert desk.told[told:] == ["the robot holds still: the gamepad is gone"]
    desk.device.unlink()
    desk.is_dead = False
    desk.plug_in()
    assert wait_until_back(desk, acting) < 33.0
    assert sum("is back" in line for line in desk.told) == 1


def test_robot_stays_still_after_its_device_is_back_until_the_person_takes_it(
    desk: Desk, acting: Acting
) -> None:
    desk.unplug()
    acting.signal()
    desk.plug_in()
    desk.now_s += 3.0
    assert not acting.is_here()
    desk.press(A)  # nobody has said yet that it is back
    assert wait_until_back(desk, acting) >= 1.0
    for button in (B, START, X):
        desk.press(button)
        desk.now_s += 60.0
        assert not acting.is_here()
        assert not acting.listen("reach")
        assert acting.may_begin() is None
    line = "the robot holds still: the gamepad is back; A lets the robot go on"
    assert desk.told.count(line) == 1
    desk.press(A)
    assert acting.is_here()
    acting.reset("reach")
    assert acting.signal() == Signal()


def test_key_that_takes_the_robot_again_also_begins_a_demonstration(
    desk: Desk, acting: Acting
) -> None:
    desk.unplug()
    assert acting.may_begin() is None
    desk.plug_in()
    desk.now_s += 3.0
    wait_until_back(desk, acting)
    assert acting.may_begin() is None
    desk.press(A)
    assert acting.may_begin() is True


def test_device_that_goes_again_before_the_person_took_the_robot_is_looked_for(
    desk: Desk, acting: Acting
) -> None:
    desk.unplug()
    acting.signal()
    desk.plug_in()
    desk.now_s += 3.0
    wait_until_back(desk, acting)
    desk.unplug()
    assert not acting.is_here()
    assert "is gone" in acting.trouble
    desk.plug_in()
    desk.now_s += 33.0
    wait_until_taken(desk, acting)


def test_person_may_take_over_and_an_expert_only_demonstrates(acting: Acting) -> None:
    assert acting.name == "human"
    assert acting.is_person
    expert = Acting(lambda tell: _Expert(), lambda text: None)
    assert not expert.is_person


class _Expert:
    name = EXPERT

    def may_begin(self, wait_s: float = 0.0) -> bool | None:
        return True

    def reset(self, task: str) -> None:
        pass

    def signal(self) -> Signal:
        return Signal()

    def propose(self, observation: Observation) -> Vector:
        raise AssertionError("nobody asks it for an action here")

    def close(self) -> None:
        pass


def test_whether_it_has_taken_over_is_known_until_the_next_episode(
    desk: Desk, acting: Acting
) -> None:
    acting.reset("reach")
    assert not acting.takes_over
    desk.press(A)
    assert acting.signal() == Signal(takes_over=True)
    assert acting.takes_over
    acting.reset("reach")
    assert not acting.takes_over


def test_between_two_episodes_only_the_stop_key_counts(
    desk: Desk, acting: Acting
) -> None:
    desk.press(START)
    desk.press(A)
    assert not acting.listen("reach")
    assert not acting.takes_over
    desk.press(X)
    assert acting.listen("reach")
    assert not acting.listen("reach"), "it was heard"
    acting.reset("reach")
    assert acting.signal() == Signal()


def test_lost_device_is_looked_for_again_and_found(desk: Desk, acting: Acting) -> None:
    desk.unplug()
    assert acting.signal().ending is Ending.LOST
    assert acting.trouble
    assert not acting.is_here()
    assert acting.may_begin() is None
    assert not acting.listen("reach")
    assert desk.opened == 1, "it is not asked for at once"
    desk.now_s += 3.0
    assert not acting.is_here()
    desk.plug_in()
    assert not acting.is_here(), "it is not asked for all the time"
    desk.now_s += 3.0
    assert wait_until_taken(desk, acting) < 2.0
    assert not acting.trouble
    assert desk.opened == 2
    desk.press(A)
    assert acting.may_begin() is True
    held = [line for line in desk.told if line.startswith("the robot holds still")]
    assert len(held) == 2
    assert "connect one" in held[0]
    assert "is back" in held[1]


def test_device_that_goes_while_an_episode_is_waited_for_is_no_error(
    desk: Desk, acting: Acting
) -> None:
    assert acting.may_begin() is None
    desk.unplug()
    assert acting.may_begin() is None
    assert acting.trouble
