"""A gamepad's bytes, through a FIFO in the place of its device file."""

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from edge.actors import actor
from edge.actors.actor import Ending, Signal, Stage
from edge.actors.gamepad import DEAD_ZONE, EVENT, Gamepad, leave_dead_zone
from edge.errors import ActorAbsentError, ActorLostError, ActorUnavailableError
from edge.robots.robot import Observation, Vector
from edge.robots.simulated_point import SPEC

ARM = replace(
    SPEC, action_size=4, action_minimum=(-1.0,) * 4, action_maximum=(1, 1, 1, 0.5)
)
SEEN = Observation(np.zeros(2, np.float32), 0)
BUTTON, AXIS, INITIAL = 1, 2, 0x80
A, B, X, Y, BACK, START, LEFT, RIGHT = 0, 1, 2, 3, 6, 7, 4, 5


@dataclass
class Pad:
    """The far end of the device."""

    descriptor: int
    told: list[str] = field(default_factory=list)

    def send(self, kind: int, number: int, value: int) -> None:
        self.send_raw(EVENT.pack(1000, value, kind, number))

    def send_raw(self, raw: bytes) -> None:
        os.write(self.descriptor, raw)

    def press(self, *buttons: int) -> None:
        """All at once, so that nobody reads one without the next."""
        events = [(value, button) for button in buttons for value in (1, 0)]
        self.send_raw(b"".join(EVENT.pack(1000, v, BUTTON, b) for v, b in events))

    def unplug(self) -> None:
        os.close(self.descriptor)
        self.descriptor = -1


@pytest.fixture
def device(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "js0")
    return tmp_path / "js0"


@contextlib.contextmanager
def plug_in(device: Path, speed: float | None = None) -> Iterator[tuple[Pad, Gamepad]]:
    told: list[str] = []
    gamepad = Gamepad(Stage("arm", ARM, speed, device, told.append))
    pad = Pad(os.open(device, os.O_WRONLY), told)
    gamepad.reset("reach")
    try:
        yield pad, gamepad
    finally:
        gamepad.close()
        if pad.descriptor >= 0:
            pad.unplug()


def act(gamepad: Gamepad) -> Vector:
    gamepad.signal()
    return gamepad.propose(SEEN)


def test_pushed_stick_takes_over_and_moves_its_component(device: Path) -> None:
    with plug_in(device) as (pad, gamepad):
        assert gamepad.signal() == Signal()
        pad.send(AXIS, 0, 32767)
        pad.send(AXIS, 1, 32767)
        assert gamepad.signal() == Signal(takes_over=True)
        np.testing.assert_array_equal(gamepad.propose(SEEN), [1, -1, 0, 0])
        pad.send(AXIS, 0, 0)
        pad.send(AXIS, 1, 0)
        pad.send(AXIS, 4, -32767)
        np.testing.assert_array_equal(act(gamepad), [0, 0, 1, 0])
        assert gamepad.signal().takes_over, "until it is handed back"


def test_shoulders_move_the_gripper_while_they_are_down(device: Path) -> None:
    with plug_in(device) as (pad, gamepad):
        pad.send(BUTTON, RIGHT, 1)
        np.testing.assert_array_equal(act(gamepad), [0, 0, 0, 0.5])
        pad.send(BUTTON, RIGHT, 0)
        pad.send(BUTTON, LEFT, 1)
        np.testing.assert_array_equal(act(gamepad), [0, 0, 0, -1])


def test_speed_is_a_share_of_the_range(device: Path) -> None:
    with plug_in(device, speed=0.5) as (pad, gamepad):
        pad.send(AXIS, 0, -32767)
        np.testing.assert_allclose(act(gamepad), [-0.5, 0, 0, 0])


def test_stick_within_its_dead_zone_does_nothing(device: Path) -> None:
    with plug_in(device) as (pad, gamepad):
        pad.send(AXIS, 0, round(0.9 * DEAD_ZONE * 32767))
        assert gamepad.signal() == Signal()
        np.testing.assert_array_equal(gamepad.propose(SEEN), np.zeros(4))


@pytest.mark.parametrize(
    ("value", "way"),
    [(0, 0), (DEAD_ZONE, 0), (1, 1), (-1, -1), (-1.00003, -1), (0.62, 0.5)],
)
def test_way_beyond_the_dead_zone_begins_at_nothing(value: float, way: float) -> None:
    assert leave_dead_zone(value) == pytest.approx(way)


def test_how_everything_stands_at_first_is_no_press_but_a_stick_counts(
    device: Path,
) -> None:
    with plug_in(device) as (pad, gamepad):
        pad.send(BUTTON | INITIAL, X, 1)
        pad.send(BUTTON | INITIAL, START, 0)
        assert gamepad.signal() == Signal()
        pad.send(AXIS | INITIAL, 0, 32767)
        assert gamepad.signal() == Signal(takes_over=True)


def drop(pad: Pad, x: int = 0, stick: int = 0) -> None:
    """As the kernel drops what nobody read, and tells how everything stands."""
    pad.send(BUTTON | INITIAL, X, x)
    pad.send(BUTTON | INITIAL, START, 1)
    pad.send(AXIS | INITIAL, 0, stick)


def test_stop_button_that_is_down_when_the_kernel_dropped_events_counts(
    device: Path,
) -> None:
    with plug_in(device) as (pad, gamepad):
        drop(pad)
        assert gamepad.signal() == Signal(), "it was told for the first time"
        drop(pad, x=1)
        gamepad.reset("reach")
        assert gamepad.signal() == Signal(ending=Ending.STOP)
        gamepad.reset("reach")
        assert gamepad.signal() == Signal()
        drop(pad, x=1)
        assert gamepad.signal() == Signal(ending=Ending.STOP)


