"""The figures of a run: its losses in a file, and TensorBoard event files.

The file of losses has one JSON line per progress report, so that a resumed run has all
of them. A report is written before the checkpoint of the same update, so the file has
every update that a resumed run skips. A line that was cut short by a kill is ignored;
for an update that was made twice the later line is used.
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
    """Losses after `update` updates."""

    update: int
    train_loss: float
    validation_loss: float | None = None


class LossHistory:
    """A run's losses, in a file that grows by one line per report."""

    def __init__(self, path: Path) -> None:
        """Opens the history and reads what an earlier process wrote."""
        self._path = path
        self._points = {point.update: point for point in _read(path)}

    def add(self, point: LossPoint) -> None:
        """Appends one report; after that, killing this process does not lose it."""
        self._points[point.update] = point
        line = json.dumps(dataclasses.asdict(point), allow_nan=False)
        with self._path.open("a", encoding="utf-8") as file:
            # The newline is first, so that a torn line is never joined to a whole one.
            file.write(f"\n{line}")

    @property
    def points(self) -> tuple[LossPoint, ...]:
        """All reports in the order of their updates."""
        return tuple(self._points[update] for update in sorted(self._points))


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
    """One event file in a folder that TensorBoard reads.

    A resumed run writes another file; the updates that it repeats replace those of the
    file before. Use it as a context manager.
    """

    def __init__(self, folder: Path, resumes: bool = False) -> None:
        """Creates the file.

        Args:
            folder: folder of the event files; created if it is missing.
            resumes: whether an earlier process may have written the same updates.
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

    def add(self, update: int, figures: Mapping[str, float]) -> None:
        """Writes the figures after `update` updates; they are in the file on return."""
        now = time.time()
        if self._resumes:
            # Readers then drop earlier values of this update and of later ones.
            start = self._event.SessionLog(status=self._event.SessionLog.START)
            self._write(
                self._event.Event(wall_time=now, step=update, session_log=start)
            )
            self._resumes = False
        values = [
            self._summary.Summary.Value(tag=tag, simple_value=value)
            for tag, value in figures.items()
        ]
        summary = self._summary.Summary(value=values)
        self._write(self._event.Event(wall_time=now, step=update, summary=summary))

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
