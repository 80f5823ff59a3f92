"""A board for servos at a pseudo-terminal, for tests: a Pololu Maestro's protocol."""

import contextlib
import os
import pty
import select
import threading
import time
import tty
from collections.abc import Callable, Iterator

MIDDLE = 6000
"""1.5 ms in quarters of a microsecond, where a Maestro's outputs begin."""
_LOOK_S = 0.02


class ServoBoard:
    """Takes the commands `Set Target` and `Get Position`.

    Attributes:
        port: path of the port that a driver opens.
        targets: of each output, in quarters of a microsecond.
        is_deaf: whether it takes commands and answers nothing.
    """

    def __init__(self) -> None:
        """Begins to listen."""
        self._board, self._driver = pty.openpty()
        tty.setraw(self._driver)
        self.port = os.ttyname(self._driver)
        self.targets: dict[int, int] = {}
        self.is_deaf = self._is_out = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        """The cable falls out."""
        # Who listens ends first: the number of a closed file is soon that of another.
        self._is_out = True
        self._thread.join()
        os.close(self._driver)
        with contextlib.suppress(OSError):
            os.close(self._board)

    def _listen(self) -> None:
        waiting = b""
        with contextlib.suppress(OSError):
            while not self._is_out:
                if not select.select([self._board], [], [], _LOOK_S)[0]:
                    continue
                waiting = self._obey(waiting + os.read(self._board, 64))

    def _obey(self, waiting: bytes) -> bytes:
        """Obeys all whole commands; returns what is left."""
        while waiting:
            length = {0x84: 4, 0x90: 2}[waiting[0]]
            if len(waiting) < length:
                break
            command, waiting = waiting[:length], waiting[length:]
            output = command[1]
            if length == 4:
                self.targets[output] = command[2] | command[3] << 7
            elif not self.is_deaf:
                now = self.targets.get(output, MIDDLE)
                os.write(self._board, now.to_bytes(2, "little"))
        return waiting


def wait_for(holds: Callable[[], bool]) -> None:
    """What is written to a port arrives a moment later."""
    end_s = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.001)


@contextlib.contextmanager
def plug_in() -> Iterator[ServoBoard]:
    """A board that is unplugged at the end."""
    board = ServoBoard()
    try:
        yield board
    finally:
        with contextlib.suppress(OSError):
            board.unplug()
