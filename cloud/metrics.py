"""A run's figures as TensorBoard event files.

The files are written without TensorFlow: TensorBoard's own protos and record writer
are imported when the first figure is written, in less than 0.1 s.
"""

import itertools
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

_numbers = itertools.count()


class EventFile:
    """One event file in a folder that TensorBoard is pointed at.

    A run that was resumed writes another file; steps that it repeats replace those
    of the file before. Use as a context manager.
    """

    def __init__(self, folder: Path, resumes: bool = False) -> None:
        """Creates the file.

        Args:
            folder: of the run; created where it is not there.
            resumes: whether an earlier process may have written the same steps.
        """
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = event_pb2, summary_pb2
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        name = f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}"
        path = folder / f"{name}.{os.getpid()}.{next(_numbers)}"
        self._writer = RecordWriter(path.open("wb"))
        self._write(event_pb2.Event(wall_time=now, file_version="brain.Event:2"))
        self._resumes = resumes

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Writes the figures of one step; when it returns they are in the file."""
        now = time.time()
        if self._resumes:
            # Readers drop what an earlier file says of this step and those after it.
            start = self._event.SessionLog(status=self._event.SessionLog.START)
            self._write(self._event.Event(wall_time=now, step=step, session_log=start))
            self._resumes = False
        values = [
            self._summary.Summary.Value(tag=tag, simple_value=value)
            for tag, value in figures.items()
        ]
        summary = self._summary.Summary(value=values)
        self._write(self._event.Event(wall_time=now, step=step, summary=summary))

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()

    def __enter__(self) -> "EventFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, event: object) -> None:
        self._writer.write(event.SerializeToString())  # type: ignore[attr-defined]
        self._writer.flush()
