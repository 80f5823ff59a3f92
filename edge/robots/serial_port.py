"""A serial port that nobody else has open."""

import fcntl
import os
import termios
import tty

from edge.errors import RobotUnavailableError


def open_port(port: str, source: str) -> int:
    """Returns a raw descriptor of a port that no other program of this kind holds.

    Args:
        port: its path.
        source: what hangs on it, for the text of an error.

    Raises:
        RobotUnavailableError: there is no such port, or it is in use.
    """
    remedy = "look at the cable, `ls -l` the port, and join its group (dialout)"
    try:
        fd = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as e:
        raise RobotUnavailableError(
            source, "a serial port", e.strerror or str(e), remedy
        ) from e
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        tty.setraw(fd, termios.TCSANOW)
    except BlockingIOError as e:
        os.close(fd)
        raise RobotUnavailableError(
            source, "its port to be free", "it is open", "end the other program"
        ) from e
    except (OSError, termios.error) as e:
        os.close(fd)
        raise RobotUnavailableError(
            source, "a serial port", str(e.args[-1]), remedy
        ) from e
    return fd
