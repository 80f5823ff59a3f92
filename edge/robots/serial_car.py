"""A car whose steering servo and motor controller take PWM from a board at a port.

`serial-car:/dev/ttyACM0` has its steering at output 0 of the board and its motor at 1;
`serial-car:/dev/ttyACM0,steering=2,motor=5,speed=0.5` says otherwise. An action of 1 is
a pulse of 2 ms, of -1 one of 1 ms, and 0 is the middle: wheels straight, motor still.
`speed` is the share of the motor's range that may be used; a quarter where nothing is
said, since a model car at full speed is through a room in a second.

The car has no sensors of its own. Its state is what the board says that it puts out,
in the units of the action; what it sees comes from cameras that are named beside it
(`--camera`). It cannot tell success: whoever drives it does.

Nothing else may have the port open. At the end of an episode, when the program ends or
hangs, and when it is killed, both outputs go to the middle. Against a cable that falls
out the board needs a limit of its own (docs/your-robot.md).

Source: Pololu Maestro Servo Controller User's Guide, sections 5.c (compact protocol)
and 5.e (`Set Target` 0x84, `Get Position` 0x90, in quarters of a microsecond).
"""

import contextlib
import os
import select
import struct
import termios
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge.errors import RobotPortError, RobotUnavailableError, UnknownRobotError
from edge.robots import serial_port
from edge.robots.clock import Clock, MonotonicClock
from edge.robots.robot import Observation, RobotSpec, Transition, Vector

PREFIX: Final = "serial-car:"
SPEED: Final = 0.25
"""Share of the motor's range, unless somebody says another."""
_SET_TARGET, _GET_POSITION = 0x84, 0x90
_MIDDLE, _REACH = 6000, 2000
"""1.5 ms and 0.5 ms in quarters of a microsecond."""
_MOST_OUTPUTS: Final = 24
_ANSWER_S: Final = 0.2
"""A board at USB answers within a millisecond, on a busy machine later; after this time
the watchdog holds the car."""
_SPEC: Final = RobotSpec(
    state_size=2,
    action_size=2,
    control_hz=20.0,
    robot_model="car",
    environment_id="floor",
    task="drive",
    action_minimum=(-1.0, -1.0),
    action_maximum=(1.0, 1.0),
    simulated=False,
)


@dataclass(frozen=True)
class Wiring:
    """How a car is connected.

    Attributes:
        port: path of the serial port.
        steering: output of the board for the steering, 0 to 23.
        motor: the same for the motor.
        speed: share of the motor's range that may be used, above 0 and at most 1.
    """

    port: str
    steering: int = 0
    motor: int = 1
    speed: float = SPEED


def parse_wiring(text: str) -> Wiring:
    """Reads what stands behind `serial-car:`.

    Raises:
        UnknownRobotError: it is no port, or what follows it is not understood.
    """
    port, *options = text.split(",")
    values: dict[str, float] = {}
    for option in options:
        name, equals, value = option.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        is_output = name in ("steering", "motor") and number in range(_MOST_OUTPUTS)
        is_speed = name == "speed" and 0 < number <= 1
        if not equals or name in values or not (is_output or is_speed):
            raise _refuse(text, f"{option!r} is not understood")
        values[name] = number
    speed = values.pop("speed", SPEED)
    outputs = {name: int(number) for name, number in values.items()}
    wiring = Wiring(port, **outputs, speed=speed)
    if not port.startswith("/"):
        raise _refuse(text, "a port is a path")
    if wiring.steering == wiring.motor:
        raise _refuse(text, "steering and motor are one output")
    return wiring


def open_car(text: str) -> "SerialCar":
    """Opens the car at the port that stands behind `serial-car:`.

    Raises:
        UnknownRobotError: the text is not understood.
        RobotUnavailableError: there is no such port, it is in use, or no board answers.
    """
    return SerialCar(parse_wiring(text))


