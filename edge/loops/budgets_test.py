"""The budgets as flags, and as docs/loops.md tells them."""

import dataclasses
import re
from pathlib import Path

import pytest
from absl import flags

from base import record_flags
from edge.loops.budgets import Budgets, Spent, Usage, describe_left

PAGE = Path(__file__).parents[2] / "docs" / "loops.md"
record_flags.define(Budgets)


@pytest.fixture(autouse=True)
def parsed() -> None:
    flags.FLAGS(["budgets_test"])


def flag_names() -> list[str]:
    return [field.metadata["flag"] for field in dataclasses.fields(Budgets)]


def test_flags_without_a_value_are_the_defaults() -> None:
    assert record_flags.read(Budgets) == Budgets()


def test_page_names_every_flag_with_its_default() -> None:
    rows = re.findall(r"^\| `--(\w+)` \| ([0-9.]+) \|", PAGE.read_text(), re.M)
    defaults = [float(getattr(Budgets(), f.name)) for f in dataclasses.fields(Budgets)]
    assert [(name, float(shown)) for name, shown in rows] == list(
        zip(flag_names(), defaults, strict=True)
    )


def test_every_flag_tells_its_unit() -> None:
    units = re.compile(r"seconds|MB|Celsius|percent|per core|slow loops")
    for name in flag_names():
        assert units.search(str(flags.FLAGS[name].help)), name


def test_usage_is_added_and_subtracted_part_by_part() -> None:
    one, other = Usage(3.0, 5.0, 7.0), Usage(1.0, 2.0, 4.0)
    assert one + other == Usage(4.0, 7.0, 11.0)
    assert one - other == Usage(2.0, 3.0, 3.0)


@pytest.mark.parametrize(
    ("loop", "wall_s", "awake_s"),
    [("slow", 3.0, 0.0), ("medium", 0.0, 5.0), ("fast", 0.0, 5.0), (None, 0.0, 0.0)],
)
def test_wall_time_is_of_the_night_and_the_waking_loops_are_counted_apart(
    loop: str | None, wall_s: float, awake_s: float
) -> None:
    spent = Spent().add(Usage(3.0, 5.0, 7.0), loop)
    assert spent.used == Usage(wall_s, 5.0, 7.0)
    assert spent.awake.processor_s == awake_s


def test_what_is_left_is_said_for_people() -> None:
    spent = Spent(Usage(wall_s=200.0, processor_s=400.4, disk_bytes=21e6), nights=1)
    assert describe_left(Budgets(), spent) == (
        "1 slow loop (7,000 s), 14,000 s of processor time and 179 MB of "
        "disk writes until noon"
    )
    over = Spent(Usage(1e9, 1e9, 1e12), nights=5)
    assert describe_left(Budgets(), over) == (
        "0 slow loops (0 s), 0 s of processor time and 0 MB of disk writes until noon"
    )
    assert "not known" in describe_left(Budgets(), Spent(lost=True))
