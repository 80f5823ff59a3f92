"""Tests of the curves: what happened in one step is seen, and they stay small."""

import re

import numpy as np
import pytest

from rlds.show import curves


def points(path: str) -> list[tuple[int, int]]:
    found = re.findall(r"[ML](-?\d+) (-?\d+)", path)
    return [(int(x), int(y)) for x, y in found]


@pytest.mark.parametrize("at", [0, 1234, 77_777, 99_999])
def test_spike_of_one_step_among_a_hundred_thousand_is_drawn(at: int) -> None:
    values = np.zeros(100_000, np.float32)
    values[at] = 1.0
    drawn = points(curves.draw_curve(values, 0.0, 1.0))
    (x,) = {x for x, y in drawn if y < curves.HEIGHT / 2}
    assert abs(x - curves.WIDTH * at / 99_999) <= curves.WIDTH / curves.BUCKETS


def test_few_steps_are_drawn_one_by_one_from_edge_to_edge() -> None:
    drawn = points(curves.draw_curve(np.array([0.0, 2.0, 1.0]), 0.0, 2.0))
    assert [x for x, _ in drawn] == [0, 500, 1000]
    (low, high, middle) = (y for _, y in drawn)
    assert high < middle < low
    assert middle == (low + high) / 2


@pytest.mark.parametrize("count", [1, 2, 481, 10_000])
def test_curve_stays_inside_its_drawing_and_below_its_number_of_points(
    count: int,
) -> None:
    values = np.random.default_rng(3).standard_normal(count).astype(np.float32)
    path = curves.draw_curve(values, float(values.min()), float(values.max()))
    drawn = points(path)
    assert 1 <= len(drawn) <= 2 * curves.BUCKETS
    assert all(0 <= x <= 1000 and 0 <= y <= 100 for x, y in drawn)


def test_drawing_does_not_grow_with_the_number_of_steps() -> None:
    def draw(count: int) -> str:
        values = np.sin(np.arange(count) / count * 40)
        return curves.draw_curve(values, -1.0, 1.0)

    assert len(draw(1_000_000)) < 1.1 * len(draw(1000))


def test_values_beyond_the_range_of_float32_differences_are_drawn() -> None:
    largest = float(np.finfo(np.float32).max)
    values = np.array([-largest, largest], np.float32)
    drawn = points(curves.draw_curve(values, -largest, largest))
    assert [y for _, y in drawn] == [94, 6]


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (-1.0, 1.0, ("-1", "1")),
        (0.0, 0.0, ("0", "0")),
        (0.63731, 0.63734, ("0.63731", "0.63734")),
        (1e-9, 2e20, ("1e-09", "2e+20")),
    ],
)
def test_limits_that_differ_are_told_with_digits_that_differ(
    low: float, high: float, told: tuple[str, str]
) -> None:
    assert curves.format_limits(low, high) == told


@pytest.mark.parametrize(
    ("low", "high", "still"),
    [
        (0.0, 0.0, True),
        (1.0, float(np.nextafter(np.float32(1), np.float32(2))), True),
        (0.6373, 0.63731, False),
        (0.0, 1e-30, False),
    ],
)
def test_last_digit_of_a_float32_is_no_change(
    low: float, high: float, still: bool
) -> None:
    assert curves.is_still(low, high) is still


@pytest.mark.parametrize(
    ("marks", "runs"),
    [
        ([], []),
        ([False], []),
        ([True], [(0, 0)]),
        ([True, True, False, True], [(0, 1), (3, 3)]),
    ],
)
def test_runs_of_marked_steps(marks: list[bool], runs: list[tuple[int, int]]) -> None:
    assert curves.find_runs(np.array(marks, np.bool_)) == runs


@pytest.mark.parametrize("count", [1, 100, 100_000])
def test_single_marked_step_is_visible(count: int) -> None:
    marks = np.zeros(count, np.bool_)
    marks[count // 2] = True
    (left, right) = re.findall(r"M(\d+) 0H(\d+)V", curves.draw_marks(marks))[0]
    assert int(right) - int(left) >= 2
