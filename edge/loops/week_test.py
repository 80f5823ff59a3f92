"""The command that simulates a week, from its flags to the picture."""

from pathlib import Path
from xml.etree import ElementTree

from base.testing import command
from edge.loops import simulated_week, week_picture  # noqa: F401 - the command forks

WEEK = "edge.loops.week"
_SVG = "{http://www.w3.org/2000/svg}"


def test_week_prints_and_draws(tmp_path: Path) -> None:
    picture = tmp_path / "week.svg"
    done = command.run(WEEK, f"--picture={picture}", "--learning_wall_s_per_night=300")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [x for x in lines if x.startswith("day ")][6].startswith("day 7: ")
    assert "  used: 5 min of the night, " in done.out
    root = ElementTree.fromstring(picture.read_text())
    texts = [one.text for one in root.iter(f"{_SVG}text")]
    for shown in ("slow loop", "asleep", "day 1", "day 7", "0:00", "5 min, 100%"):
        assert shown in texts
    colors = {one.get("fill") for one in root.iter(f"{_SVG}rect")}
    assert set(week_picture.COLORS.values()) <= colors
    assert picture.stat().st_size < 60_000


def test_picture_that_cannot_be_written_is_said_before_the_week(tmp_path: Path) -> None:
    done = command.run(WEEK, f"--picture={tmp_path}/missing/week.svg")
    assert done.code == 1
    assert done.out == ""
    assert "missing" in done.err


def test_budget_that_makes_no_sense_is_wrong_usage() -> None:
    done = command.run(WEEK, "--learning_disk_mb_per_day=-1")
    assert done.code == 2
    assert "learning_disk_mb_per_day" in done.err
