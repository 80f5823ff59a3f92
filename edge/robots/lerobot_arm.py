"""One arm at a port, through LeRobot's class of it: opened, read, told, calibrated.

A follower and a leader differ by who moves them. Both have a calibration file that
LeRobot wrote, and servos that hold the same numbers. LeRobot would ask for what is
missing at the terminal, in the middle of a program that has other things to say there;
here it is one line, with the command that calibrates.
"""

import contextlib
import dataclasses
import os
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge.errors import RobotPortError, RobotUnavailableError
from edge.robots import lerobot_classes, serial_port
from edge.robots.lerobot_classes import Bus, Device
from edge.robots.lerobot_name import Connection
from edge.robots.robot import Vector

_WAIT_S: Final = 0.001
"""For how long the system waits for bytes of a port. The motor libraries ask again at
once for as long as there are none; with the priority of control that kept the rest of
the machine from bringing them."""
_WHEELS: Final = "base_"
_JAW: Final = "gripper"
_TRIES: Final = 3
"""A packet of a bus is lost now and then. LeRobot waits 50 ms for an answer, so three
tries end before a watchdog holds the arm."""
_PASSES: Final = (ConnectionError, RuntimeError)
"""What LeRobot raises for a packet; for a port that is gone it is something else."""
HOLD_TRIES: Final = 10
"""Who holds an arm tries longer: nobody else will."""
_OPEN_TRIES: Final = 8
"""An arm that is opened can wait; LeRobot then asks for 18 numbers at once."""
_PAUSE_S: Final = 0.005  # between two tries, in which a bus comes to rest
_RATES: Final = ("x.vel", "y.vel", "theta.vel")


