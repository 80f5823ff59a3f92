"""Servos of Feetech at a pseudo-terminal, for tests: STS3215 by their own protocol.

Packets in both directions are FF FF, id, length, instruction or error, parameters and
the inverted sum of all but the head. Positions are 4096 to a turn.

Source: Feetech, "Communication Protocol User Manual" of the SMS and STS series, and the
memory table of the STS3215.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from edge.testing.servo_bus import MIDDLE as MIDDLE
from edge.testing.servo_bus import Layout, ServoBus

STS3215: Final = 777
_LAYOUT: Final = Layout(
    model=3,
    number=5,
    minimum=9,
    maximum=11,
    offset=31,
    mode=33,
    torque=40,
    goal=42,
    goal_speed=46,
    position=56,
    speed=58,
    size=2,
    sign_bits=(11, 15),
    offset_sign=-1,
    wheel_mode=1,
)
_FIRMWARE: Final = 0
_PING, _READ, _WRITE, _SYNC_READ, _SYNC_WRITE = 1, 2, 3, 0x82, 0x83
_EVERYBODY: Final = 0xFE
SO_JOINTS: Final = (
    "shoulder_pan",
    "shoulder_lift",
    "elbow_flex",
    "wrist_flex",
    "wrist_roll",
    "gripper",
)
"""Of an SO-100 or SO-101, in the order of their ids from 1."""
LEKIWI_JOINTS: Final = (
    *(f"arm_{joint}" for joint in SO_JOINTS),
    "base_left_wheel",
    "base_back_wheel",
    "base_right_wheel",
)


class FeetechBus(ServoBus):
    """STS3215 in a chain."""

    def __init__(self, count: int = len(SO_JOINTS)) -> None:
        """Begins to listen; ids are 1 to `count`."""
        super().__init__(_LAYOUT, [STS3215] * count)
        for servo in self.servos.values():
            servo.put(_FIRMWARE, 3, 1)

    def calibrate(
        self, folder: Path, name: str, joints: Sequence[str] = SO_JOINTS
    ) -> None:
        """Writes a calibration, and LeRobot's file of it.

        A joint may move 1000 steps in each direction, a wheel and the roll of a wrist
        all the way.
        """
        turning = ("wheel", "wrist_roll")
        self.write_calibration(
            folder / f"{name}.json",
            {
                joint: (0, 4095)
                if joint.endswith(turning)
                else (MIDDLE - 1000, MIDDLE + 1000)
                for joint in joints
            },
        )

    def obey(self, waiting: bytes) -> bytes:
        """See `ServoBus.obey`."""
        while (start := waiting.find(b"\xff\xff")) >= 0:
            waiting = waiting[start:]
            if len(waiting) < 4 or len(waiting) < 4 + waiting[3]:
                return waiting
            packet, waiting = waiting[: 4 + waiting[3]], waiting[4 + waiting[3] :]
            if _sum(packet[2:-1]) == packet[-1]:
                self._do(packet[2], packet[4], packet[5:-1])
        return waiting[-1:]

    def form_answer(self, number: int, said: bytes) -> bytes:
        """See `ServoBus.form_answer`."""
        packet = bytes((number, len(said) + 2, 0)) + said
        return b"\xff\xff" + packet + bytes((_sum(packet),))

    def _do(self, number: int, instruction: int, told: bytes) -> None:
        if instruction == _SYNC_READ:
            for one in told[2:]:
                self.read(one, told[0], told[1])
        elif instruction == _SYNC_WRITE:
            size = told[1] + 1
            for at in range(2, len(told), size):
                self.write(told[at], told[0], told[at + 1 : at + size])
        elif instruction == _READ:
            self.read(number, told[0], told[1])
        elif instruction == _WRITE:
            servo = self.find(number)  # before it has another number
            self.write(number, told[0], told[1:])
            self.say(servo, number, b"")
        elif instruction == _PING and number == _EVERYBODY:
            for servo in self.servos.values():
                self.say(servo, servo.get(_LAYOUT.number, 1), b"")
        elif instruction == _PING:
            self.say(self.find(number), number, b"")


def _sum(packet: bytes) -> int:
    return ~sum(packet) & 0xFF


@contextlib.contextmanager
def plug_in(count: int = len(SO_JOINTS)) -> Iterator[FeetechBus]:
    """A bus that is unplugged at the end."""
    bus = FeetechBus(count)
    try:
        yield bus
    finally:
        bus.unplug()
