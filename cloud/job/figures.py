"""The figures of a run: its losses in a file of its own, and TensorBoard event files.

The losses are kept while it trains, so that a resumed run has them all: one JSON line
per progress report. A report is written before the checkpoint of the
same step, so whatever a resumed run skips is in the file. A line that a kill cut
short is dropped; a step that is trained twice keeps its later line.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class LossPoint:
    """Losses after a number of training steps."""

    step: int
    train_loss: float
    validation_loss: float | None = None


class LossHistory:
    """A run's losses in a file that grows by one line per report."""

    def __init__(self, path: Path) -> None:
        """Opens the history, keeping what an earlier process wrote."""
        self._path = path
        self._points = {point.step: point for point in _read(path)}

    def add(self, point: LossPoint) -> None:
        """Keeps one report; when it returns, a kill of this process loses nothing."""
        self._points[point.step] = point
        line = json.dumps(dataclasses.asdict(point), allow_nan=False)
        with self._path.open("a", encoding="utf-8") as file:
            # The newline comes first, so that a torn line never joins a whole one.
            file.write(f"\n{line}")

    @property
    def points(self) -> tuple[LossPoint, ...]:
        """All reports in the order of their steps."""
        return tuple(self._points[step] for step in sorted(self._points))


def _read(path: Path) -> list[LossPoint]:
    try:
        text = path.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    points = []
    for line in text.splitlines():
        try:
            points.append(LossPoint(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return points


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

    def __enter__(self) -> EventFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, event: object) -> None:
        self._writer.write(event.SerializeToString())  # type: ignore[attr-defined]
        self._writer.flush()
