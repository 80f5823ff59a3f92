"""How the forge prints: a progress bar on a terminal, unwrapped lines in a log.

Work that takes long is never silent: a bar moves and counts the seconds, and a log gets
a line per interval, also while one call of another library takes minutes.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.text import Text

from base.errors import printable_lines

_LOG_WIDTH = 4096  # so that lines and digests in a log are not wrapped


class PlainConsole(Console):
    """A console that prints no control character but its own.

    Whatever is printed passes here: lines, cells, titles, descriptions of progress.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """Makes a text of a plain string, as wide as what is shown."""
        return super().render_str(printable_lines(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Turns anything into pieces of text, rich's own texts among them."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable_lines(segment.text), segment.style)


def open_console(file: IO[str] | None = None) -> Console:
    """Returns a console that leaves text in brackets, and between colons, as it is.

    Args:
        file: where it prints; default: stdout.
    """
    width = None if (file or sys.stdout).isatty() else _LOG_WIDTH
    return PlainConsole(
        file=file,
        width=width,
        soft_wrap=True,
        markup=False,
        emoji=False,
        highlight=False,
    )


class WorkProgress:
    """Shows that work goes on, and how far it is if its units can be counted."""

    def __init__(
        self,
        console: Console,
        title: str,
        total: int | None = None,
        unit: str = "",
        interval_s: float = 5.0,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepares the display.

        Args:
            console: where to show it: a bar on a terminal, else lines.
            title: what the work is, such as `train`.
            total: number of units in all; None if only the time can be told.
            unit: plural name of the units, such as `updates`.
            interval_s: time between two lines.
            clock_s: returns monotonic time.
        """
        self._console = console
        self._title = title
        self._total = total
        self._unit = unit
        self._interval_s = interval_s
        self._clock_s = clock_s
        self._began_s = self._last_line_s = clock_s()
        self._now = "" if total is None else f"0 of {total} {unit}, "
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tell_of_life, daemon=True)
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = Progress(
                *_columns(total is not None),
                console=console,
                refresh_per_second=4,
                get_time=clock_s,
            )
            self._task = self._bar.add_task(title, total=total, detail="")

    def __enter__(self) -> WorkProgress:
        if self._bar is not None:
            self._bar.start()
        else:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._bar is not None:
            self._bar.stop()
        else:
            self._thread.join()

    def _tell_of_life(self) -> None:
        """Writes a line to the log for each interval in which nothing was shown."""
        while not self._ended.wait(self._interval_s):
            now_s = self._clock_s()
            if now_s - self._last_line_s >= self._interval_s:
                self._last_line_s = now_s
                so_far = f"{self._now}{now_s - self._began_s:.0f} s so far"
                self._print(f"{self._title}: {so_far}")

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def show(self, done: int, detail: str, eta_s: float | None = None) -> None:
        """Shows that `done` units of a known total are done.

        Args:
            done: units done, never more than the total.
            detail: current figures, such as the loss.
            eta_s: time left, shown in lines only; None leaves it out.
        """
        if self._bar is not None:
            self._bar.update(self._task, completed=done, detail=detail)
            return
        separator = ", " if detail else ""
        self._now = f"{done} of {self._total} {self._unit}{separator}{detail}, "
        now_s = self._clock_s()
        if done < (self._total or 0) and now_s - self._last_line_s < self._interval_s:
            return
        self._last_line_s = now_s
        left = "" if eta_s is None else f", {eta_s:.0f} s left"
        self._print(
            f"{self._title}: {done} of {self._total} {self._unit}"
            f"{separator}{detail}{left}"
        )


def _columns(counted: bool) -> tuple[ProgressColumn, ...]:
    title, elapsed = TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    if not counted:
        return title, SpinnerColumn(), elapsed
    return (
        title,
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
        elapsed,
        TextColumn("left"),
        TimeRemainingColumn(),
    )
