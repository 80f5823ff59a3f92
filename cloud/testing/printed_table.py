"""Checks that a table loses no figure on a narrow terminal or in a pipe."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable

from rich.console import Console, RenderableType

from cloud.console import open_console

_TERMINAL_WIDTH = 80


def on_terminal(*tables: RenderableType) -> str:
    """Returns what a terminal of 80 columns shows of tables."""
    text = io.StringIO()
    console = Console(file=text, width=_TERMINAL_WIDTH, soft_wrap=True, markup=False)
    _print(console, tables)
    return text.getvalue()


def in_pipe(*tables: RenderableType) -> str:
    """Returns what a pipe or a file gets of tables."""
    text = io.StringIO()
    _print(open_console(text), tables)
    return text.getvalue()


def require_whole(figures: Iterable[str], *tables: RenderableType) -> None:
    """Fails unless both show every figure whole and no line exceeds the terminal."""
    shown, piped = on_terminal(*tables), in_pipe(*tables)
    wanted = list(figures)
    assert wanted
    for text in (shown, piped):
        lost = [one for one in wanted if not _contains(text, one)]
        assert not lost, f"{lost} not in\n{text}"
        assert "…" not in text
    assert max(map(len, shown.splitlines())) <= _TERMINAL_WIDTH, shown


def _print(console: Console, tables: Iterable[RenderableType]) -> None:
    for table in tables:
        console.print(table)


def _contains(text: str, figure: str) -> bool:
    """Tells whether a cell's text is on one line, separated from other text."""
    return bool(re.search(rf"(?<!\S){re.escape(figure)}(?!\S)", text))