class LerobotArm:
    """An arm whose port is open.

    Attributes:
        joints: names of what has a position, n of them.
        low: [n] f32, lowest position of each joint by its calibration.
        high: the same, highest.
        is_jaw: [n] bool, whether it opens and closes, from 0 to 100.
        has_base: whether it stands on wheels that are driven.
    """

    def __init__(self, connection: Connection, in_degrees: bool | None = None) -> None:
        """Opens the port, checks the servos and their calibration, and sets them up.

        A follower stands where it is then, with its servos switched on; a leader can be
        moved by hand.

        Args:
            connection: which one.
            in_degrees: units of its joints, as `ArmType.joints_in_degrees`; None for
                that of its type.

        Raises:
            RobotUnavailableError: LeRobot, the port, a servo or the calibration is not
                there, or they do not belong together.
        """
        self._source = str(connection)
        self._device = _make(connection, in_degrees)
        _require_file(self._device, connection)
        self._bus = self._device.bus
        self._port = serial_port.open_port(connection.port, self._source)
        try:
            _connect(self._bus, self._source)
            self._require_calibrated(connection)
            self._begin(is_led=connection.arm.name in lerobot_classes.LEADERS)
        except BaseException:
            self._let_go()
            raise

    def _begin(self, is_led: bool) -> None:
        motors = self._bus.motors
        self.joints = tuple(one for one in motors if not one.startswith(_WHEELS))
        self.has_base = len(self.joints) < len(motors)
        ranges = [_find_range(self._bus, joint) for joint in self.joints]
        self.low = np.array([low for low, _ in ranges], np.float32)
        self.high = np.array([high for _, high in ranges], np.float32)
        self.is_jaw = np.array([one.endswith(_JAW) for one in self.joints])
        set_up = "servos that can be set up"
        if not is_led:
            # A servo that is switched on goes to the goal it has, however old.
            self._ask(set_up, self._bus.disable_torque, _OPEN_TRIES)
            self.write(self.read_positions())
        self._ask(set_up, self._device.configure, _OPEN_TRIES)

    def read_positions(self, tries: int = _TRIES) -> Vector:
        """Where each joint is, [n] f32.

        Raises:
            RobotPortError: a servo does not answer.
        """
        return self._read("Present_Position", tries)

    def read_goals(self, tries: int = _TRIES) -> Vector:
        """Where each joint was told to go, by what its servo holds, [n] f32.

        Raises:
            RobotPortError: a servo does not answer.
        """
        return self._read("Goal_Position", tries)

    def read_rates(self) -> Vector:
        """How fast its base moves, [3] f32: x and y, m/s, and turning, degrees/s.

        Raises:
            RobotPortError: a servo does not answer.
        """
        seen = self._ask("a reading", self._device.get_observation)
        return np.array([seen[one] for one in _RATES], np.float32)

    def write(
        self,
        goals: Vector,
        rates: Vector | None = None,
        which: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Tells joints where to go, and its base how fast to move.

        Args:
            goals: [n] f32.
            rates: [3] f32, as of `read_rates`; None for an arm without a base, or for
                the base to stand.
            which: [n], joints that are told; None for all.

        Raises:
            RobotPortError: the port takes nothing.
        """
        told = np.ones(len(goals), np.bool_) if which is None else which
        action = {
            f"{joint}.pos": float(goal)
            for joint, goal, tells in zip(self.joints, goals, told, strict=True)
            if tells
        }
        if self.has_base:
            speeds = np.zeros(len(_RATES)) if rates is None else rates
            action |= dict(zip(_RATES, map(float, speeds), strict=True))
        self._ask("to take a command", lambda: self._device.send_action(action))

    def _forget_packet(self) -> None:
        """Forgets a packet that was begun, and answers that came too late.

        In a fork of a process that was killed in the middle of a packet nobody else
        does.
        """
        with contextlib.suppress(Exception):
            self._bus.port_handler.is_using = False
            self._bus.port_handler.ser.reset_input_buffer()

    def stop_base(self) -> None:
        """Lets its wheels stand.

        Raises:
            RobotPortError: the port takes nothing.
        """
        self._ask("to take a command", self._device.stop_base)

    def close(self) -> None:
        """Switches the servos off, as LeRobot does, and lets go of the port.

        An arm that is not held sinks. A port that is gone is no trouble any more.
        """
        self._forget_packet()
        with contextlib.suppress(Exception):
            self._device.disconnect()
        self._let_go()

    def _read(self, what: str, tries: int) -> Vector:
        try:
            seen = self._ask(
                "an answer",
                lambda: self._bus.sync_read(what, list(self.joints)),
                tries,
            )
        except RobotPortError as e:
            expected = f"an answer of {self._find_silent()}"
            raise RobotPortError(self._source, expected, e.got) from e.__cause__
        return np.array([seen[joint] for joint in self.joints], np.float32)

    def _find_silent(self) -> str:
        """The servo that did not answer: they are heard in the order of the joints."""
        heard = self._bus.sync_reader.data_dict
        numbers = [self._bus.motors[joint].id for joint in self.joints]
        silent = [one for one in numbers if not heard.get(one)]
        if not silent or silent[0] == numbers[0]:
            return "its servos"
        return f"servo {silent[0]} ({self.joints[numbers.index(silent[0])]})"

    def _ask[T](self, expected: str, ask: Callable[[], T], tries: int = _TRIES) -> T:
        while True:
            # An answer that came too late would be taken for that of another question.
            self._forget_packet()
            tries -= 1
            try:
                return ask()
            except Exception as e:
                if not tries or not isinstance(e, _PASSES):
                    raise self._fail(expected, e) from e
                time.sleep(_PAUSE_S)

    def _require_calibrated(self, connection: Connection) -> None:
        expected = "servos that say their calibration"
        if not self._ask(expected, lambda: self._device.is_calibrated, _OPEN_TRIES):
            raise RobotUnavailableError(
                self._source,
                f"servos with the calibration of {self._device.calibration_fpath}",
                "other numbers in them",
                f"is it this arm? Then {_describe_calibrating(connection)}",
            )

    def _let_go(self) -> None:
        with contextlib.suppress(Exception):
            # Else LeRobot tries to switch off again when it is forgotten.
            self._bus.port_handler.closePort()
        if self._port >= 0:
            os.close(self._port)
            self._port = -1

    def _fail(self, expected: str, e: Exception) -> RobotPortError:
        return RobotPortError(self._source, expected, _describe(e))


def calibrate(connection: Connection) -> Path:
    """Lets LeRobot calibrate an arm, which asks and tells at the terminal.

    Returns the path of the calibration file.

    Raises:
        RobotUnavailableError: LeRobot or the port is not there, a servo does not
            answer, or LeRobot gives up.
    """
    with _opened(connection) as device:
        _connect(device.bus, str(connection))
        device.calibrate()
        device.disconnect()
        return Path(device.calibration_fpath)


def number_servos(connection: Connection) -> None:
    """Lets LeRobot give each servo its number, one after the other, by asking.

    Raises:
        RobotUnavailableError: as `calibrate`.
    """
    with _opened(connection) as device:
        device.setup_motors()


@contextlib.contextmanager
def _opened(connection: Connection) -> Iterator[Device]:
    device = _make(connection, None)
    lock = serial_port.open_port(connection.port, str(connection))
    try:
        yield device
    except RobotUnavailableError:
        raise
    except Exception as e:
        raise RobotUnavailableError(
            str(connection),
            "LeRobot to come to its end",
            _describe(e),
            "look at its cable and its power, then start again",
        ) from e
    finally:
        with contextlib.suppress(Exception):
            device.bus.port_handler.closePort()
        os.close(lock)


def _make(connection: Connection, in_degrees: bool | None) -> Device:
    device, settings = lerobot_classes.load(connection.arm, str(connection))
    values: dict[str, Any] = {
        "port": connection.port,
        "id": connection.name,
        "calibration_dir": connection.calibration,
    }
    fields = {field.name for field in dataclasses.fields(settings)}
    if "cameras" in fields:
        values["cameras"] = {}
    if in_degrees is None:
        in_degrees = connection.arm.joints_in_degrees
    if "use_degrees" in fields:
        values["use_degrees"] = in_degrees
    try:
        return device(settings(**values))
    except OSError as e:
        raise RobotUnavailableError(
            str(connection),
            "a folder for its calibration file",
            _describe(e),
            "name one that can be written: ,calibration=DIR",
        ) from e
    except Exception as e:
        raise RobotUnavailableError(
            str(connection),
            "a calibration file that LeRobot reads",
            _describe(e),
            _describe_calibrating(connection),
        ) from e


def _require_file(device: Device, connection: Connection) -> None:
    if set(device.calibration) != set(device.bus.motors):
        there = "of other joints" if device.calibration else "not there"
        raise RobotUnavailableError(
            str(connection),
            f"the calibration file {device.calibration_fpath}",
            f"it is {there}",
            f"name its id, as in {connection},id=blue, or"
            f" {_describe_calibrating(connection)}",
        )


def _connect(bus: Bus, source: str) -> None:
    """Opens LeRobot's bus, which looks whether each servo is there."""
    for left in reversed(range(_OPEN_TRIES)):
        try:
            bus.connect()
            bus.port_handler.ser.timeout = _WAIT_S
            return
        except Exception as e:
            with contextlib.suppress(Exception):
                bus.port_handler.closePort()
            if not left:
                raise _no_servos(bus, source, e) from e


def _no_servos(bus: Bus, source: str, e: Exception) -> RobotUnavailableError:
    return RobotUnavailableError(
        source,
        f"servos {', '.join(str(one.id) for one in bus.motors.values())} of its kind",
        _describe(e),
        "look at its power, its cables and the type that you named; servos that were"
        " never numbered: //edge:calibrate --number_servos",
    )


def _describe_calibrating(connection: Connection) -> str:
    said = "".join(f",{key}={value}" for key, value in connection.options.items())
    arm = f"{connection}{said}"
    return (
        f"calibrate it: ./bazelw run --config=lerobot //edge:calibrate -- --arm={arm}"
    )


def _describe(e: Exception) -> str:
    """What LeRobot says, in one line, without its lists of what was expected."""
    cause = e.__cause__ or e
    text = str(cause.args[-1] if isinstance(cause, termios.error) else cause)
    text = text or type(cause).__name__
    return " ".join(text.split("Full expected")[0].split())


def _find_range(bus: Bus, joint: str) -> tuple[float, float]:
    """Positions that a joint can have by its calibration, in LeRobot's units."""
    motor = bus.motors[joint]
    mode = motor.norm_mode.value
    if mode == "range_0_100":
        return 0.0, 100.0
    if mode == "range_m100_100":
        return -100.0, 100.0
    turn = bus.model_resolution_table[motor.model] - 1
    known = bus.calibration[joint]
    half = (known.range_max - known.range_min) / 2 * 360 / turn
    return -half, half
