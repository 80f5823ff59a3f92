"""The way of a person's moves from the page to control, which never fills its mailbox.

A mailbox holds few messages (10 on Linux as it comes, `net.unix.max_dgram_qlen`), and
control does not read while its robot goes to its start. Moves that nobody has read are
worth nothing, and the stop button, or a supervisor's word, must find room. So at most
`MOST_UNREAD` moves wait there; the kernel tells of a socket what is unread.
"""

import contextlib
import fcntl
import os
import socket
import struct
import termios
import time
from pathlib import Path
from typing import Final

from edge.processes import mailbox
from edge.processes.mailbox import RUN, Message

MOST_UNREAD: Final = 3
"""Of a browser's 20 messages a second, and a robot that looks 10 times a second."""
TO: Final = "control"
KIND: Final = "acts"
_COUNT: Final = struct.Struct("i")


class MovesOutbox:
    """Sends `acts` messages; called by one thread at a time."""

    def __init__(self, home: Path, name: str) -> None:
        """Opens nothing in the robot's folder.

        Args:
            home: the robot's folder.
            name: of the process that sends.
        """
        self._folder, self._name = home / RUN, name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._unread = 0  # at most, since the mailbox was last seen empty

    def send(self, acts: bool, axes: tuple[float, ...], says: str) -> bool:
        """Sends what `edge.actors.told_moves` describes, as of now.

        Args:
            acts: whether somebody has the robot in their hands.
            axes: where they move it.
            says: a word, which waits for no room; "" for none.

        Returns:
            Whether control has it in its mailbox.
        """
        if self._count_unread() == 0:
            self._unread = 0
        if acts and not says and self._unread >= MOST_UNREAD:
            return False
        fields = {"at_s": time.monotonic(), "acts": acts, "axes": axes, "says": says}
        raw = Message(self._name, KIND, fields).encode()
        with contextlib.suppress(OSError):
            folder = os.open(self._folder, os.O_PATH | os.O_DIRECTORY)
            try:
                self._socket.sendto(raw, mailbox.find_address(folder, TO))
            finally:
                os.close(folder)
            self._unread += 1
            return True
        return False

    def close(self) -> None:
        """Closes it."""
        self._socket.close()

    def _count_unread(self) -> int:
        """Bytes that this socket sent and nobody has read."""
        raw = fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(_COUNT.size))
        return int(_COUNT.unpack(raw)[0])
