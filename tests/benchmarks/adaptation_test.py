import math

import pytest
from absl import flags

from cloud.evaluate.success_rate import SuccessRate
from cloud.testing import printed_table
from tests.benchmarks import adaptation


def adapted(
    unchanged: int, before: int, after: int, kept: int
) -> adaptation.LifeResult:
    """A measurement with these numbers of successes, of 200 each."""
    rates = (SuccessRate(x, 200) for x in (unchanged, before, after, kept))
    return adaptation.LifeResult(*rates, seconds=90.4)


def test_recovered_is_the_share_of_what_was_lost_and_forgotten_is_in_points() -> None:
    one = adapted(200, 100, 175, 197)
    assert one.recovered == pytest.approx(0.75)
    assert one.forgotten == pytest.approx(1.5)


def test_recovered_is_negative_if_success_fell_further() -> None:
    assert adapted(200, 100, 90, 200).recovered == pytest.approx(-0.1)


def test_recovered_is_nan_for_a_change_that_costs_nothing() -> None:
    assert math.isnan(adapted(200, 200, 200, 200).recovered)


def test_figures_are_the_mean_over_the_lives_of_a_change() -> None:
    lives = [adapted(200, 100, 175, 197), adapted(200, 100, 195, 199)]
    figures = list(adaptation._figures({"bias": lives}))
    assert {f["name"]: (f["value"], f["unit"]) for f in figures} == {
        "bias unchanged": (100.0, "%"),
        "bias before": (50.0, "%"),
        "bias after": (92.5, "%"),
        "bias recovered": (pytest.approx(85.0), "% of the lost"),
        "bias forgotten": (pytest.approx(1.0), "points"),
    }


def test_table_shows_every_figure_on_a_terminal_and_in_a_pipe() -> None:
    life = adaptation.LifeResult(
        SuccessRate(1000, 1000),
        SuccessRate(999, 1000),
        SuccessRate(876, 1000),
        SuccessRate(123, 1000),
        seconds=123_456.0,
    )
    flags.FLAGS(["adaptation"])
    printed_table.require_whole(
        ("100.0 %", "99.9 %", "87.6 %", "-12300%", "87.7", "123456 s"),
        adaptation._table({"all commands of the robot are scaled down": [life]}),
    )
