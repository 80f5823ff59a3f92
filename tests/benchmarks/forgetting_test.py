from pathlib import Path

from absl import flags

from cloud.evaluate.success_rate import SuccessRate
from cloud.testing import printed_table
from edge.processes import life_report
from edge.processes.life_report import Day
from tests.benchmarks import commands, forgetting
from tests.benchmarks.forgetting import Measured


def measured(changed: int, unchanged: int) -> Measured:
    return Measured(
        SuccessRate(changed, 1000), SuccessRate(unchanged, 1000), "gain 1.82", 1234.4
    )


def test_what_was_driven_after_the_night_does_not_count(tmp_path: Path) -> None:
    days = [
        Day("before", "unchanged", "", 50, 50),
        Day("day 1", "changed", "", 8, 10, 10, "slow: accepted"),
        Day("after", "changed", "d", 80, 100),
        Day("again", "unchanged", "d", 100, 100),
    ]
    path = tmp_path / "life.json"
    assert forgetting.count_before_night(path) >= 120, "a life that was cut short"
    path.write_bytes(life_report.encode(days))
    assert forgetting.count_before_night(path) == 70


def test_table_shows_every_figure_on_a_terminal_and_in_a_pipe() -> None:
    name = "nothing, Fisher of shipped, times 100"
    flags.FLAGS(["forgetting", "--home=h", "--change=latency"])
    printed_table.require_whole(
        ("876 of 1000", "1000 of 1000", "1234 s"),
        forgetting.make_table({name: measured(876, 1000)}),
    )
    figures = list(forgetting.list_figures({"own": measured(876, 1000)}))
    assert [(f["name"], f["value"]) for f in figures] == [
        ("own, changed", 87.6),
        ("own, unchanged", 100.0),
        ("own, night", 1234.4),
    ]
    assert forgetting.tell(measured(876, 1000)) == (
        "876 of 1000 changed, 1000 of 1000 unchanged, 1234 s of the processor; "
        "found: gain 1.82"
    )


def test_home_without_a_package_is_one_line_that_names_it(tmp_path: Path) -> None:
    done = commands.run("forgetting.py", f"--home={tmp_path}", "--change=latency")
    assert done.returncode != 0
    assert str(tmp_path) in done.stderr and "a robot with a package" in done.stderr
    assert "Traceback" not in done.stderr
