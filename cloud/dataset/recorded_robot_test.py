"""Episodes of another robot or rate are counted and named."""

import numpy as np
import pytest

from cloud.dataset import recorded_robot

PERIOD_NS = 12_500_000


@pytest.mark.parametrize(
    ("times_ns", "period_ns"),
    [([5], None), ([5, 5], 0), ([0, 10, 20, 500], 10), ([0, 7], 7)],
)
def test_period_is_the_median_time_between_steps(
    times_ns: list[int], period_ns: int | None
) -> None:
    found = recorded_robot.measure_period_ns(np.array(times_ns, np.int64))
    assert found == period_ns


def test_episodes_of_one_rate_need_no_line() -> None:
    periods = {f"e{k}": PERIOD_NS + 1000 * (k % 7) for k in range(20)}
    assert recorded_robot.describe_rates(periods) == []
    assert recorded_robot.describe_rates({"one": None}) == []
    assert recorded_robot.describe_rates({}) == []


def test_episodes_of_another_rate_are_counted_and_named() -> None:
    periods: dict[str, int | None] = {f"e{k}": PERIOD_NS for k in range(20)}
    periods |= {"slow": 2 * PERIOD_NS, "fast": PERIOD_NS // 2, "short": None}
    assert recorded_robot.describe_rates(periods) == [
        "2 of 23 episodes have 160, 40 control steps per second and not 80: fast, slow"
    ]


def test_episodes_without_time_are_counted_and_some_are_named() -> None:
    periods: dict[str, int | None] = {f"e{k}": 0 for k in range(5)}
    assert recorded_robot.describe_rates(periods | {"good": PERIOD_NS}) == [
        "no time passes between the steps of 5 of 6 episodes: e0, e1, e2 and 2 more"
    ]


def test_values_are_listed_by_their_number_and_the_rare_ones_by_episode() -> None:
    values = {"a": "panda", "b": "sawyer", "c": "sawyer", "d": "x\x1b[2J\ny"}
    assert recorded_robot.describe_values(values) == (
        "sawyer (2), panda (1: a), x?[2J y (1: d)"
    )
    assert recorded_robot.describe_values({}) == ""
