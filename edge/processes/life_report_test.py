import json
from xml.etree import ElementTree

import pytest

from edge.processes import life_report
from edge.processes.life_report import Day

DELTA = "ab" * 32
DAYS = [
    Day("before", "unchanged", "", 20, 20),
    Day("day 1", "changed", "", 12, 20, 4, "slow: delta accepted & kept"),
    Day("after", "changed", DELTA, 18, 20),
    Day("again", "unchanged", DELTA, 19, 20),
]


def test_table_has_a_line_for_each_day_and_one_for_each_night() -> None:
    lines = life_report.format_table(DAYS).splitlines()
    assert len(lines) == 1 + len(DAYS) + 1
    assert lines[2].split() == [
        "day",
        "1",
        "changed",
        "60%",
        "39%",
        "to",
        "78%",
        "4",
        "-",
    ]
    assert lines[3].strip() == "night: slow: delta accepted & kept"
    assert DELTA[:12] in lines[4]


def test_summary_says_what_was_won_back_and_what_was_forgotten() -> None:
    assert life_report.summarize(DAYS) == (
        "the change cost 40 points; won back 75% of them; forgotten 5 points"
    )


def test_change_that_costs_nothing_has_nothing_to_win_back() -> None:
    days = [DAYS[0], Day("day 1", "changed", "", 20, 20), *DAYS[2:]]
    assert life_report.summarize(days) == (
        "the change cost 0 points; forgotten 5 points"
    )


@pytest.mark.parametrize(
    ("successes", "episodes", "low", "high"),
    [(49, 50, 0.895, 0.996), (0, 20, 0.0, 0.161), (20, 20, 0.839, 1.0), (0, 0, 0, 1)],
)
def test_interval_is_wilsons(
    successes: int, episodes: int, low: float, high: float
) -> None:
    found = Day("day", "changed", "", successes, episodes).interval()
    assert found == pytest.approx((low, high), abs=1e-3)


def test_days_can_be_read_by_a_program() -> None:
    days = json.loads(life_report.encode(DAYS))["days"]
    assert [Day(**day) for day in days] == DAYS


def test_picture_is_whole_and_names_every_day() -> None:
    picture = life_report.draw(DAYS, "reach <&> push")
    root = ElementTree.fromstring(picture)
    text = "".join(root.itertext())
    assert all(day.name in text for day in DAYS)
    assert "reach <&> push" in text and "href" not in picture
    circles = [e for e in root.iter() if e.tag.endswith("circle")]
    heights = [float(e.attrib["cy"]) for e in circles]
    # Higher is better, and y grows downwards.
    assert sorted(range(4), key=lambda i: heights[i]) == [0, 3, 2, 1]
