"""The page's way to `reader.py`: started when it is needed, ended when it is not."""

import contextlib
import json
import os
import select
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

MODULE: Final = "edge.operator.reader"
IDLE_S: Final = 30.0
"""After this time without a question the reader ends, and its memory is free."""
_ANSWER_S: Final = 20.0  # a page of a 10,000-step episode takes 3 s
_MOST_BYTES: Final = 64 << 20
_PART_BYTES: Final = 1 << 20


class ReaderError(Exception):
    """The reader did not answer, or says why it cannot."""


class Reading:
    """One reader at a time; threads take turns."""

    def __init__(self, shared: Path, deltas: Path, receipts: Path) -> None:
        """Starts nothing yet; the arguments are those of `reader.Folders`."""
        self._folders = (shared, deltas, receipts)
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._used_s = 0.0

    def ask(self, act: str, **fields: str) -> dict[str, Any]:
        """Asks the reader; its answer.

        Raises:
            ReaderError: it does not answer in time, died, or cannot do that.
        """
        if not self._lock.acquire(timeout=_ANSWER_S):
            raise ReaderError("others ask for too much")
        try:
            answer = self._exchange(json.dumps({"act": act, **fields}).encode())
        except (OSError, ValueError) as e:
            self._end()
            raise ReaderError("the reader of episodes does not answer") from e
        finally:
            self._used_s = time.monotonic()
            self._lock.release()
        if error := answer.get("error"):
            raise ReaderError(str(error))
        return answer

    def end_idle(self, now_s: float) -> None:
        """Ends the reader if nobody has asked it for a while."""
        if self._lock.acquire(blocking=False):
            try:
                if self._child is not None and now_s - self._used_s > IDLE_S:
                    self._end()
            finally:
                self._lock.release()

    def close(self) -> None:
        """Ends the reader."""
        with self._lock:
            self._end()

    @property
    def pid(self) -> int | None:
        """Process id of the reader; None if there is none."""
        return None if self._child is None else self._child.pid

    def _exchange(self, request: bytes) -> dict[str, Any]:
        child = self._start()
        assert child.stdin is not None and child.stdout is not None
        by_s = time.monotonic() + _ANSWER_S
        child.stdin.write(request + b"\n")
        child.stdin.flush()
        (length,) = struct.unpack(">I", self._read(child.stdout.fileno(), 4, by_s))
        if length > _MOST_BYTES:
            raise ValueError(f"an answer of {length} bytes")
        answer = json.loads(self._read(child.stdout.fileno(), length, by_s))
        if not isinstance(answer, dict):
            raise ValueError("an answer that is no object")
        return answer

    def _read(self, descriptor: int, count: int, by_s: float) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            left_s = by_s - time.monotonic()
            if left_s <= 0 or not select.select([descriptor], [], [], left_s)[0]:
                raise TimeoutError
            part = os.read(descriptor, min(_PART_BYTES, count - len(parts)))
            if not part:
                raise BrokenPipeError
            parts += part
        return bytes(parts)

    def _start(self) -> "subprocess.Popen[bytes]":
        if self._child is not None and self._child.poll() is None:
            return self._child
        self._end()
        path = os.pathsep.join(path for path in sys.path if path)
        self._child = subprocess.Popen(
            [sys.executable, "-m", MODULE, *map(str, self._folders)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
        )
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
