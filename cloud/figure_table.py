"""A table that shows every figure whole: names wrap, columns may need another table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from base.errors import printable

_LONGEST_WORD = 24  # characters of a name that are broken only beyond these
_PADDING = 2  # characters, the blanks at both sides of a cell
_RULE = 1  # characters, the line at the right of each cell, and one at the left


@dataclasses.dataclass(frozen=True)
class _Column:
    """A column with its header, and how it may be narrowed.

    Attributes:
        least: smallest width, in characters, that shows everything.
        full: smallest width, in characters, at which nothing wraps.
    """

    index: int
    header: str
    is_figure: bool
    least: int
    full: int


class FigureTable:
    """Rows of names and figures, which a rich console prints.

    A figure is never wrapped or shortened. If the console is too narrow for all
    columns, headers and names wrap. Columns that still do not fit follow in further
    tables, each of which repeats the columns that identify a row.
    """

    def __init__(
        self,
        *columns: str,
        names: Sequence[str] = (),
        identifying: int = 1,
        has_header: bool = True,
        title: str = "",
        caption: str = "",
    ) -> None:
        """Creates a table without rows.

        Args:
            columns: headers, from the left.
            names: headers of the columns that hold names, which may wrap.
            identifying: number of columns on the left that identify a row.
            has_header: whether the headers are shown.
            title: above the first table.
            caption: below the last table.

        Raises:
            ValueError: one of `names` is not a column.
        """
        unknown = sorted(set(names) - set(columns))
        if unknown:
            raise ValueError(f"expected names of {list(columns)}, got {unknown}")
        self._headers = tuple(map(_cell, columns))
        self._names = frozenset(map(_cell, names))
        self._identifying = identifying
        self._has_header = has_header
        self._title = _cell(title)
        self._caption = _cell(caption)
        self._rows: list[tuple[str, ...]] = []
        self._section_ends: set[int] = set()

    def add_row(self, *cells: str) -> None:
        """Adds a row, one cell per column.

        Raises:
            ValueError: the number of cells is not the number of columns.
        """
        if len(cells) != len(self._headers):
            raise ValueError(f"expected {len(self._headers)} cells, got {len(cells)}")
        self._rows.append(tuple(map(_cell, cells)))

    def add_section(self) -> None:
        """Draws a line below the rows so far."""
        self._section_ends.add(len(self._rows) - 1)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        """Yields the tables for rich; see the class."""
        groups = list(self._groups(options.max_width))
        for number, group in enumerate(groups):
            table = self._table(group, options.max_width)
            if number == 0 and self._title:
                table.title = Text(self._title)
            if number == len(groups) - 1 and self._caption:
                table.caption = Text(self._caption)
            # A console that wraps nothing would do so with the title, too.
            narrow = options.update(no_wrap=False, overflow="fold")
            yield from console.render(table, narrow)

    def _columns(self) -> list[_Column]:
        found = []
        for index, header in enumerate(self._headers):
            cells = [row[index] for row in self._rows]
            widest = max(map(_width, cells), default=0)
            words = [_width(word) for word in header.split()]
            is_figure = header not in self._names
            least = widest
            if not is_figure:
                in_cells = (_width(word) for cell in cells for word in cell.split())
                least = min(max(in_cells, default=0), _LONGEST_WORD)
            least = max([1, least, *words])
            full = max(least, widest, _width(header))
            found.append(_Column(index, header, is_figure, least, full))
        return found

    def _groups(self, width: int) -> Iterator[list[_Column]]:
        """Yields the columns of each table, chosen by their smallest widths."""
        columns = self._columns()
        first, rest = columns[: self._identifying], columns[self._identifying :]
        group = list(first)
        for column in rest:
            fits = _outer_width([one.least for one in [*group, column]]) <= width
            if not fits and len(group) > len(first):
                yield group
                group = list(first)
            group.append(column)
        yield group

    def _table(self, group: list[_Column], width: int) -> Table:
        least = [one.least for one in group]
        room = width - _outer_width(least)
        widths = {}
        # Names come first: a name is harder to read in two lines than a header is.
        for column in sorted(group, key=lambda one: one.is_figure):
            more = max(0, min(column.full - column.least, room))
            widths[column.index] = column.least + more
            room -= more
        table = Table(show_header=self._has_header)
        for column in group:
            table.add_column(
                Text(column.header),
                justify="right" if column.is_figure else "left",
                width=widths[column.index],
                overflow="fold",
            )
        for number, row in enumerate(self._rows):
            cells = (Text(row[column.index]) for column in group)
            table.add_row(*cells, end_section=number in self._section_ends)
        return table


def _cell(text: str) -> str:
    """Returns a text from outside as it is shown in one cell."""
    return printable(text.replace("\n", " "))


def _width(text: str) -> int:
    return Text(text).cell_len


def _outer_width(widths: Sequence[int]) -> int:
    return sum(widths) + len(widths) * (_PADDING + _RULE) + _RULE
