"""Simulates a week of a robot's days and nights, and shows which loop ran when.

    ./bazelw run //edge/loops:week -- --picture=week.svg

Decision, ledger and budgets are the robot's own; the machine and its habits are
simulated, in seconds. The flags are the budgets of `//edge:learn`, so the command shows
what they would do. The picture in docs/ is made with their defaults.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import tempfile
from pathlib import Path

from absl import app, flags

from base import command_line, durable_file, path_flags, record_flags
from edge.loops import simulated_week, week_picture
from edge.loops.budgets import LOOPS, Budgets
from edge.loops.simulated_week import DayRecord
from edge.loops.week_plans import DAYS, Body

PICTURE = flags.DEFINE_string(
    "picture", None, "file for the picture, SVG (default: not written)"
)
record_flags.define(Budgets)
path_flags.files("picture")


def main(argv: list[str]) -> int:
    """Simulates, prints a line for each day and draws."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    if PICTURE.value:
        durable_file.check_writable(Path(PICTURE.value))
    budgets = record_flags.read(Budgets)
    titles, plans = zip(*DAYS, strict=True)
    with tempfile.TemporaryDirectory() as folder:
        found = simulated_week.simulate(Path(folder), plans, budgets, Body())
    for day, (title, record) in enumerate(zip(titles, found.days, strict=True)):
        for line in _describe(day, title, record):
            command_line.say(line)
    if PICTURE.value:
        drawn = week_picture.draw(found, budgets, titles)
        durable_file.write(Path(PICTURE.value), drawn.encode())
        command_line.say(f"picture: {PICTURE.value}")
    return 0


def _describe(day: int, title: str, record: DayRecord) -> list[str]:
    ran = ", ".join(
        f"{loop} {record.ran_s[loop] / 60:.0f} min, {record.ended[loop]} ended"
        if loop != "fast"
        else f"{loop} {record.ran_s[loop] / 60:.0f} min"
        for loop in LOOPS
    )
    used = record.used
    lines = [
        f"day {day + 1}: {title}",
        f"  ran: {ran}",
        f"  used: {used.wall_s / 60:.0f} min of the night, "
        f"{used.processor_s / 60:.0f} min of processor time, "
        f"{used.disk_bytes / 1e6:.1f} MB written",
    ]
    longest = sorted(record.reasons.items(), key=lambda item: -item[1])[:3]
    lines += [f"  none for {time_s / 3600:.1f} h: {why}" for why, time_s in longest]
    return lines


if __name__ == "__main__":
    command_line.run(main)
