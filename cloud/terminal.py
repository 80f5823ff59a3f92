"""How the forge's commands print: for a person's terminal, or whole lines for a log."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

import rich.console
import rich.progress

_LOG_WIDTH = 4096  # a log wraps no lines and cuts no digests
_LOG_PERIOD_S = 10.0


def console() -> rich.console.Console:
    """Returns a console for stdout that leaves text in brackets as it is."""
    width = None if sys.stdout.isatty() else _LOG_WIDTH
    return rich.console.Console(
        width=width, soft_wrap=True, markup=False, highlight=False
    )


@contextlib.contextmanager
def progress(
    console: rich.console.Console, description: str, total: int
) -> Iterator[Callable[[int], None]]:
    """Yields what takes the number done: a bar, or a line per interval in a log."""
    if not console.is_terminal:
        yield _line_per_interval(console, description, total)
        return
    with rich.progress.Progress(console=console, transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=done)


def _line_per_interval(
    console: rich.console.Console, description: str, total: int
) -> Callable[[int], None]:
    next_s = time.monotonic() + _LOG_PERIOD_S

    def report(done: int) -> None:
        nonlocal next_s
        if time.monotonic() >= next_s:
            next_s = time.monotonic() + _LOG_PERIOD_S
            console.print(f"{description}: {done} of {total}")

    return report
