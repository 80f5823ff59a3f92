"""Servos of Feetech at a pseudo-terminal, for tests: STS3215 by their own protocol.

They are a process of their own, as servos are: LeRobot's library asks the port again
and again until an answer is there, and a thread of the same Python would wait for it.
Their memory is shared, so that a test sees and moves them.

Packets in both directions are FF FF, id, length, instruction or error, parameters and
the inverted sum of all but the head. Positions are 4096 to a turn.

Source: Feetech, "Communication Protocol User Manual" of the SMS and STS series, and the
memory table of the STS3215.
"""

import contextlib
import json
import mmap
import os
import pty
import signal
import time
import tty
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

STS3215 = 777
MIDDLE = 2048
_FIRMWARE, _MODEL, _ID = 0, 3, 5
_MINIMUM, _MAXIMUM, _OFFSET, _MODE = 9, 11, 31, 33
_TORQUE, _GOAL, _GOAL_SPEED, _POSITION, _SPEED = 40, 42, 46, 56, 58
_PING, _READ, _WRITE, _SYNC_READ, _SYNC_WRITE = 1, 2, 3, 0x82, 0x83
_WHEEL_MODE = 1
_STEPS_PER_S = 3000.0
_EVERYBODY = 0xFE
_SERVO_BYTES = 512
_PRIORITY = 90
_MOST_FILES = 4096
SO_JOINTS = (
    "shoulder_pan",
    "shoulder_lift",
    "elbow_flex",
    "wrist_flex",
    "wrist_roll",
    "gripper",
)
"""Of an SO-100 or SO-101, in the order of their ids from 1."""
LEKIWI_JOINTS = (
    *(f"arm_{joint}" for joint in SO_JOINTS),
    "base_left_wheel",
    "base_back_wheel",
    "base_right_wheel",
)


class Servo:
    """One STS3215."""

    def __init__(self, memory: memoryview, model: int = STS3215) -> None:
        """Stands in the middle, switched off.

        Args:
            memory: `_SERVO_BYTES`, shared: its table, then what no table has.
            model: number of its model.
        """
        self.memory = memory
        self._position = memory[256:264].cast("d")
        self._seen_s = memory[264:272].cast("d")
        self.put(_FIRMWARE, 3, 1)
        self.put(_MODEL, model)
        self.put(_MAXIMUM, 4095)
        self.put(_GOAL, MIDDLE)
        self.position = float(MIDDLE)
        self._seen_s[0] = time.monotonic()

    @property
    def position(self) -> float:
        """Where it is."""
        return self._position[0]

    @position.setter
    def position(self, position: float) -> None:
        """Moves it, as a hand does."""
        self._position[0] = position

    @property
    def is_deaf(self) -> bool:
        """Whether it answers nothing."""
        return bool(self.memory[272])

    @is_deaf.setter
    def is_deaf(self, is_deaf: bool) -> None:
        """Pulls its cable, or puts it back."""
        self.memory[272] = is_deaf

    @property
    def is_blocked(self) -> bool:
        """Whether it stands, whatever it is told."""
        return bool(self.memory[273])

    @is_blocked.setter
    def is_blocked(self, is_blocked: bool) -> None:
        """Puts something in its way, or takes it away."""
        self.memory[273] = is_blocked

    def lose_answers(self, count: int) -> None:
        """Its next answers come to nothing, up to 255 of them."""
        self.memory[274] = count

    def get(self, address: int, size: int = 2) -> int:
        """The number at an address."""
        return int.from_bytes(self.memory[address : address + size], "little")

    def put(self, address: int, value: int, size: int = 2) -> None:
        """Changes the number at an address."""
        self.memory[address : address + size] = value.to_bytes(size, "little")

    @property
    def goal(self) -> int:
        """Where it was told to go."""
        return self.get(_GOAL)

    @property
    def speed(self) -> int:
        """How fast a wheel was told to turn, steps per second."""
        return _signed(self.get(_GOAL_SPEED), 15)

    @property
    def is_on(self) -> bool:
        """Whether it is switched on."""
        return bool(self.memory[_TORQUE])

    def move_on(self) -> None:
        """Goes on towards its goal for as long as it was not looked at."""
        now_s = time.monotonic()
        reach = (now_s - self._seen_s[0]) * _STEPS_PER_S
        self._seen_s[0] = now_s
        offset = _signed(self.get(_OFFSET), 11)
        if self.memory[_MODE] == _WHEEL_MODE:
            self.put(_SPEED, self.get(_GOAL_SPEED) if self.is_on else 0)
        elif self.is_on and not self.is_blocked:
            goal = min(max(self.goal, self.get(_MINIMUM)), self.get(_MAXIMUM))
            way = goal + offset - self.position
            self.position += min(max(way, -reach), reach)
        self.put(_POSITION, round(self.position - offset) & 0x7FFF)


