"""Servos in a chain at a pseudo-terminal, for tests, whatever protocol they speak.

They are a process of their own, as servos are. Their memory is shared, so that a test
sees and moves them. What a packet is, `feetech_bus.py` and `dynamixel_bus.py` know.
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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MIDDLE: Final = 2048
"""Of the 4096 steps of a turn."""
_STEPS_PER_S: Final = 3000.0
_SERVO_BYTES: Final = 512
_PRIORITY: Final = 90
_MOST_FILES: Final = 4096
_TABLE_BYTES: Final = 256


@dataclass(frozen=True)
class Layout:
    """Where a servo has its numbers, as addresses.

    Attributes:
        size: bytes of a position, an offset and a speed.
        sign_bits: bit of the sign of an offset and of a speed; None for the two's
            complement.
        offset_sign: what an offset is times, to be added to where it is.
        wheel_mode: its mode in which it turns at a speed.
    """

    model: int
    number: int
    minimum: int
    maximum: int
    offset: int
    mode: int
    torque: int
    goal: int
    goal_speed: int
    position: int
    speed: int
    size: int
    sign_bits: tuple[int, int] | None
    offset_sign: int
    wheel_mode: int


class Servo:
    """One servo, in the middle and switched off at first."""

    def __init__(
        self, memory: memoryview, layout: Layout, number: int, model: int
    ) -> None:
        """Begins.

        Args:
            memory: `_SERVO_BYTES`, shared: its table, then what no table has.
            layout: of its table.
            number: its id.
            model: number of its model.
        """
        self.memory, self._layout = memory, layout
        self._position = memory[_TABLE_BYTES:][:8].cast("d")
        self._seen_s = memory[_TABLE_BYTES + 8 :][:8].cast("d")
        self._flags = memory[_TABLE_BYTES + 16 :]
        self.put(layout.model, model)
        self.put(layout.number, number, 1)
        self.put(layout.maximum, 4095, layout.size)
        self.put(layout.goal, MIDDLE, layout.size)
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
        return bool(self._flags[0])

    @is_deaf.setter
    def is_deaf(self, is_deaf: bool) -> None:
        """Pulls its cable, or puts it back."""
        self._flags[0] = is_deaf

    @property
    def is_blocked(self) -> bool:
        """Whether it stands, whatever it is told."""
        return bool(self._flags[1])

    @is_blocked.setter
    def is_blocked(self, is_blocked: bool) -> None:
        """Puts something in its way, or takes it away."""
        self._flags[1] = is_blocked

    def lose_answers(self, count: int) -> None:
        """Its next answers come to nothing, up to 255 of them."""
        self._flags[2] = count

    def loses_answer(self) -> bool:
        """Whether this answer is lost."""
        lost = bool(self._flags[2])
        self._flags[2] -= lost
        return lost

    def get(self, address: int, size: int = 2) -> int:
        """The number at an address."""
        return int.from_bytes(self.memory[address : address + size], "little")

    def put(self, address: int, value: int, size: int = 2) -> None:
        """Changes the number at an address."""
        self.memory[address : address + size] = value.to_bytes(size, "little")

    @property
    def goal(self) -> int:
        """Where it was told to go."""
        return self._get_signed(self._layout.goal, None)

    @property
    def speed(self) -> int:
        """How fast a wheel was told to turn, steps per second."""
        return self._get_signed(self._layout.goal_speed, 1)

    @property
    def is_on(self) -> bool:
        """Whether it is switched on."""
        return bool(self.memory[self._layout.torque])

    def move_on(self) -> None:
        """Goes on towards its goal for as long as it was not looked at."""
        table, now_s = self._layout, time.monotonic()
        reach = (now_s - self._seen_s[0]) * _STEPS_PER_S
        self._seen_s[0] = now_s
        offset = self._get_signed(table.offset, 0) * table.offset_sign
        if self.memory[table.mode] == table.wheel_mode:
            told = self.get(table.goal_speed, table.size) if self.is_on else 0
            self.put(table.speed, told, table.size)
        elif self.is_on and not self.is_blocked:
            low = self.get(table.minimum, table.size)
            high = self.get(table.maximum, table.size)
            way = min(max(self.goal, low), high) - offset - self.position
            self.position += min(max(way, -reach), reach)
        mask = (1 << 8 * table.size) - 1
        self.put(table.position, round(self.position + offset) & mask, table.size)

    def _get_signed(self, address: int, which: int | None) -> int:
        size, bits = self._layout.size, self._layout.sign_bits
        value = self.get(address, size)
        if bits is None:
            return value - (1 << 8 * size) if value >> (8 * size - 1) else value
        if which is None:
            return value
        magnitude = value & ((1 << bits[which]) - 1)
        return -magnitude if value >> bits[which] else magnitude


class ServoBus:
    """Servos in a chain.

    Attributes:
        port: path of the port that a driver opens.
        servos: by the numbers that they had at first, from 1.
    """

    def __init__(self, layout: Layout, models: Sequence[int]) -> None:
        """Begins to listen; there is one servo for each model."""
        self._layout = layout
        self._bus, self._driver = pty.openpty()
        tty.setraw(self._driver)
        self.port = os.ttyname(self._driver)
        shared = memoryview(mmap.mmap(-1, len(models) * _SERVO_BYTES))
        self.servos = {
            number: Servo(
                shared[(number - 1) * _SERVO_BYTES :][:_SERVO_BYTES],
                layout,
                number,
                model,
            )
            for number, model in enumerate(models, 1)
        }
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

    def move(self, positions: Sequence[float]) -> None:
        """Moves each servo, as a hand does."""
        for servo, position in zip(self.servos.values(), positions, strict=False):
            servo.position = position

    def write_calibration(
        self, file: Path, ranges: Mapping[str, tuple[int, int]]
    ) -> None:
        """Writes a calibration into each servo, and the file that LeRobot reads.

        Args:
            file: path of the file.
            ranges: lowest and highest position of each joint, in the order of numbers.
        """
        calibration, size = {}, self._layout.size
        for (number, servo), joint in zip(self.servos.items(), ranges, strict=True):
            low, high = ranges[joint]
            servo.put(self._layout.minimum, low, size)
            servo.put(self._layout.maximum, high, size)
            servo.put(self._layout.offset, 0, size)
            calibration[joint] = {
                "id": number,
                "drive_mode": 0,
                "homing_offset": 0,
                "range_min": low,
                "range_max": high,
            }
        file.write_text(json.dumps(calibration))

    def obey(self, waiting: bytes) -> bytes:
        """Obeys all whole packets; returns what is left."""
        raise NotImplementedError

    def form_answer(self, number: int, said: bytes) -> bytes:
        """The packet in which the servo `number` says something."""
        raise NotImplementedError

    def find(self, number: int) -> Servo | None:
        """The servo that has this number."""
        servos = self.servos.values()
        at = self._layout.number
        return next((one for one in servos if one.memory[at] == number), None)

    def say(self, servo: Servo | None, number: int, said: bytes) -> None:
        """Lets a servo answer, if it is there."""
        if servo is None or servo.is_deaf or servo.loses_answer():
            return
        os.write(self._bus, self.form_answer(number, said))

    def read(self, number: int, address: int, size: int) -> None:
        """Lets a servo say what it has at an address."""
        servo = self.find(number)
        if servo is not None:
            servo.move_on()
            self.say(servo, number, bytes(servo.memory[address : address + size]))

    def write(self, number: int, address: int, told: bytes) -> None:
        """Puts something at an address of a servo."""
        servo = self.find(number)
        if servo is not None and not servo.is_deaf:
            servo.move_on()
            servo.memory[address : address + len(told)] = told

    def _listen(self) -> None:
        waiting = b""
        with contextlib.suppress(OSError):
            # Servos do not wait for a processor, whoever has real time on this one.
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
        try:
            while True:
                waiting = self.obey(waiting + os.read(self._bus, 256))
        finally:
            os._exit(0)
