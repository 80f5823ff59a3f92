"""A person with a gamepad, who demonstrates or corrects.

It is read through Linux's joystick interface, which needs no root and no library:
records of eight bytes from `/dev/input/js0`.
Source: Documentation/input/joydev/joystick-api.rst of Linux, section 2.

The kernel keeps 64 records for a program that does not read, as while a robot goes to
its start. With one more it drops them all and tells anew how everything stands. What
was pressed and let go in between is lost, and it may have been the stop button. So the
robot is then held still, as after the button that takes over.
Source: `joydev_pass_event` in drivers/input/joydev.c of Linux.
"""

import errno
import fcntl
import os
import select
import stat
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from edge.actors.actor import (
    HUMAN,
    Ending,
    Loss,
    Signal,
    Stage,
    scale,
)
from edge.errors import ActorAbsentError, ActorUnavailableError
from edge.robots.robot import Observation, Vector

DEVICE: Final = Path("/dev/input/js0")
DEFAULT_SPEED: Final = 1.0
DEAD_ZONE: Final = 0.24
"""Share of a stick's way in which it counts as let go: sticks do not come back to their
middle exactly. Source: XINPUT_GAMEPAD_LEFT_THUMB_DEADZONE, 7849 of 32767."""

EVENT: Final = struct.Struct("=IhBB")  # time in ms, value, type, number
_BUTTON, _AXIS, _INITIAL = 0x01, 0x02, 0x80
_FULL: Final = 32767
_MOST_BYTES: Final = 512 * EVENT.size
_GET_VERSION: Final = 0x80046A01
"""JSIOCGVERSION, to which joysticks alone answer. Source: linux/joystick.h."""
_SOURCE: Final = "--actor=gamepad"

AXES: Final[Mapping[int, tuple[int, int]]] = {
    0: (0, 1),  # left stick, to the right
    1: (1, -1),  # left stick, away from the person, which a stick calls negative
    4: (2, -1),  # right stick, away from the person
    3: (4, 1),  # right stick, to the right
    6: (5, 1),  # cross, to the right
    7: (6, -1),  # cross, away from the person
}
"""Component and sign by number of the axis, as Linux numbers them for the common pads
(driver xpad)."""

LEVERS: Final[Mapping[int, tuple[int, int]]] = {4: (3, -1), 5: (3, 1)}
"""The same by number of the button: the two at the shoulders move the gripper."""

_TAKE_OVER, _HAND_BACK, _STOP, _LEFT_OUT, _FAILURE, _SUCCESS = 0, 1, 2, 3, 6, 7
_ENDINGS = {
    _STOP: Ending.STOP,
    _LEFT_OUT: Ending.LEFT_OUT,
    _FAILURE: Ending.FAILURE,
    _SUCCESS: Ending.SUCCESS,
}
LEGEND: Final = (
    "gamepad: left stick components 0 and 1   right stick 2 and 4   shoulders 3 (the"
    " gripper)   cross 5 and 6",
    "A: take over and hold still, or begin   B: hand back   X: stop at once   start:"
    " end: success   back: end: failure   Y: end: leave this one out",
)
LOSS: Final = Loss(
    "the gamepad is gone",
    "the gamepad is back; A lets the robot go on",
    "the gamepad to stay connected",
    "it is gone",
)


