"""The losses of a run, kept while it trains, so that a resumed run has them all.

One JSON line per progress report. A report is written before the checkpoint of the
same step, so whatever a resumed run skips is in the file. A line that a kill cut
short is dropped; a step that is trained twice keeps its later line.
"""

from __future__ import annotations

import dataclasses
import json
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