@pytest.mark.parametrize("where", ["on the way to its start", "in an episode"])
def test_robot_is_held_still_when_a_tap_may_have_been_dropped(
    device: Path, where: str
) -> None:
    with plug_in(device) as (pad, gamepad):
        drop(pad)
        assert gamepad.signal() == Signal()
        drop(pad, stick=32767)
        if where == "on the way to its start":
            gamepad.reset("reach")
        for _ in range(2):  # whatever the stick says that was pushed before
            assert gamepad.signal() == Signal(takes_over=True)
            np.testing.assert_array_equal(gamepad.propose(SEEN), np.zeros(4))
        assert len([line for line in pad.told if "holds still" in line]) == 1
        pad.send(AXIS, 0, 0)
        np.testing.assert_array_equal(act(gamepad), np.zeros(4))
        pad.send(AXIS, 0, 32767)
        np.testing.assert_array_equal(act(gamepad), [1, 0, 0, 0])
        pad.send(AXIS, 0, 0)
        pad.press(B)
        assert gamepad.signal() == Signal()


def test_events_that_were_dropped_while_the_robot_stood_still_hold_back_nothing(
    device: Path,
) -> None:
    with plug_in(device) as (pad, gamepad):
        drop(pad)
        assert gamepad.may_begin() is None
        drop(pad)
        assert gamepad.may_begin() is None
        pad.press(A)
        assert gamepad.may_begin() is True
        gamepad.reset("reach")
        assert gamepad.signal() == Signal()


def test_record_that_comes_in_two_parts_is_read_once_it_is_whole(device: Path) -> None:
    raw = EVENT.pack(1000, 32767, AXIS, 0)
    with plug_in(device) as (pad, gamepad):
        pad.send_raw(raw[:3])
        assert gamepad.signal() == Signal()
        pad.send_raw(raw[3:] + raw[:5])
        np.testing.assert_array_equal(act(gamepad), [1, 0, 0, 0])


@pytest.mark.parametrize(
    ("button", "ending"),
    [
        (START, Ending.SUCCESS),
        (BACK, Ending.FAILURE),
        (Y, Ending.LEFT_OUT),
        (X, Ending.STOP),
    ],
)
def test_episode_ends_by_button(device: Path, button: int, ending: Ending) -> None:
    with plug_in(device) as (pad, gamepad):
        pad.press(A)
        pad.press(button)
        assert gamepad.signal() == Signal(True, ending)
        gamepad.reset("reach")
        assert gamepad.signal() == Signal()


def test_stop_between_two_episodes_ends_the_next_at_once(device: Path) -> None:
    with plug_in(device) as (pad, gamepad):
        pad.press(X, START, A)
        gamepad.reset("reach")
        assert gamepad.signal() == Signal(ending=Ending.STOP)


def test_taking_over_and_handing_back_by_button(device: Path) -> None:
    with plug_in(device) as (pad, gamepad):
        pad.press(A)
        assert gamepad.signal() == Signal(takes_over=True)
        pad.press(B)
        assert gamepad.signal() == Signal()


@pytest.mark.parametrize(
    ("buttons", "goes_on"), [([A], True), ([X], False), ([A, X], False)]
)
def test_next_episode_waits_for_the_person(
    device: Path, buttons: list[int], goes_on: bool
) -> None:
    with plug_in(device) as (pad, gamepad):
        later = threading.Timer(0.05, pad.press, [START, *buttons])
        later.start()
        assert actor.await_start(gamepad) is goes_on
        later.join()


def test_unplugged_pad_holds_the_robot_still_and_says_so_once(device: Path) -> None:
    with plug_in(device) as (pad, gamepad):
        pad.send(AXIS, 0, 32767)
        assert act(gamepad)[0] == 1
        pad.unplug()
        for _ in range(3):
            assert gamepad.signal() == Signal(True, Ending.LOST)
            np.testing.assert_array_equal(gamepad.propose(SEEN), np.zeros(4))
        assert [line for line in pad.told if "gone" in line] == [
            "the gamepad is gone (No such device): the robot holds still"
        ]
        with pytest.raises(ActorLostError, match="stay connected"):
            actor.await_start(gamepad)


def test_missing_device_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    stage = Stage("arm", ARM, None, tmp_path / "js7", lambda text: None)
    with pytest.raises(ActorUnavailableError, match=r"js7.*No such file.*connect one"):
        Gamepad(stage)


@pytest.mark.parametrize("kind", ["a file", "a device"])
def test_device_that_is_no_joystick_is_one_line_that_says_so(
    tmp_path: Path, kind: str
) -> None:
    device = Path("/dev/zero") if kind == "a device" else tmp_path / "js0"
    if kind == "a file":
        device.write_bytes(EVENT.pack(1000, 32767, AXIS, 0))
    stage = Stage("arm", ARM, None, device, lambda text: None)
    with pytest.raises(
        ActorUnavailableError, match=r"a joystick.*something else.*/dev/input/js"
    ) as caught:
        Gamepad(stage)
    assert not isinstance(caught.value, ActorAbsentError), "waiting changes nothing"
    assert "\n" not in str(caught.value)
    assert str(device) in str(caught.value)


def test_device_that_answers_as_a_joystick_does_is_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def answer(file: int, request: int, argument: bytes) -> bytes:
        asked.append(request)
        return (0x020100).to_bytes(4, "little")

    monkeypatch.setattr(fcntl, "ioctl", answer)
    Gamepad(Stage("arm", ARM, None, Path("/dev/null"), lambda text: None)).close()
    assert asked == [0x80046A01]  # JSIOCGVERSION of linux/joystick.h