class FeetechBus:
    """Servos in a chain.

    Attributes:
        port: path of the port that a driver opens.
        servos: by the numbers that they had at first.
    """

    def __init__(self, count: int = len(SO_JOINTS)) -> None:
        """Begins to listen; ids are 1 to `count`."""
        self._bus, self._driver = pty.openpty()
        tty.setraw(self._driver)
        self.port = os.ttyname(self._driver)
        shared = memoryview(mmap.mmap(-1, count * _SERVO_BYTES))
        self.servos = {
            number: Servo(shared[(number - 1) * _SERVO_BYTES :][:_SERVO_BYTES])
            for number in range(1, count + 1)
        }
        for number, servo in self.servos.items():
            servo.memory[_ID] = number
        with warnings.catch_warnings():
            # Threads of a test do not run in the child, and it needs none of them.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._child = os.fork()
        if self._child == 0:
            # Of another bus nothing is kept: a cable that falls out is out.
            os.closerange(3, self._bus)
            os.closerange(self._bus + 1, _MOST_FILES)
            self._listen()

    def unplug(self) -> None:
        """The cable falls out."""
        if self._child:
            os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)
            self._child = 0
            os.close(self._driver)
            os.close(self._bus)

    @property
    def goals(self) -> list[int]:
        """Where each servo was told to go."""
        return [servo.goal for servo in self.servos.values()]

    def move(self, positions: Sequence[int]) -> None:
        """Moves each servo, as a hand does."""
        for servo, position in zip(self.servos.values(), positions, strict=False):
            servo.position = position

    def calibrate(
        self, folder: Path, name: str, joints: Sequence[str] = SO_JOINTS
    ) -> Path:
        """Writes a calibration into each servo, and the file that LeRobot reads.

        A joint may move 1000 steps in each direction, a wheel and the roll of a wrist
        all the way.
        """
        calibration = {}
        for number, joint in enumerate(joints, 1):
            turns = joint.endswith(("wheel", "wrist_roll"))
            low, high = (0, 4095) if turns else (MIDDLE - 1000, MIDDLE + 1000)
            self.servos[number].put(_MINIMUM, low)
            self.servos[number].put(_MAXIMUM, high)
            self.servos[number].put(_OFFSET, 0)
            calibration[joint] = {
                "id": number,
                "drive_mode": 0,
                "homing_offset": 0,
                "range_min": low,
                "range_max": high,
            }
        file = folder / f"{name}.json"
        file.write_text(json.dumps(calibration))
        return file

    def _listen(self) -> None:
        waiting = b""
        with contextlib.suppress(OSError):
            # Servos do not wait for a processor, whoever has real time on this one.
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
        try:
            while True:
                waiting = self._obey(waiting + os.read(self._bus, 256))
        finally:
            os._exit(0)

    def _obey(self, waiting: bytes) -> bytes:
        """Obeys all whole packets; returns what is left."""
        while (start := waiting.find(b"\xff\xff")) >= 0:
            waiting = waiting[start:]
            if len(waiting) < 4 or len(waiting) < 4 + waiting[3]:
                return waiting
            packet, waiting = waiting[: 4 + waiting[3]], waiting[4 + waiting[3] :]
            if _sum(packet[2:-1]) == packet[-1]:
                self._do(packet[2], packet[4], packet[5:-1])
        return waiting[-1:]

    def _do(self, number: int, instruction: int, told: bytes) -> None:
        if instruction == _SYNC_READ:
            for one in told[2:]:
                self._read(one, told[0], told[1])
        elif instruction == _SYNC_WRITE:
            size = told[1] + 1
            for at in range(2, len(told), size):
                self._write(told[at], told[0], told[at + 1 : at + size])
        elif instruction == _READ:
            self._read(number, told[0], told[1])
        elif instruction == _WRITE:
            servo = self._find(number)  # before it has another number
            self._write(number, told[0], told[1:])
            self._say(servo, number, b"")
        elif instruction == _PING and number == _EVERYBODY:
            for servo in self.servos.values():
                self._say(servo, servo.memory[_ID], b"")
        elif instruction == _PING:
            self._answer(number, b"")

    def _read(self, number: int, address: int, size: int) -> None:
        servo = self._find(number)
        if servo is not None:
            servo.move_on()
            self._answer(number, bytes(servo.memory[address : address + size]))

    def _write(self, number: int, address: int, told: bytes) -> None:
        servo = self._find(number)
        if servo is not None and not servo.is_deaf:
            servo.move_on()
            servo.memory[address : address + len(told)] = told

    def _find(self, number: int) -> Servo | None:
        """The servo that has this number."""
        servos = self.servos.values()
        return next((one for one in servos if one.memory[_ID] == number), None)

    def _answer(self, number: int, said: bytes) -> None:
        self._say(self._find(number), number, said)

    def _say(self, servo: Servo | None, number: int, said: bytes) -> None:
        if servo is None or servo.is_deaf:
            return
        if servo.memory[274]:
            servo.memory[274] -= 1
            return
        packet = bytes((number, len(said) + 2, 0)) + said
        os.write(self._bus, b"\xff\xff" + packet + bytes((_sum(packet),)))


def _sum(packet: bytes) -> int:
    return ~sum(packet) & 0xFF


def _signed(value: int, sign_bit: int) -> int:
    """A number whose sign is a bit of its own."""
    size = value & ((1 << sign_bit) - 1)
    return -size if value >> sign_bit else size


@contextlib.contextmanager
def plug_in(count: int = len(SO_JOINTS)) -> Iterator[FeetechBus]:
    """A bus that is unplugged at the end."""
    bus = FeetechBus(count)
    try:
        yield bus
    finally:
        bus.unplug()
