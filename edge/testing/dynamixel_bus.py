"""Servos of Dynamixel at a pseudo-terminal, for tests: the X series, protocol 2.0.

Packets are FF FF FD 00, id, length in two bytes, instruction, parameters and a CRC-16;
those that answer have 55 and an error in the place of the instruction.

Source: ROBOTIS e-Manual, "DYNAMIXEL Protocol 2.0", and the control tables of XL330 and
XL430.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from edge.testing.feetech_bus import SO_JOINTS
from edge.testing.servo_bus import MIDDLE, Layout, ServoBus

FOLLOWER: Final = (1060, 1060, 1200, 1200, 1200, 1200)
"""Models of a Koch's follower: two XL430-W250, then XL330-M288."""
LEADER: Final = (1190,) * 6
"""XL330-M077."""
_LAYOUT: Final = Layout(
    model=0,
    number=7,
    minimum=52,
    maximum=48,
    offset=20,
    mode=11,
    torque=64,
    goal=116,
    goal_speed=104,
    position=132,
    speed=128,
    size=4,
    sign_bits=None,
    offset_sign=1,
    wheel_mode=1,
)
_FIRMWARE: Final = 6
_HEAD: Final = b"\xff\xff\xfd\x00"
_STATUS: Final = 0x55
_PING, _READ, _WRITE, _SYNC_READ, _SYNC_WRITE = 1, 2, 3, 0x82, 0x83
_POLYNOMIAL: Final = 0x8005


class DynamixelBus(ServoBus):
    """Servos of the X series in a chain."""

    def __init__(self, models: Sequence[int]) -> None:
        """Begins to listen; ids are from 1, one for each model."""
        super().__init__(_LAYOUT, models)

    def calibrate(self, folder: Path, name: str) -> None:
        """Writes a calibration of a Koch, and LeRobot's file of it.

        A joint may move 1000 steps in each direction, pan and roll all the way.
        """
        turning = ("shoulder_pan", "wrist_roll")
        self.write_calibration(
            folder / f"{name}.json",
            {
                joint: (0, 4095) if joint in turning else (MIDDLE - 1000, MIDDLE + 1000)
                for joint in SO_JOINTS
            },
        )

    def obey(self, waiting: bytes) -> bytes:
        """See `ServoBus.obey`; bytes that look like a head are not stuffed."""
        while (start := waiting.find(_HEAD)) >= 0:
            waiting = waiting[start:]
            length = int.from_bytes(waiting[5:7], "little")
            if len(waiting) < 7 or len(waiting) < 7 + length:
                return waiting
            packet, waiting = waiting[: 7 + length], waiting[7 + length :]
            if _crc(packet[:-2]) == int.from_bytes(packet[-2:], "little"):
                self._do(packet[4], packet[7], packet[8:-2])
        return waiting[-3:]

    def form_answer(self, number: int, said: bytes) -> bytes:
        """See `ServoBus.form_answer`."""
        length = (len(said) + 4).to_bytes(2, "little")
        packet = _HEAD + bytes((number,)) + length + bytes((_STATUS, 0)) + said
        return packet + _crc(packet).to_bytes(2, "little")

    def _do(self, number: int, instruction: int, told: bytes) -> None:
        address = int.from_bytes(told[:2], "little")
        size = int.from_bytes(told[2:4], "little")
        servo = self.find(number)
        if instruction == _SYNC_READ:
            for one in told[4:]:
                self.read(one, address, size)
        elif instruction == _SYNC_WRITE:
            for at in range(4, len(told), size + 1):
                self.write(told[at], address, told[at + 1 : at + 1 + size])
        elif instruction == _READ:
            self.read(number, address, size)
        elif instruction == _WRITE:
            self.write(number, address, told[2:])
            self.say(servo, number, b"")
        elif instruction == _PING and servo is not None:
            self.say(servo, number, bytes(servo.memory[:2]) + bytes((_FIRMWARE,)))


def _crc(packet: bytes) -> int:
    crc = 0
    for byte in packet:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (_POLYNOMIAL if crc & 0x8000 else 0)) & 0xFFFF
    return crc


@contextlib.contextmanager
def plug_in(models: Sequence[int]) -> Iterator[DynamixelBus]:
    """A bus that is unplugged at the end."""
    bus = DynamixelBus(models)
    try:
        yield bus
    finally:
        bus.unplug()
