"""How the forge prints: a progress bar on a terminal, unwrapped lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_LOG_WIDTH = 4096  # so that lines and digests in a log are not wrapped


def open_console(file: IO[str] | None = None) -> Console:
    """Returns a console that leaves text in brackets as it is.

    Args:
        file: where it prints; default: stdout.
    """
    width = None if (file or sys.stdout).isatty() else _LOG_WIDTH
    return Console(
        file=file, width=width, soft_wrap=True, markup=False, highlight=False
    )


class WorkProgress:
    """Shows the progress of work that has a known number of units."""

    def __init__(
        self,
        console: Console,
        title: str,
        total: int,
        unit: str,
        interval_s: float = 5.0,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepares the display.

        Args:
            console: where to show it: a bar on a terminal, else lines.
            title: what the work is, such as `train`.
            total: number of units in all.
            unit: plural name of the units, such as `updates`.
            interval_s: minimum time between two lines.
            clock_s: returns monotonic time.
        """
        self._console = console
        self._title = title
        self._total = total
        self._unit = unit
        self._interval_s = interval_s
        self._clock_s = clock_s
        self._last_line_s = clock_s()
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[detail]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=console,
                refresh_per_second=4,
                get_time=clock_s,
            )
            self._task = self._bar.add_task(title, total=total, detail="")

    def __enter__(self) -> WorkProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, done: int, detail: str, eta_s: float | None = None) -> None:
        """Shows that `done` units are done.

        Args:
            done: units done, never more than the total.
            detail: current figures, such as the loss.
            eta_s: time left, shown in lines only; None leaves it out.
        """
        if self._bar is not None:
            self._bar.update(self._task, completed=done, detail=detail)
            return
        now_s = self._clock_s()
        if done < self._total and now_s - self._last_line_s < self._interval_s:
            return
        self._last_line_s = now_s
        left = "" if eta_s is None else f", {eta_s:.0f} s left"
        separator = ", " if detail else ""
        self._console.print(
            f"{self._title}: {done} of {self._total} {self._unit}"
            f"{separator}{detail}{left}",
            highlight=False,
            soft_wrap=True,
        )
