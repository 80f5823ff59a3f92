"""Tests of tables: every figure is shown at every width of the console."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from cloud.figure_table import FigureTable
from cloud.testing import printed_table


def wide_table() -> FigureTable:
    table = FigureTable(
        "model", "form", *(f"speed at {n}" for n in range(9)), names=("model", "form")
    )
    for row in range(2):
        figures = (f"{row}{n},123,456.7" for n in range(9))
        table.add_row(f"wavecore of {row}", "associative bfloat16", *figures)
    return table


def test_wide_table_continues_in_another_that_repeats_the_first_column() -> None:
    figures = [f"{row}{n},123,456.7" for row in range(2) for n in range(9)]
    printed_table.require_whole(figures, wide_table())
    lines = printed_table.on_terminal(wide_table()).splitlines()
    assert sum("model" in line for line in lines) == 3
    assert sum("wavecore of 1" in line for line in lines) == 3


def test_pipe_gets_one_line_per_row() -> None:
    lines = printed_table.in_pipe(wide_table()).splitlines()
    (row,) = [line for line in lines if "wavecore of 1" in line]
    assert "associative bfloat16" in row
    assert row.count(",123,456.7") == 9


def test_title_is_above_the_first_table_and_caption_below_the_last() -> None:
    table = FigureTable("a", *"bcdefgh", title="the title " * 9, caption="the end")
    table.add_row(*("123456789012345",) * 8)
    text = printed_table.on_terminal(table)
    assert text.index("the title") < text.index("123456789012345")
    assert text.rindex("123456789012345") < text.index("the end")
    assert all(len(line) <= 80 for line in text.splitlines())


def test_brackets_are_not_markup() -> None:
    table = FigureTable("[bold]", names=("[bold]",))
    table.add_row("[red]x[/red]")
    assert "[bold]" in printed_table.on_terminal(table)
    assert "[red]x[/red]" in printed_table.on_terminal(table)


def test_section_is_a_line_between_rows() -> None:
    table = FigureTable("task", "share")
    table.add_row("1", "2")
    table.add_section()
    table.add_row("3", "4")
    assert "├" in printed_table.in_pipe(table)


def test_row_of_another_length_and_unknown_name_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 cells, got 1"):
        FigureTable("a", "b").add_row("1")
    with pytest.raises(ValueError, match=r"got \['c'\]"):
        FigureTable("a", "b", names=("c",))


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.lists(st.integers(0, 10**15), min_size=6, max_size=6), st.integers(45, 200))
def test_every_figure_is_whole_at_every_width(values: list[int], width: int) -> None:
    table = FigureTable("name of the row", *"abcdef", names=("name of the row",))
    table.add_row("as long a name as any", *(f"{value:,}" for value in values))
    text = io.StringIO()
    Console(file=text, width=width).print(table)
    assert {f"{value:,}" for value in values} <= set(text.getvalue().split())
    assert all(len(line) <= width for line in text.getvalue().splitlines())
