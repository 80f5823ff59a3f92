import pytest
from absl import flags

from cloud.evaluate.success_rate import SuccessRate
from cloud.testing import printed_table
from tests.benchmarks import adaptation
from tests.benchmarks.adaptation import Life, Measured


def measured(unchanged: int, before: int, *lives: tuple[int, int]) -> Measured:
    """Numbers of successes, of 200 each; of each life after, and unchanged again."""
    return Measured(
        SuccessRate(unchanged, 200),
        SuccessRate(before, 200),
        tuple(
            Life(SuccessRate(after, 200), SuccessRate(again, 200), "slow", 90.4)
            for after, again in lives
        ),
    )


def test_recovered_is_the_share_of_what_was_lost_and_forgotten_is_in_points() -> None:
    one = measured(200, 100, (175, 197), (90, 200))
    assert one.recovered() == pytest.approx([0.75, -0.1])
    assert one.forgotten() == pytest.approx([1.5, 0.0])


def test_change_that_costs_nothing_has_no_share_that_was_won_back() -> None:
    one = measured(200, 200, (200, 197))
    assert one.recovered() == []
    assert [line.split(", slow")[0] for line in adaptation.tell(one)] == [
        "0.0 points lost, 95 % interval -1.9 to 1.9",
        "100.0 % before, 100.0 % after, nothing was lost, forgotten 1.5 points",
    ]
    figures = {f["name"] for f in adaptation.list_figures({"play": one})}
    names = ("unchanged", "before", "lost at least", "after", "forgotten")
    assert figures == {f"play {name}" for name in names}
    flags.FLAGS(["adaptation", "--channel=c"])
    printed_table.require_whole(
        ("none lost", "1.5"), adaptation.make_table({"play": one})
    )


def test_figures_are_means_over_the_lives_of_a_change_and_the_least() -> None:
    one = measured(200, 100, (175, 197), (195, 199))
    figures = list(adaptation.list_figures({"bias": one}))
    assert {f["name"]: (f["value"], f["unit"]) for f in figures} == {
        "bias unchanged": (100.0, "%"),
        "bias before": (50.0, "%"),
        "bias lost at least": (pytest.approx(42.8, abs=0.1), "points"),
        "bias after": (92.5, "%"),
        "bias recovered": (pytest.approx(85.0), "% of the lost"),
        "bias recovered at least": (pytest.approx(75.0), "%"),
        "bias forgotten": (pytest.approx(1.0), "points"),
    }


def test_table_shows_every_figure_on_a_terminal_and_in_a_pipe() -> None:
    life = Life(SuccessRate(876, 1000), SuccessRate(123, 1000), "", 123_456.0)
    one = Measured(SuccessRate(1000, 1000), SuccessRate(999, 1000), (life,) * 3)
    flags.FLAGS(["adaptation", "--channel=c"])
    printed_table.require_whole(
        (
            "100.0 %",
            "99.9 %",
            "87.6 %",
            "-12300 %",
            "-12300, -12300, -12300",
            "87.7",
            "123456 s",
        ),
        adaptation.make_table({"all commands of the robot are scaled down": one}),
    )