class SerialCar:
    """One car; the motor stands still until the first action."""

    def __init__(self, wiring: Wiring) -> None:
        """Opens the port and brings both outputs to the middle.

        Raises:
            RobotUnavailableError: there is no such port, it is in use, or no board
                answers at it.
        """
        self._wiring, self._clock = wiring, MonotonicClock()
        self._fd = serial_port.open_port(wiring.port, PREFIX + wiring.port)
        try:
            self.hold()
            self._read_state()
        except RobotPortError as e:
            os.close(self._fd)
            raise RobotUnavailableError(
                PREFIX + wiring.port,
                "a board that speaks the compact protocol of Pololu's Maestro",
                e.got,
                "name its command port, and switch it to USB Dual Port",
            ) from e

    @property
    def spec(self) -> RobotSpec:
        """See `Robot.spec`."""
        return _SPEC

    @property
    def clock(self) -> Clock:
        """See `Robot.clock`."""
        return self._clock

    def observe(self) -> Observation:
        """See `Observing.observe`.

        Raises:
            RobotPortError: the board does not answer.
        """
        return Observation(self._read_state(), self._clock.now_ns())

    def reset(self, seed: int) -> Observation:
        """Begins an episode where the car stands; the seed has no effect.

        Raises:
            RobotPortError: the board does not answer.
        """
        del seed
        self._put_out(np.zeros(2, np.float32))
        return self.observe()

    def act(self, action: Vector) -> Transition:
        """See `Robot.act`.

        Raises:
            RobotPortError: the board does not answer.
        """
        self._put_out(action)
        return Transition(self.observe(), 0.0, success=None, terminal=False)

    def hold(self) -> None:
        """See `Robot.hold`: wheels straight, motor still."""
        self._put_out(np.zeros(2, np.float32))

    def close(self) -> None:
        """See `Robot.close`; a port that is gone is no trouble any more."""
        with contextlib.suppress(RobotPortError):
            self.hold()
        os.close(self._fd)

    def _put_out(self, action: Vector) -> None:
        """Both outputs in one write, so that none is left out by a kill between two."""
        told = b""
        outputs = (self._wiring.steering, self._wiring.motor)
        for output, share in zip(outputs, action * self._shares(), strict=True):
            target = _MIDDLE + round(float(share) * _REACH)
            told += bytes((_SET_TARGET, output, target & 0x7F, target >> 7))
        try:
            if os.write(self._fd, told) == len(told):
                return
            got = "a port that takes nothing"
        except OSError as e:
            got = e.strerror or str(e)
        raise self._fail("to take a command", got)

    def _read_state(self) -> Vector:
        """What the board puts out, in the units of the action."""
        asked = bytes(
            (
                *(_GET_POSITION, self._wiring.steering),
                *(_GET_POSITION, self._wiring.motor),
            )
        )
        try:
            termios.tcflush(self._fd, termios.TCIFLUSH)  # an answer that came too late
            os.write(self._fd, asked)
            answer = b""
            while len(answer) < len(asked):
                if not select.select([self._fd], [], [], _ANSWER_S)[0]:
                    raise self._fail("an answer", f"none within {_ANSWER_S * 1e3:g} ms")
                if not (more := os.read(self._fd, len(asked) - len(answer))):
                    raise self._fail("an answer", "a port that is gone")
                answer += more
        except (OSError, termios.error) as e:
            raise self._fail("an answer", str(e.args[-1])) from e
        pulses = np.array(struct.unpack("<HH", answer), np.float32)
        return np.asarray((pulses - _MIDDLE) / _REACH / self._shares(), np.float32)

    def _shares(self) -> Vector:
        return np.array([1.0, self._wiring.speed], np.float32)

    def _fail(self, expected: str, got: str) -> RobotPortError:
        return RobotPortError(PREFIX + self._wiring.port, expected, got)


def _refuse(text: str, why: str) -> UnknownRobotError:
    return UnknownRobotError(
        PREFIX + text,
        f"{why}: name it as {PREFIX}/dev/ttyACM0 or "
        f"{PREFIX}/dev/ttyACM0,steering=0,motor=1,speed={SPEED:g}",
    )
