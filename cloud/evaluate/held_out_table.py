"""A comparison with held-out episodes as a table for people, by slice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console

from cloud.evaluate import bootstrap, held_out_report
from cloud.evaluate.held_out_report import EpisodeError, HeldOutReport
from cloud.evaluate.held_out_verdict import describe_split
from cloud.figure_table import FigureTable

TITLE = "Held-out episodes, replayed: nothing was driven"
COLUMNS = ("slice", "error", "95 % interval", "never changing", "episodes")
UNIT = (
    "error: mean distance to the wanted action, in half ranges of the action; "
    "never changing: that of the best action that never changes"
)


def rows(found: HeldOutReport) -> Iterator[tuple[str, str, str, str, str]]:
    """Yields the cells of each slice; all episodes come last.

    A slice that all episodes are in is left out, but for the tasks.
    """
    for name in held_out_report.SLICES:
        values = found.values(name)
        if len(values) > 1 or name == held_out_report.TASK:
            for value in values:
                label = value.removeprefix(f"{name} ")
                yield _row(f"{name}: {label}", found.select(name, value))
    yield _row("all episodes", found.episodes)


def _row(
    label: str, episodes: Sequence[EpisodeError]
) -> tuple[str, str, str, str, str]:
    error = bootstrap.mean([one.error for one in episodes])
    constant = bootstrap.mean([one.constant_error for one in episodes])
    interval = f"{error.low:.4f} to {error.high:.4f}"
    return (
        label,
        f"{error.value:.4f}",
        interval if error.episodes >= bootstrap.FEWEST else "too few episodes",
        f"{constant.value:.4f}",
        f"{error.episodes:,}",
    )


def show(found: HeldOutReport, console: Console) -> None:
    """Prints a report for people."""
    table = make(found)
    console.print(table)
    p50, p99 = found.step_latency_p50_us, found.step_latency_p99_us
    times = (
        "not measured"
        if p50 is None or p99 is None
        else f"{p50:,.0f} us, {p99:,.0f} us"
    )
    for line in (
        UNIT,
        f"package   {found.package_digest[:12]}",
        f"held out  {describe_split(found)}",
        f"control step, p50 and p99: {times}; safety violations: "
        f"{found.safety_violations:,} in {found.steps:,} steps",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def make(found: HeldOutReport) -> FigureTable:
    """Returns the table by slice."""
    table = FigureTable(*COLUMNS, names=("slice", "95 % interval"), title=TITLE)
    *slices, every = rows(found)
    for cells in slices:
        table.add_row(*cells)
    table.add_section()
    table.add_row(*every)
    return table
