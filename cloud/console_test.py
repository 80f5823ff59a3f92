"""Tests of progress: a bar on a terminal, otherwise one line per interval."""

import io
import threading
import time

import pytest
import rich.table
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from cloud.console import PlainConsole, WorkProgress, open_console
from cloud.figure_table import FigureTable


def test_log_gets_one_line_per_interval_and_a_last_line() -> None:
    text = io.StringIO()
    now_s = 0.0

    def clock_s() -> float:
        return now_s

    console = Console(file=text, width=40)
    with WorkProgress(console, "train", 100, "steps", 5.0, clock_s) as shown:
        for step in range(1, 101):
            now_s += 0.25  # exact in binary
            shown.show(step, f"loss {1 / step:.3f}", (100 - step) * 0.25)
    lines = text.getvalue().splitlines()
    assert lines == [
        "train: 20 of 100 steps, loss 0.050, 20 s left",
        "train: 40 of 100 steps, loss 0.025, 15 s left",
        "train: 60 of 100 steps, loss 0.017, 10 s left",
        "train: 80 of 100 steps, loss 0.013, 5 s left",
        "train: 100 of 100 steps, loss 0.010, 0 s left",
    ]


def test_log_tells_of_work_that_shows_nothing_itself() -> None:
    text = io.StringIO()
    with WorkProgress(Console(file=text), "export", interval_s=0.02):
        while text.getvalue().count("\n") < 3:  # one call of another library
            time.sleep(0.01)
    lines = text.getvalue().splitlines()
    assert lines[:3] == ["export: 0 s so far"] * 3


def test_log_repeats_how_far_work_is_that_has_stopped_showing_it() -> None:
    text = io.StringIO()
    console = Console(file=text)
    with WorkProgress(console, "train", 100, "updates", interval_s=0.02) as shown:
        shown.show(7, "loss 0.5")
        while text.getvalue().count("\n") < 2:
            time.sleep(0.01)
    assert (
        text.getvalue()
        .splitlines()[-1]
        .startswith("train: 7 of 100 updates, loss 0.5, 0 s so far")
    )
    threads = [one for one in threading.enumerate() if "_tell_of_life" in one.name]
    assert threads == []


def test_terminal_shows_the_time_of_work_without_units() -> None:
    text = io.StringIO()
    console = Console(file=text, width=60, force_terminal=True)
    with WorkProgress(console, "export"):
        pass
    assert "export" in text.getvalue() and "0:00:00" in text.getvalue()


def test_terminal_gets_a_bar_with_figures_and_the_time_left() -> None:
    text = io.StringIO()
    now_s = 0.0

    def clock_s() -> float:
        return now_s

    console = Console(file=text, width=120, force_terminal=True)
    with WorkProgress(console, "train", 100, "steps", clock_s=clock_s) as shown:
        for step in range(1, 61):
            now_s += 2.0
            shown.show(step, f"loss {1 / step:.3f}, 0.5 steps/s")
    (*_, last) = [line for line in text.getvalue().splitlines() if "60/100" in line]
    for part in ("train", "loss 0.017, 0.5 steps/s", "0:02:00", "left", "0:01:20"):
        assert part in last


_NAMES = st.text(
    st.characters() | st.sampled_from("\x1b\x9b\r\b\x00\x7f\u202e\u2028[]/"),
    max_size=20,
).filter(lambda name: not any("\ud800" <= c <= "\udfff" for c in name))
_FEW = settings(max_examples=100, derandomize=True, deadline=None)


def _render(shown: object) -> str:
    text = io.StringIO()
    open_console(text).print(shown)
    return text.getvalue()


def _check(printed: str) -> None:
    assert printed.replace("\n", "").isprintable(), repr(printed)


@_FEW
@given(_NAMES)
def test_no_name_steers_the_terminal_wherever_it_is_printed(name: str) -> None:
    cells = rich.table.Table("task", title=name)
    cells.add_row(name)
    cells.add_row(Text(name))
    figures = FigureTable("task", name + "x", title=name, caption=name, names=("task",))
    figures.add_row(name, name)
    for shown in (name, Text(name), cells, figures):
        _check(_render(shown))


@_FEW
@given(_NAMES)
def test_a_line_of_progress_has_no_control_character(name: str) -> None:
    text = io.StringIO()
    with WorkProgress(open_console(text), name, 1, name) as progress:
        progress.show(1, name)
    _check(text.getvalue())


@pytest.mark.parametrize(
    "name", ["[red]drawer[/red]", "[/]", "[link=x]y", "a\\[b", "gain:-1: 3", ":bug:"]
)
def test_markup_in_a_name_is_shown_as_it_is(name: str) -> None:
    table = FigureTable("task", names=("task",))
    table.add_row(name)
    assert name in _render(name)
    assert name in _render(table)
    text = io.StringIO()
    console = PlainConsole(file=text, width=120, force_terminal=True, color_system=None)
    with WorkProgress(console, name, 2, "steps") as progress:
        progress.show(1, name)
    assert text.getvalue().count(name) >= 2


def test_a_bar_on_a_terminal_sets_no_title_and_clears_no_screen() -> None:
    evil = "\x1b]0;title\x07\x1b[2J\x9b2J"
    text = io.StringIO()
    console = PlainConsole(file=text, width=120, force_terminal=True, markup=False)
    with WorkProgress(console, f"train {evil}", 2, "steps") as progress:
        progress.show(1, f"loss {evil}")
        console.print(evil)
    for sequence in ("\x1b]0;", "\x07", "\x1b[2J", "\x9b"):
        assert sequence not in text.getvalue()
    assert "train ?]0;title" in text.getvalue()