class Gamepad:
    """An `Actor` with a gamepad."""

    def __init__(self, stage: Stage) -> None:
        """Opens the device and says what its parts do.

        Raises:
            ActorUnavailableError: as `open_device`.
        """
        self._spec, self._tell = stage.spec, stage.tell
        self._speed = DEFAULT_SPEED if stage.speed is None else stage.speed
        self._file = open_device(stage.device)
        self._events = select.poll()
        self._events.register(self._file, select.POLLIN)
        self._rest = b""
        self._axes: dict[int, float] = {}
        self._levers: set[int] = set()
        # Parts of which the kernel has said how they stand, each by kind and number.
        self._stood: set[tuple[int, int]] = set()
        self._lost_some = False  # what happened since the last look is not all known
        self._waits = False  # until sticks and levers were let go
        self._signal = Signal()
        self._asks = False  # whether the next episode may begin
        for line in LEGEND:
            self._tell(line)

    @property
    def name(self) -> str:
        """See `Actor.name`."""
        return HUMAN

    @property
    def loss(self) -> Loss:
        """See `describe_loss`."""
        return LOSS

    def may_begin(self, wait_s: float = 0.0) -> bool | None:
        """See `Actor.may_begin`: A begins, X ends the run."""
        if not self._asks:
            self._asks = True
            self._tell("A: begin the next episode   X: no more episodes")
        pressed = self._read(wait_s)
        self._lost_some = False  # the robot stands still
        if _TAKE_OVER in pressed or _STOP in pressed:
            self._asks = False
            return _STOP not in pressed  # it counts whatever was pressed beside it
        if self._signal.ending is Ending.LOST:
            raise LOSS.make_error(_SOURCE)
        return None

    def reset(self, task: str) -> None:
        """See `Actor.reset`; of the buttons that were pressed before only X counts.

        Where it may have been pressed the episode begins with the robot held still.
        """
        del task
        stop = _STOP in self._read()
        if self._signal.ending is not Ending.LOST:
            self._signal = Signal(ending=Ending.STOP if stop else None)

    def signal(self) -> Signal:
        """See `Actor.signal`; a stick that is pushed takes over."""
        for button in self._read():
            if button in _ENDINGS and self._signal.ending is None:
                self._signal = Signal(self._signal.takes_over, _ENDINGS[button])
            elif button in (_TAKE_OVER, _HAND_BACK) and self._signal.ending is None:
                self._signal = Signal(button == _TAKE_OVER)
        if self._lost_some:
            self._hold_still()
        if self._signal.ending is None and self._direction().any():
            self._signal = Signal(takes_over=True)
        return self._signal

    def propose(self, observation: Observation) -> Vector:
        """See `Actor.propose`."""
        del observation
        return scale(self._spec, self._direction() * self._speed)

    def close(self) -> None:
        """See `Actor.close`."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _hold_still(self) -> None:
        """Takes over, and waits until sticks and levers were let go."""
        self._lost_some, self._waits = False, True
        if self._signal.ending is None:
            self._signal = Signal(takes_over=True)
            self._tell(
                "the gamepad was moved more than could be kept: the robot holds still;"
                " let go of its sticks, then move it or hand it back"
            )

    def _direction(self) -> Vector:
        """Where sticks and levers point, [action_size] f32 from -1 to 1."""
        found = np.zeros(self._spec.action_size, np.float32)
        if self._waits:
            out = any(map(leave_dead_zone, self._axes.values()))
            self._waits = out or bool(self._levers)
            return found
        pushed = [
            (AXES[number], leave_dead_zone(value))
            for number, value in self._axes.items()
        ]
        pushed += [(LEVERS[number], 1.0) for number in self._levers]
        for (component, sign), value in pushed:
            if component < len(found):
                found[component] += sign * value
        return np.clip(found, -1.0, 1.0)

    def _read(self, wait_s: float = 0.0) -> list[int]:
        """Takes in what has come; returns the buttons that went down."""
        if self._signal.ending is Ending.LOST:
            return []
        try:
            if not self._events.poll(round(wait_s * 1000)):
                return []
            raw = os.read(self._file, _MOST_BYTES)
            if not raw:
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        except BlockingIOError:
            return []
        except OSError as e:
            self._axes.clear()
            self._levers.clear()
            self._signal = Signal(takes_over=True, ending=Ending.LOST)
            self._tell(f"{LOSS.gone} ({e.strerror}): the robot holds still")
            return []
        data = self._rest + raw
        whole = len(data) - len(data) % EVENT.size
        self._rest = data[whole:]
        return [
            number
            for _, value, kind, number in EVENT.iter_unpack(data[:whole])
            if self._note(value, kind, number)
        ]

    def _note(self, value: int, kind: int, number: int) -> bool:
        """Notes where a part is; True if it is a button that went down."""
        part, is_first = kind & ~_INITIAL, True
        if kind & _INITIAL:
            # At first the kernel tells how everything stands, and again when it had to
            # drop what happened.
            is_first = (part, number) not in self._stood
            self._stood.add((part, number))
            self._lost_some = self._lost_some or not is_first
        if part == _AXIS and number in AXES:
            self._axes[number] = value / _FULL
        if part != _BUTTON:
            return False
        if number in LEVERS:
            (self._levers.add if value else self._levers.discard)(number)
        if not kind & _INITIAL:
            return bool(value)
        # How a button stands is no press. But a stop button that is down when events
        # were dropped may have been pressed meanwhile.
        return not is_first and bool(value) and number == _STOP


def open_device(device: Path | None) -> int:
    """Opens a gamepad's file, or the usual one; returns a descriptor that never waits.

    A FIFO may stand in for a gamepad, whose events another program writes.

    Raises:
        ActorAbsentError: there is no such device, or it may not be read.
        ActorUnavailableError: it is something else: its bytes would move the robot.
    """
    device = device or DEVICE
    try:
        file = os.open(device, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as e:
        raise ActorAbsentError(
            _SOURCE,
            f"a gamepad at {device}",
            e.strerror,
            "connect one, or name its file with --actor_device; group `input` may read"
            " it",
        ) from e
    try:
        if not stat.S_ISFIFO(os.fstat(file).st_mode):
            fcntl.ioctl(file, _GET_VERSION, bytes(4))
    except OSError as e:
        os.close(file)
        raise ActorUnavailableError(
            _SOURCE,
            f"{device} to be a joystick",
            "something else",
            "name a file such as /dev/input/js0 with --actor_device",
        ) from e
    return file


def leave_dead_zone(value: float) -> float:
    """The way of a stick beyond its dead zone, again from -1 to 1."""
    beyond = (abs(value) - DEAD_ZONE) / (1.0 - DEAD_ZONE)
    return min(max(beyond, 0.0), 1.0) * (1.0 if value > 0 else -1.0)
